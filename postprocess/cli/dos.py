"""``deeph-dos``: densities of states and Fermi levels of structure folders, as tables and figures."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_symmetrize_option, load, title_of
from postprocess.cli.energies import add_window_option, resolve_energies
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.density.dos import DOS
    from postprocess.lattice.mesh import KMesh
    from postprocess.states.kjobs import Jobs
    from postprocess.states.orbital_groups import Projections

EPILOG = """examples:
  deeph-dos data/MoS2 --out dos.pdf dos.csv               tetrahedra (here triangles) on the default mesh
  deeph-dos data/MoS2 --mesh 48 48 1 --projections element,shell --window -6 4 --out dos.pdf
  deeph-dos data/MoS2 --method gaussian --width 0.04 --k-density 33
  deeph-dos data/moire --method kpm --width 0.05 --single --group AA=1,77 --group AB=301 --out dos.h5
  deeph-dos data/moire --method kpm --fermi inertia       the Fermi level by counting levels at the k-points of the mesh

Energies in eV, --window from the Fermi level if it is known. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-dos``."""
    parser = make_parser("deeph-dos", "Densities of states and Fermi levels from Hamiltonians in structure folders.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    mesh = parser.add_argument_group("k mesh").add_mutually_exclusive_group()
    mesh.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k-points along the three reciprocal vectors")
    mesh.add_argument(
        "--k-density", type=float, metavar="D", help="k-points per 1/Angstrom with 2 pi (default: 10, and special points on the mesh)"
    )
    parser.add_argument("--shift", nargs=3, type=float, default=[0.0, 0.0, 0.0], metavar="S", help="of the mesh, in steps (default: 0 0 0)")
    parser.add_argument("--no-symmetry", action="store_true", help="compute every point of the mesh")
    parser.add_argument("--method", choices=("tetrahedron", "gaussian", "kpm"), default="tetrahedron", help="(default: %(default)s)")
    parser.add_argument("--width", type=float, metavar="EV", help="standard deviation of the Gaussians (0.05) or of the kernel (0.1)")
    add_window_option(parser, "energies (default: -10 10)")
    parser.add_argument("--points", type=int, default=1001, metavar="N", help="energies in the window (default: %(default)s)")
    parser.add_argument("--projections", default="", metavar="KINDS", help="some of element,shell,atom,layer,spin")
    parser.add_argument("--group", action="append", default=[], metavar="NAME=ATOMS", help="project on atoms, counted from 1: tip=1,3,5-8")
    parser.add_argument("--fermi", type=_fermi, default="auto", metavar="auto|count|inertia|EV", help="Fermi level (default: %(default)s)")
    parser.add_argument("--vectors", type=int, default=10, metavar="N", help="random vectors of the method kpm (default: %(default)s)")
    parser.add_argument("--single", action="store_true", help="method kpm in single precision, in half of the memory")
    parser.add_argument("--exact", action="store_true", help="method kpm: projections without statistical error, for few orbitals")
    add_job_options(parser)
    add_figure_options(parser)
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="figures (pdf, png, svg), tables (csv, json, h5)")
    parser.add_argument("--map", type=Path, metavar="FILE.csv", help="states of each projected atom within the window, with its position")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    run_command(parser, _body, argv)


def _fermi(text: str) -> float | str:
    from postprocess.cli.common import parse_fermi

    return text if text in ("auto", "inertia") else parse_fermi(text)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import telling
    from postprocess.eigen.band_symmetries import make_mesh
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.lattice.mesh import mesh_divisions
    from postprocess.states.orbital_groups import usable_symmetry

    group = start_group(args)
    _check_options(args)
    data, predicted = load(args.folder, predicted=args.predicted or None, symmetrize=args.symmetrize)
    if args.method != "kpm" and data.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{data.n_orbitals} orbitals are too many to be diagonalized at every k-point; use --method kpm")
    resolve_energies(args, data)
    projections = _projections(args, data)
    symmetry = "none" if args.no_symmetry else usable_symmetry(data, projections)
    divisions = tuple(args.mesh) if args.mesh else mesh_divisions(data, args.k_density)
    with telling("looking for k-points of the mesh with equal levels"):
        mesh = make_mesh(data, divisions, shift=tuple(args.shift), symmetry=symmetry)
    jobs = make_jobs(args, group, [*args.out, *([args.map] if args.map else [])])
    name = args.folder.resolve().name
    with telling(f"at work on {name}"):
        dos = _compute(args, data, mesh, projections, jobs)
        group.wait()  # all have read the results, which the first one will remove
    dos = replace(dos, title=title_of(name, args, predicted=predicted))
    if group.rank == 0:
        _report(args, data, mesh, dos)
        _write(args, data, dos)
    jobs.finish()
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError
    from postprocess.output import dos_tables

    figure_look(args)
    if args.device != "cpu" and args.method == "kpm":
        raise UsageError("--device is for dense matrices, not for --method kpm")
    if args.single and args.method != "kpm":
        raise UsageError("--single belongs to --method kpm")
    if args.exact and not (args.method == "kpm" and (args.projections or args.group)):
        raise UsageError("--exact belongs to --method kpm with --projections or --group")
    if args.width is not None and args.method == "tetrahedron":
        raise UsageError("--width belongs to --method gaussian or kpm; tetrahedra need none")
    for file in args.out:
        if file.suffix not in SUFFIXES + dos_tables.SUFFIXES:
            figures, numbers = ", ".join(SUFFIXES), ", ".join(dos_tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
    if args.map and (args.map.suffix != ".csv" or not ("atom" in args.projections or args.group)):
        raise UsageError(f"--map {args.map}: expected a name ending in .csv, and --projections atom")
    for file in [*args.out, *([args.map] if args.map else [])]:
        if not file.absolute().parent.is_dir():
            raise UsageError(f"{file}: the folder {file.parent} does not exist")


def _projections(args: argparse.Namespace, data: "Hamiltonian") -> "Projections":
    from postprocess.cli.projectors import parse_group
    from postprocess.states.orbital_groups import make_projections

    kinds = [kind.strip() for kind in args.projections.split(",") if kind.strip()]
    return make_projections(data, kinds, dict(parse_group(text) for text in args.group))


def _compute(args: argparse.Namespace, data: "Hamiltonian", mesh: "KMesh", projections: "Projections", jobs: "Jobs") -> "DOS":
    from postprocess.density.dos import Window, compute_dos
    from postprocess.density.kpm_dos import compute_kpm_dos
    from postprocess.density.kpm_work import KPMSettings
    from postprocess.eigen.options import SolverOptions
    from postprocess.states.fermi import find_fermi_level

    fermi: float | str | None = None if args.fermi == "auto" else args.fermi
    origin = None
    if fermi == "inertia" and (found := find_fermi_level(data, fermi, mesh=mesh)):
        fermi, origin = found.energy, found.origin
    known = args.fermi != "auto" or data.fermi_energy is not None or data.n_electrons is not None
    low, high = args.window or ((-10.0, 10.0) if known else (None, None))
    window = Window(low, high, args.points)
    if args.method == "kpm":
        settings = KPMSettings(0.1 if args.width is None else args.width, args.vectors, args.single, exact=args.exact)
        dos = compute_kpm_dos(data, mesh, settings, window=window, projections=projections, fermi=fermi, jobs=jobs)
    else:
        width = 0.05 if args.width is None else args.width
        options: dict[str, Any] = {"options": SolverOptions(name="dense", device=args.device), "jobs": jobs}
        dos = compute_dos(data, mesh, method=args.method, width=width, window=window, projections=projections, fermi=fermi, **options)
    return replace(dos, fermi_origin=origin) if origin else dos


def _summary(data: "Hamiltonian", mesh: "KMesh", dos: "DOS") -> dict[str, Any]:
    """What the command prints, by name."""
    record: dict[str, Any] = {
        "title": dos.title, "formula": data.system.formula, "n_atoms": data.system.n_atoms, "spin": data.basis.spin,
        "mesh": list(mesh.divisions), "shift": list(mesh.shift), "n_k": len(mesh.points), "method": dos.method,
        "fermi_energy": dos.fermi_energy, "fermi_origin": dos.fermi_origin, "n_electrons": dos.n_electrons,
    }  # fmt: skip
    if dos.counted is not None:
        record["counted"] = {"energy": dos.counted.energy, "low": dos.counted.low, "high": dos.counted.high}
    if dos.filled is not None and dos.at_fermi is not None:
        record["electrons_below_fermi"] = {name: dos.filled[:, n].tolist() for n, name in enumerate(dos.names)}
        record["density_at_fermi"] = dos.at_fermi[:, 0].tolist()
        if data.basis.spin == "collinear":
            record["moment"] = float(dos.filled[0, 0] - dos.filled[1, 0])
    return record


def _report(args: argparse.Namespace, data: "Hamiltonian", mesh: "KMesh", dos: "DOS") -> None:
    import numpy as np

    record = _summary(data, mesh, dos)
    if args.json:
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return
    lines = [
        f"{dos.title}: {data.system}, spin {data.basis.spin}",
        f"method       {dos.method}; {mesh.index.size} k-points, {len(mesh.points)} of them computed",
    ]
    if dos.fermi_energy is None:
        lines.append("Fermi level  not known (no fermi_energy_eV, no occupation in info.json): energies are absolute")
    else:
        lines.append(f"Fermi level  {dos.fermi_energy:.6f} eV ({dos.fermi_origin})")
    if dos.counted is not None:
        level, low, high = dos.counted.energy, dos.counted.low, dos.counted.high
        spread = f", in a gap of {high - low:.6f} eV on this mesh" if high - low > 1e-4 else ""
        value = f"{level:.6f} eV by this density of states{spread}"
        if dos.errors is not None:
            value = f"{level:.3f} eV by this density of states, {low:.3f} to {high:.3f} eV with its errors; --fermi inertia counts levels"
        lines.append(f"  {dos.n_electrons:g} electrons  {value}")
    both = ", spin up and down" if data.basis.spin == "collinear" else ""
    for name, states in record.get("electrons_below_fermi", {}).items():
        error = ""
        if dos.errors is not None and dos.fermi_energy is not None:
            place = dos.names.index(name)
            error = " +- " + " ".join(f"{np.interp(dos.fermi_energy, dos.energies, spin[place]):.2f}" for spin in dos.errors)
        lines.append(f"  {name:<12} {' '.join(f'{x:12.6f}' for x in states)}{error} electrons below the Fermi level{both}")
    if "density_at_fermi" in record:
        lines.append(f"  at the Fermi level {' '.join(f'{x:.6f}' for x in record['density_at_fermi'])} states/eV{both}")
    if "moment" in record:
        size, half = " x ".join(map(str, mesh.divisions)), ", shifted" * any(mesh.shift)
        lines.append(f"  moment       {record['moment']:12.6f} Bohr magneton a cell below this Fermi level, on this {size} mesh{half}")
    sys.stdout.write("\n".join(lines) + "\n")


def _write(args: argparse.Namespace, data: "Hamiltonian", dos: "DOS") -> None:
    from deeph.files.figures import save_figure
    from deeph.runtime.log import logger
    from postprocess.output.dos_tables import write_map

    look = figure_look(args)
    for file in args.out:
        if is_figure(file):
            save_figure(dos.plot(**look), file, look.get("style"))
        else:
            dos.save(file)
        logger.info("wrote %s", file)
    if args.map:
        write_map(args.map, dos, data.system)
        logger.info("wrote %s", args.map)


if __name__ == "__main__":
    main()
