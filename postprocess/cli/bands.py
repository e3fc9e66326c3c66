"""``deeph-bands``: band structures of structure folders, as tables and figures."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.bands_checks import check_levels_in_window, check_molecules, check_options
from postprocess.cli.bands_files import figure_window, write_bands
from postprocess.cli.bands_report import report_bands
from postprocess.cli.common import add_path_options, add_symmetrize_option, choose_path, folder_titles, load, title_of
from postprocess.cli.comparison import check_reference, compute_compared, load_reference
from postprocess.cli.energies import add_window_option, names_edge, resolve_energies
from postprocess.cli.figures import add_figure_options, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.projectors import add_projection_options, choose_projectors, choose_unfolding
from postprocess.cli.ribbon import add_ribbon_options, cut_ribbon, edge_groups, with_origin
from postprocess.cli.solver import add_solver_options, choose_solver

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
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

    check_options(args)
    group = start_group(args)
    loaded = [load(folder, predicted=args.predicted or None, modes=True, symmetrize=args.symmetrize) for folder in args.folders]
    loaded = [(cut_ribbon(args, data), predicted) for data, predicted in loaded]
    titles = folder_titles([*args.folders, *([args.compare] if args.compare else [])])
    folders = [(title_of(title, args, predicted=predicted), data) for title, (data, predicted) in zip(titles, loaded, strict=False)]
    check_molecules(args, folders)
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
    check_levels_in_window(args, results, jobs)
    report_bands(args, structures, results)
    shown = [replace(b, weights={}) if args.compare else b for b in results]  # which told the nearly dependent levels
    write_bands(args, shown, [predicted for _, predicted in loaded], figure_window(args, shown, named=named))
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


if __name__ == "__main__":
    main()
