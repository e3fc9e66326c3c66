"""``deeph-berry``: Berry curvature along a path or on a mesh, and the anomalous Hall conductivity."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli import large
from postprocess.cli.common import add_path_options, choose_path, to_plain
from postprocess.cli.energies import add_window_option, check_window
from postprocess.cli.figures import figure_look, is_figure
from postprocess.cli.numbers import parse_bands
from postprocess.cli.responses import (
    Subject,
    add_output_options,
    add_positions_option,
    add_refinement_options,
    check_outputs,
    compute_and_report,
    refinement,
)

if TYPE_CHECKING:
    from deeph.physics.system import FloatArray
    from postprocess.geometry.curvature import Curvature
    from postprocess.geometry.hall import HallConductivity
    from postprocess.states.fermi import FermiLevel

ROUNDS = 3
"""Of refinement, at most."""
EPILOG = """examples:
  deeph-berry data/MoS2 --path GKMK'G --out berry.pdf berry.csv      curvature of the occupied levels along a path, with the bands
  deeph-berry data/MoS2 --path MKG --bands 25-26                     of the two uppermost valence bands, as one group
  deeph-berry data/MoS2 --mesh 60 60 1 --out mesh.h5                 on a mesh; a picture of it: deeph-contours --map curvature
  deeph-berry data/Fe --hall --mesh 24 24 24 --window -0.5 0.5 --out hall.pdf hall.csv     anomalous Hall conductivity

Position matrices come from 'deeph-preprocess --positions' or 'deeph-overlap --positions'; without them (tau_i + tau_j)/2 S is taken, and
said. Sign: sigma_xy = -(e^2/hbar) times the integral of the curvature of the occupied levels. Exit code: 0 done, 1 the data are missing or
wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-berry``."""
    parser = make_parser("deeph-berry", "Berry curvatures and anomalous Hall conductivities of structure folders.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    add_path_options(parser, "path such as GKMK'G, or a file holding one (default: the usual path of the lattice)")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="instead of a path: so many k-points in each direction")
    parser.add_argument(
        "--bands", type=parse_bands, metavar="N,N-N", help="bands (from 1) taken as one group, instead of the occupied levels"
    )
    add_positions_option(parser)
    hall = parser.add_argument_group("anomalous Hall conductivity")
    hall.add_argument("--hall", action="store_true", help="instead of the curvature: its integral over the zone")
    add_refinement_options(hall, rounds=str(ROUNDS))
    hall.add_argument("--levels", type=int, default=201, metavar="N", help="Fermi levels in --window (default: %(default)s)")
    hall.add_argument("--temperature", type=float, default=0.0, metavar="K", help="of the occupation (default: %(default)s)")
    add_window_option(parser, "bands drawn, with --hall Fermi levels")
    large.add_group_options(parser)
    add_output_options(parser)
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    _check_options(args)

    def compute(subject: Subject) -> "Curvature | HallConductivity | large.GroupFound":
        if large.is_large(args, subject.data):
            return large.group_of_bands(args, subject)
        subject.check_dense("Berry quantities")
        fermi = subject.fermi(args.fermi, needed=not args.bands)
        return _hall(args, subject, fermi) if args.hall and fermi else _curvature(args, subject, fermi)

    def report(subject: Subject, found: "Curvature | HallConductivity | large.GroupFound") -> "dict[str, Curvature | HallConductivity]":
        if isinstance(found, large.GroupFound):
            large.report_group(args, subject, found)
            return {"": found.curvature}
        _report(args, subject, found)
        return {"": found}

    return compute_and_report(args, compute, report)


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.runtime.errors import UsageError
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.output import berry_tables
    from postprocess.output.berry_plot import PICTURES

    figure_look(args)
    if args.hall and (args.path or args.bands or args.points):
        raise UsageError("--hall integrates over the zone and all occupied levels: leave out --path, --points and --bands")
    if args.mesh and (args.path or args.points):
        raise UsageError("--mesh and --path are two ways to choose k-points: leave out one of them")
    check_window(args, equal=True)
    FermiScan(points=args.levels, temperature=args.temperature)
    refinement(args, ROUNDS)
    check_outputs(args.out, berry_tables.SUFFIXES)
    if args.mesh and not args.hall and any(map(is_figure, args.out)):
        raise UsageError(f"a mesh is written as a table ({', '.join(berry_tables.SUFFIXES)}); {PICTURES}")
    if args.hall and not args.window and any(map(is_figure, args.out)):
        raise UsageError("a figure of the Hall conductivity takes several Fermi levels: give --window EMIN EMAX")


def _curvature(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel | None") -> "Curvature":
    from postprocess.geometry.curvature import compute_curvature

    where = tuple(args.mesh) if args.mesh else choose_path(args.path, subject.data, args.points)
    options: dict[str, Any] = {"source": args.positions, "jobs": subject.jobs, "title": subject.title}
    return compute_curvature(subject.data, where, fermi, group=args.bands or (), **options)


def _hall(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel") -> "HallConductivity":
    from deeph.runtime.errors import DataError
    from postprocess.eigen.band_symmetries import conjugate_at_minus_k
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.geometry.hall import hall_conductivity

    if conjugate_at_minus_k(subject.data):
        raise DataError(
            f"{subject.title} has no spin-orbit coupling (spin '{subject.data.basis.spin}', real H): the states at -k are the conjugate "
            "ones of k, and the anomalous Hall conductivity is zero. It takes a magnetic run with spin-orbit coupling"
        )
    low, high = args.window or (0.0, 0.0)
    scan = FermiScan(low, high, args.levels if args.window else 1, args.temperature)
    options: dict[str, Any] = {"source": args.positions, "refinement": refinement(args, ROUNDS), "jobs": subject.jobs}
    return hall_conductivity(subject.data, fermi, tuple(args.mesh) if args.mesh else None, scan=scan, title=subject.title, **options)


def _report(args: argparse.Namespace, subject: Subject, found: "Curvature | HallConductivity") -> None:
    from postprocess.geometry.curvature import Curvature
    from postprocess.output.berry_tables import hall_record

    if args.json:
        record = _summary(found) if isinstance(found, Curvature) else to_plain(hall_record(found))
        sys.stdout.write(json.dumps(record | {"symmetry": subject.symmetry}, indent=1) + "\n")
        return
    lines = [*subject.head(), f"positions    {found.positions}"]
    if found.fermi_energy is not None:
        lines.append(f"Fermi level  {found.fermi_energy:.6f} eV ({found.fermi_origin})")
    lines += _describe_curvature(found) if isinstance(found, Curvature) else _describe_hall(args, found)
    sys.stdout.write("\n".join(lines) + "\n")


def _summary(found: "Curvature") -> dict[str, Any]:
    """What is printed, by name."""
    import numpy as np

    spin, n, axis = np.unravel_index(int(np.argmax(np.abs(found.curl))), found.curl.shape)
    return {
        "title": found.title, "what": found.what, "positions": found.positions, "fermi_energy": found.fermi_energy,
        "n_k": len(found.k), "largest": {
            "value": float(found.curl[spin, n, axis]), "component": "xyz"[axis], "spin": int(spin), "k": found.k[n].tolist(),
        },
        "curl_minus_kubo": found.difference, "sum_of_all_kubo": float(np.abs(found.kubo_levels.sum(axis=-1)).max()),
        "smallest_distance": float(found.separation.min()) if np.isfinite(found.separation).any() else None,
    }  # fmt: skip


def _describe_curvature(found: "Curvature") -> list[str]:
    record = _summary(found)
    largest = record["largest"]
    where = ", ".join(f"{x:.4f}" for x in largest["k"])
    spin = f", spin {('up', 'down')[largest['spin']]}" * (len(found.curl) > 1)
    lines = [
        f"curvature    of {found.what} at {len(found.k)} k-points, Angstrom^2",
        f"  largest    Omega_{largest['component']} {largest['value']:+.6f}  at k = ({where}){spin}",
        f"  curl and Kubo sum differ by up to {found.difference:.3g} (the part of r|u> outside the basis)",
        f"  Kubo sums of all levels add up to {record['sum_of_all_kubo']:.1e}",
    ]
    if record["smallest_distance"] is not None:
        lines.append(f"  the next level is {record['smallest_distance']:.6f} eV away or more")
    return lines


def _describe_hall(args: argparse.Namespace, found: "HallConductivity") -> list[str]:
    import numpy as np

    digits = 6 if found.unit == "e^2/h" else 3

    def named(values: "FloatArray") -> str:
        return ", ".join(f"sigma_{name} {value:+.{digits}f}" for name, value in zip(found.components, values, strict=True))

    integral = found.integral
    lines = [f"Hall         {named(found.at_fermi)} {found.unit} at the Fermi level, {found.temperature:g} K"]
    for mesh, values in zip((integral.coarse_divisions, integral.divisions), found.on_meshes, strict=True):
        lines.append(f"  {named(values)} on {' x '.join(map(str, mesh))} k-points")
    if integral.rounds:
        lines.append(f"  {named(found.from_coarse)} from {' x '.join(map(str, integral.coarse_divisions))}, refined as often")
    lines += [f"  {line}" for line in [*integral.describe(), *found.describe_convergence()]]
    values = np.concatenate([found.at_fermi, found.from_coarse, *found.on_meshes])
    if not args.window and np.abs(values).max() < 0.5 * 10**-digits:
        lines.append("  zero to the digits shown, on both meshes: the changes above are those of rounding")
    elif integral.error > args.tolerance:
        lines.append(f"  not converged to {100 * args.tolerance:g} %: take a finer --mesh, more --rounds, or a --temperature")
    lines.append(f"  curl and Kubo sum differ by up to {found.difference:.3g} {found.unit}")
    if found.chern is not None:
        lines.append(f"  an insulator on this mesh: Chern number {found.chern:+.6f}")
    return lines


if __name__ == "__main__":
    main()
