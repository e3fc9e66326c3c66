"""``deeph-compare``: errors of one Hamiltonian against another, entry by entry and band by band."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import (
    ERROR_HEAD,
    add_path_options,
    choose_path,
    describe_band_comparison,
    describe_errors,
    folder_titles,
    load,
    to_plain,
)

if TYPE_CHECKING:
    from deeph.physics.difference import Errors
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.compare.bands import BandComparison
    from postprocess.compare.matrices import MatrixComparison

EPILOG = """examples:
  deeph-compare data/MoS2 predicted/MoS2                  errors of the matrix entries
  deeph-compare data/MoS2 predicted/MoS2 --path GMKG      and of the bands
  deeph-compare run/MoS2 run/MoS2 --predicted             hamiltonian_pred.h5 against hamiltonian.h5 of one folder

Errors are in meV. Atoms may be in another order. 'without mu S' leaves out the common energy zero, which changes no band
structure; the tables use it. Exit code: 0 compared, 1 the data are missing, wrong or not comparable, 2 wrong usage."""

N_SHELLS = 6
"""Rows of the shell-pair table on the screen; the JSON holds all."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-compare``."""
    parser = make_parser("deeph-compare", "Compare two Hamiltonians of one structure.", EPILOG)
    parser.add_argument("reference", type=Path, metavar="A", help="structure folder of the reference, e.g. DFT")
    parser.add_argument("other", type=Path, metavar="B", help="structure folder to be judged, e.g. predicted")
    add_path_options(parser, "compare the bands along this path too, such as GMKG, or a file holding one")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 in B even if there is a hamiltonian.h5")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from postprocess.compare.matrices import compare_hamiltonians

    reference, _ = load(args.reference)
    other, predicted = load(args.other, predicted=args.predicted or None)
    titles = folder_titles([args.reference, args.other])
    titles[1] += " (predicted)" * predicted
    matrices = compare_hamiltonians(reference, other)
    bands = _compare_bands(args, reference, other, titles) if args.path else None
    if args.json:
        record = {"reference": titles[0], "other": titles[1], "matrices": to_plain(matrices), "bands": to_plain(bands)}
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return 0
    head = [f"{titles[1]} against {titles[0]}: {reference.system.formula}, {reference.system.n_atoms} atoms", ""]
    lines = [*head, *_describe(matrices)]
    if bands is not None:
        lines += ["", *describe_band_comparison(bands)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _compare_bands(args: argparse.Namespace, reference: "Hamiltonian", other: "Hamiltonian", titles: list[str]) -> "BandComparison":
    from postprocess.bands.bands import compute_bands, compute_bands_like, share_fermi_energy
    from postprocess.compare.bands import compare_bands

    path = choose_path(args.path, reference, args.points)
    first = compute_bands(reference, path, fermi=args.fermi, title=titles[0])
    second = compute_bands_like(first, other, fermi=args.fermi, title=titles[1])
    return compare_bands(*share_fermi_energy([first, second]))


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
    return lines


if __name__ == "__main__":
    main()
