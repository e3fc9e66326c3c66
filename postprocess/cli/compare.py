"""``deeph-compare``: errors of one Hamiltonian against another, entry by entry and band by band."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_path_options, folder_titles, load, to_plain
from postprocess.cli.comparison import (
    ERROR_HEAD,
    check_comparison_options,
    check_reference,
    compare_all,
    compute_compared,
    describe_band_comparison,
    describe_errors,
    is_molecule,
    load_reference,
)
from postprocess.cli.energies import add_window_option, check_window, resolve_energies
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.solver import add_solver_options, check_solver_options

if TYPE_CHECKING:
    from deeph.physics.difference import Errors
    from postprocess.compare.matrices import MatrixComparison

EPILOG = """examples:
  deeph-compare data/MoS2 predicted/MoS2                  errors of the matrix entries
  deeph-compare data/MoS2 predicted/MoS2 --path GMKG      and of the bands
  deeph-compare run/MoS2 run/MoS2 --predicted             hamiltonian_pred.h5 against hamiltonian.h5 of one folder
  deeph-compare run/mos2.Band predicted/MoS2              the bands alone, at the k-points of the file
  deeph-compare data/moire predicted/moire --path KGMK --points 20 --n-bands 30      a large cell: 30 bands at the Fermi level

Errors are in meV. Atoms may be in another order. 'without mu S' leaves out the common energy zero, which changes no band
structure; the tables use it. The levels of molecules are compared without --path, at Gamma. Exit code: 0 compared, 1 the data are
missing, wrong or not comparable, 2 wrong usage."""

N_SHELLS = 6
"""Rows of the shell-pair table on the screen; the JSON holds all."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-compare``."""
    parser = make_parser("deeph-compare", "Compare two Hamiltonians of one structure.", EPILOG)
    parser.add_argument("reference", type=Path, metavar="A", help="structure folder of the reference, or band file (.Band .EIG .bands)")
    parser.add_argument("other", type=Path, metavar="B", help="structure folder to be judged, e.g. predicted")
    add_path_options(parser, "compare the bands along this path too, such as GMKG, or a file holding one")
    add_window_option(parser, "compare only bands in these energies of A")
    add_solver_options(parser)
    add_job_options(parser)
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 in B even if there is a hamiltonian.h5")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.files.band_files import BandFile
    from deeph.runtime.log import telling
    from postprocess.compare.matrices import compare_hamiltonians

    _check_options(args)
    group = start_group(args)
    other, predicted = load(args.other, predicted=args.predicted or None)
    reference, _ = load_reference(args.reference, other)
    titles = folder_titles([args.reference, args.other])
    titles[1] += " (predicted)" * predicted
    molecule, from_file = is_molecule(other), isinstance(reference, BandFile)
    wanted = bool(from_file or molecule or args.path or args.window or args.n_bands)
    if wanted:
        check_reference(reference, titles[0], [(titles[1], other)])
        resolve_energies(args, other if isinstance(reference, BandFile) else reference)
    with telling("comparing the entries of both matrices"):
        matrices = None if isinstance(reference, BandFile) else compare_hamiltonians(reference, other)
    bands = None
    if wanted:
        jobs = [make_jobs(args, group, []) for _ in range(2)]
        both = compute_compared(args, (titles[0], reference), [(titles[1], other)], jobs, window_selects=True)
        if group.rank > 0:
            return 0
        bands = compare_all(args, both, molecule=molecule)[0]
    if group.rank > 0:
        return 0
    if args.json:
        record = {"reference": titles[0], "other": titles[1], "matrices": to_plain(matrices), "bands": to_plain(bands)}
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return 0
    lines = [f"{titles[1]} against {titles[0]}: {other.system}"]
    if matrices is not None:
        lines += ["", *_describe(matrices)]
    if bands is not None:
        lines += ["", *describe_band_comparison(bands, molecule=molecule)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.runtime.errors import UsageError

    check_window(args)
    if args.window and args.n_bands:
        raise UsageError("--window and --n-bands both select bands: leave out one of them")
    if args.window and args.device != "cpu":
        raise UsageError(f"--device {args.device} computes all levels with dense matrices: leave out --window")
    check_solver_options(args)
    check_comparison_options(args, args.reference)


def _describe(result: "MatrixComparison") -> list[str]:
    lines = ["matrix entries", ERROR_HEAD, describe_errors("H as it stands", result.raw), describe_errors("without mu S", result.projected)]
    lines += [f"  mu = {result.energy_zero:+.4f} meV (common energy zero); overlaps differ by up to {result.overlap_difference:.2e}"]
    for who, (number, largest) in (("A", result.only_reference), ("B", result.only_other)):
        if number:
            lines.append(f"  {number} blocks only in {who}, entries up to {largest:.4f} meV, compared with zero")
    worst = sorted(result.by_shells.items(), key=lambda item: -item[1].mae)[:N_SHELLS]
    tables: tuple[tuple[str, dict[str, Errors]], ...] = (
        ("by site", result.by_site),
        ("by elements", result.by_elements),
        ("by distance (Angstrom)", result.by_distance),
        (f"by shells, the {len(worst)} worst of {len(result.by_shells)}", dict(worst)),
    )
    for title, table in tables:
        lines += ["", title, *(describe_errors(name, errors) for name, errors in table.items())]
    if result.by_spin:
        rows = (f"{describe_errors(name, errors)} {result.spin_sizes[name].rmse:>16.4f}" for name, errors in result.by_spin.items())
        lines += ["", f"{'by part of the spin':<74} {'RMS of A (meV)':>16}", *rows]
    return lines


if __name__ == "__main__":
    main()
