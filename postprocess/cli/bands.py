"""``deeph-bands``: band structures of structure folders, as tables and figures."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import (
    add_path_options,
    add_symmetrize_option,
    choose_path,
    describe_bands,
    describe_level_errors,
    describe_path,
    folder_titles,
    from_one,
    level_error_summary,
    load,
    title_of,
    to_plain,
)
from postprocess.cli.comparison import (
    check_comparison_options,
    check_reference,
    compare_all,
    compute_compared,
    describe_band_comparison,
    is_molecule,
    load_reference,
)
from postprocess.cli.energies import add_window_option, check_window, names_edge, resolve_energies
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.projectors import add_projection_options, choose_projectors, choose_unfolding, unfolding_matrix
from postprocess.cli.ribbon import add_ribbon_options, check_ribbon_options, cut_ribbon, edge_groups, filling_warning, with_origin
from postprocess.cli.solver import add_solver_options, check_solver_options, choose_solver

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
    from postprocess.bands.filling import Filling
    from postprocess.density.dos import DOS
    from postprocess.states.kjobs import Jobs
    from postprocess.states.projectors import Projector

EPILOG = """examples:
  deeph-bands data/MoS2                                   the usual path of the lattice, summary on the screen
  deeph-bands data/MoS2 --path GMKG --window -3 3 --out bands.pdf bands.h5
  deeph-bands predicted/MoS2 --compare data/MoS2 --out bands.pdf
  deeph-bands predicted/MoS2 --compare run/mos2.Band      levels that OpenMX or SIESTA (.EIG, .bands) printed, at their k
  deeph-bands data/MoS2 --path "G M=1/2,0,0 | K=1/3,1/3,0 G"      a bar breaks the path
  deeph-bands data/MoS2 --path K_PATH                     a K_PATH file, or an OpenMX input with Band.kpath
  deeph-bands data/Bi --ribbon b 16 --n-bands 60 --window -1 1 --out edges.pdf    a ribbon, and what of each state is on its edges
  deeph-bands moire --path KGMK --points 20 --n-bands 30 --fermi -3.6 --out bands.h5     a large cell: 30 bands at the Fermi level

Distances are in 1/Angstrom with 2 pi, energies in eV. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-bands``."""
    parser = make_parser("deeph-bands", "Band structures from Hamiltonians in structure folders.", EPILOG)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="structure folder; several are drawn in one figure")
    add_path_options(parser, "path such as GMKG, or a file holding one (default: the usual path of the lattice)")
    add_window_option(
        parser, "energies shown (numbers in figures: from --zero); of cells too large for dense matrices only they are computed"
    )
    add_projection_options(parser)
    add_ribbon_options(parser)
    add_solver_options(parser)
    add_job_options(parser)
    add_figure_options(parser)
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="reference: a folder, or a band file (.Band .EIG .bands)")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 in FOLDER even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="pdf png svg, h5 json csv dat Band")
    parser.add_argument(
        "--dos", type=Path, metavar="TABLE", help="draw this density of states, a .h5 or .json of deeph-dos, beside the bands"
    )
    parser.add_argument("--connect", action="store_true", help="tables band by band through crossings; figures do so anyway in small cells")
    parser.add_argument("--report", action="store_true", help="also true band edges, effective masses, Fermi velocities, band widths")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.log import telling
    from postprocess.bands.bands import share_fermi_energy

    _check_options(args)
    group = start_group(args)
    loaded = [load(folder, predicted=args.predicted or None, modes=True, symmetrize=args.symmetrize) for folder in args.folders]
    loaded = [(cut_ribbon(args, data), predicted) for data, predicted in loaded]
    titles = folder_titles([*args.folders, *([args.compare] if args.compare else [])])
    folders = [(title_of(title, args, predicted=predicted), data) for title, (data, predicted) in zip(titles, loaded, strict=False)]
    _check_molecules(args, folders)
    named = names_edge(args)
    resolve_energies(args, folders[0][1])
    jobs = [make_jobs(args, group, args.out, number) for number in range(len(titles))]
    if args.compare:
        bands = _compute_with_reference(args, folders, jobs, titles[-1])
    else:
        bands = []
        for (title, data), job in zip(folders, jobs, strict=True):
            with telling(f"at work on {title}"):
                bands.append((data, _compute(args, data, job, title)))
    if group.rank > 0:
        return 0
    structures, results = [data for data, _ in bands], [b for _, b in bands]
    if len(results) > 1:
        results = share_fermi_energy(results)
    _check_window(args, results, jobs)
    _report(args, structures, results)
    shown = [replace(b, weights={}) if args.compare else b for b in results]  # which told the nearly dependent levels
    _write(args, shown, [predicted for _, predicted in loaded], _figure_window(args, shown, named=named))
    for job in jobs:
        job.finish()
    return 0


def _compute_with_reference(
    args: argparse.Namespace, folders: "list[tuple[str, Hamiltonian]]", jobs: "list[Jobs]", title: str
) -> "list[tuple[Hamiltonian, Bands]]":
    """The bands of the reference, then of the folders, with the structures they belong to."""
    from deeph.files.band_files import BandFile
    from deeph.runtime.errors import UsageError

    reference, predicted = load_reference(args.compare, folders[0][1])
    title += " (predicted)" * predicted
    pathless = isinstance(reference, BandFile) and not reference.lines
    if pathless and (args.report or any(is_figure(f) or f.suffix == ".Band" for f in args.out)):
        raise UsageError(f"{args.compare}: its k-points form no path, so there are no figure, no .Band and no --report of these bands")
    check_reference(reference, title, folders)
    bands = compute_compared(args, (title, reference), folders, jobs, connect=_connect(args))
    structures = [folders[0][1] if isinstance(reference, BandFile) else reference, *(data for _, data in folders)]
    return list(zip(structures, bands, strict=True))


def _compute(args: argparse.Namespace, data: "Hamiltonian", jobs: "Jobs", title: str) -> "Bands":
    """All bands where dense matrices will do and nothing else is asked for, else those of the window or nearest the centre."""
    from postprocess.bands.bands import compute_bands
    from postprocess.bands.unfold import folded_path, primitive_system

    unfolding = choose_unfolding(args, data)
    if unfolding is None:
        path = choose_path(args.path, data, args.points)
    else:
        path = folded_path(choose_path(args.path, primitive_system(data.system, unfolding), args.points), unfolding, data.system)
    projectors: list[Projector] = [*choose_projectors(args, data, edge_groups(args, data)), *([unfolding] if unfolding else [])]
    solver, fermi = choose_solver(args, data)
    options: dict[str, Any] = {"solver": solver, "projectors": projectors, "jobs": jobs, "title": title, "connect": _connect(args)}
    return with_origin(args, compute_bands(data, path, fermi=fermi, **options))


def _connect(args: argparse.Namespace) -> bool | None:
    """Bands are followed through crossings where that is asked for, and by default for a figure."""
    return True if args.connect else None if any(map(is_figure, args.out)) else False


def _check_window(args: argparse.Namespace, bands: "list[Bands]", jobs: "list[Jobs]") -> None:
    """An empty figure is no result: DataError if no level lies in the window."""
    import numpy as np

    from deeph.runtime.errors import DataError

    if not args.window:
        return
    low, high = args.window
    energies = np.concatenate([(b.energies - (b.fermi_energy or 0.0)).ravel() for b in bands])
    if not ((energies >= low) & (energies <= high)).any():
        for job in jobs:
            job.finish()
        raise DataError(
            f"--window {low:g} {high:g}: no level lies there on this path; the bands computed go from {np.nanmin(energies):.3f} to "
            f"{np.nanmax(energies):.3f} eV" + " from the Fermi level" * (bands[0].fermi_energy is not None)
        )


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError
    from postprocess.output import tables

    check_window(args)
    check_solver_options(args)
    figure_look(args)
    if args.dos and not args.dos.is_file():
        raise UsageError(f"--dos {args.dos}: there is no such file; deeph-dos writes it")
    check_ribbon_options(args)
    if (args.projections or args.group or args.function or args.unfold or args.dos) and (args.compare or len(args.folders) > 1):
        raise UsageError("fat bands, --unfold and --dos show one folder; leave out --compare and the other folders")
    if args.compare:
        check_comparison_options(args, args.compare)
    if args.compare and args.connect:
        raise UsageError("--compare compares levels in ascending order; leave out --connect")
    for file in args.out:
        if file.suffix not in SUFFIXES + tables.SUFFIXES:
            figures, numbers = ", ".join(SUFFIXES), ", ".join(tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")
        if file.suffix in tables.SUFFIXES and len(args.folders) > 1:
            raise UsageError(f"--out {file}: a table holds one band structure, but {len(args.folders)} folders were given")


def _check_molecules(args: argparse.Namespace, folders: "list[tuple[str, Hamiltonian]]") -> None:
    """What only bands have: UsageError if it is asked of a molecule."""
    from deeph.runtime.errors import UsageError

    asked = ["--connect"] * args.connect + ["--unfold"] * bool(args.unfold)
    asked += [f"--out {file}" for file in args.out if file.suffix == ".Band"]
    molecules = [title for title, data in folders if is_molecule(data)] if asked else []
    if molecules:
        raise UsageError(f"{molecules[0]} is a molecule, whose levels form no bands: leave out {asked[0]}")


def _read_dos(path: Path | None) -> "DOS | None":
    if path is None:
        return None
    from postprocess.output.dos_tables import read_dos

    return read_dos(path)


def _report(args: argparse.Namespace, data: "list[Hamiltonian]", bands: "list[Bands]") -> None:
    from deeph.runtime.log import telling
    from postprocess.bands.molecule import describe_levels, frontier_orbitals
    from postprocess.bands.report import make_report
    from postprocess.bands.unfold import primitive_path

    molecule = [is_molecule(d) for d in data]
    results = compare_all(args, bands, molecule=molecule[0]) if args.compare else []
    with telling("following band edges and crossings"):
        wanted = [n for n, d in enumerate(data) if args.report and _own_states(args, n) and not molecule[n]]
        reports = {n: make_report(data[n], bands[n]) for n in wanted}
    if (matrix := unfolding_matrix(args, data[0])) is not None:  # of the one folder
        bands = [replace(bands[0], path=primitive_path(bands[0].path, matrix))]
    fillings = [_filling(args, d, b) for d, b in zip(data, bands, strict=True)]
    if args.json:
        structures = [_record(d, b) for d, b in zip(data, bands, strict=True)]
        for n, report in reports.items():
            structures[n]["report"] = to_plain(report)
        for n in (n for n, is_one in enumerate(molecule) if is_one and args.report):
            structures[n]["report"] = {"levels": to_plain(frontier_orbitals(bands[n]))}
        for structure, filling in zip(structures, fillings, strict=True):
            structure["filled"] = None if filling is None else filling.record()
        comparisons = [
            {"reference": bands[0].title, "other": b.title} | to_plain(r) for b, r in zip(bands[1:], results, strict=False)
        ]  # fmt: skip
        record = {"structures": [from_one(structure) for structure in structures], "comparisons": comparisons}
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return
    lines: list[str] = []
    for n, (d, b) in enumerate(zip(data, bands, strict=True)):
        lines += [_head(d, b), f"path         {describe_path(b, molecule=molecule[n])}"]
        lines += [
            *describe_bands(b, d.n_orbitals, molecule=molecule[n]),
            *(describe_level_errors(b, d) if _own_states(args, n) else []),
            *([filling.describe()] if (filling := fillings[n]) is not None and not molecule[n] else []),
            *(reports[n].describe(b.fermi_energy) if n in reports else []),
            *(describe_levels(frontier_orbitals(b), collinear=d.basis.n_spin > 1) if args.report and molecule[n] else []),
            "",
        ]
    for other, result in zip(bands[1:], results, strict=False):
        lines += [f"{other.title} against {bands[0].title}", *describe_band_comparison(result, molecule=molecule[0]), ""]
    sys.stdout.write("\n".join(lines[:-1]) + "\n")


def _filling(args: argparse.Namespace, data: "Hamiltonian", bands: "Bands") -> "Filling | None":
    """How many bands are filled, with a warning where the Fermi level cannot be that of the electrons."""
    from deeph.runtime.log import logger
    from postprocess.bands.filling import find_filling

    found = find_filling(bands, data)
    if found is not None and (text := filling_warning(args, found, bands)):
        logger.warning("%s: %s", bands.title, text)
    return found


def _own_states(args: argparse.Namespace, number: int) -> bool:
    """Whether bands come from a folder, whose states tell masses, and not from a band file."""
    return number > 0 or not (args.compare and args.compare.is_file())


def _head(data: "Hamiltonian", bands: "Bands") -> str:
    from postprocess.lattice.special_points import special_points

    lattice, system = special_points(data)[0].lattice, data.system
    return f"{bands.title}: {system}, {data.n_orbitals} orbitals, spin {data.basis.spin}, {lattice}"


def _record(data: "Hamiltonian", bands: "Bands") -> dict[str, Any]:
    gap = bands.gap
    return {
        "title": bands.title,
        "formula": data.system.formula,
        "n_atoms": data.system.n_atoms,
        "n_bands": bands.n_bands,
        "first_band": bands.first_band,
        "n_orbitals": data.n_orbitals,
        "solver": bands.solver,
        "spin": data.basis.spin,
        "path": {"labels": list(bands.path.labels), "ticks": bands.path.ticks.tolist(), "n_k": len(bands.path.k)},
        "fermi_energy": bands.fermi_energy,
        "fermi_origin": bands.fermi_origin,
        "gap": None if gap is None else {"width": gap.width} | to_plain(gap),
        "level_errors": level_error_summary(bands) or None,
    }


def _figure_window(args: argparse.Namespace, bands: "list[Bands]", *, named: bool) -> tuple[float, float] | None:
    """Numbers count from --zero; what is named by a band edge is where it is, whatever the zero."""
    from postprocess.output.look import choose_zero

    if not args.window:
        return None
    moved = (bands[0].fermi_energy or 0.0) - choose_zero(bands, args.zero or "fermi").zeros[0] if named else 0.0
    return args.window[0] + moved, args.window[1] + moved


def _write(args: argparse.Namespace, bands: "list[Bands]", predicted: list[bool], window: tuple[float, float] | None) -> None:
    from deeph.files.figures import save_figure
    from deeph.runtime.log import logger
    from postprocess.output.plot import plot_bands
    from postprocess.output.plot_fat import plot_fat_bands

    dots = [p and len(bands) > 1 for p in predicted]
    if args.compare:
        dots = [False] + [True] * (len(bands) - 1)
    look = figure_look(args)
    lines = any(map(is_figure, args.out)) and not (args.connect or args.unfold)
    if lines and any(b.order is None and b.counted and len(b.path.k) > 1 for b in bands):
        logger.info("figures join the n-th levels: crossings are followed only where all levels of a small cell are computed")
    for file in args.out:
        if is_figure(file) and (bands[-1].weights or args.dos):
            save_figure(plot_fat_bands(bands[-1], window=window, dos=_read_dos(args.dos), **look)[0], file, look.get("style"))
        elif is_figure(file):
            save_figure(plot_bands(bands, window=window, dots=dots, **look), file, look.get("style"))
        else:
            bands[-1].save(file)
        logger.info("wrote %s", file)


if __name__ == "__main__":
    main()
