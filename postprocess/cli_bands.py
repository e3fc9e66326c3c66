"""``deeph-bands``: band structures of structure folders, as tables and figures."""

import argparse
import json
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli_common import (
    add_path_options,
    choose_path,
    describe_band_comparison,
    describe_bands,
    folder_titles,
    load,
    to_plain,
)

if TYPE_CHECKING:
    from deeph.hamiltonian import Hamiltonian
    from postprocess.bands import Bands

EPILOG = """examples:
  deeph-bands data/MoS2                                   the usual path of the lattice, summary on the screen
  deeph-bands data/MoS2 --path GMKG --window -3 3 --out bands.pdf bands.h5
  deeph-bands predicted/MoS2 --compare data/MoS2 --out bands.pdf
  deeph-bands data/MoS2 --path "G M=1/2,0,0 | K=1/3,1/3,0 G"      a bar breaks the path
  deeph-bands data/MoS2 --path K_PATH                     a K_PATH file, or an OpenMX input with Band.kpath

Distances are in 1/Angstrom with 2 pi, energies in eV. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-bands``."""
    parser = make_parser("deeph-bands", "Band structures from Hamiltonians in structure folders.", EPILOG)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="structure folder; several are drawn in one figure")
    add_path_options(parser, "path such as GMKG, or a file holding one (default: the usual path of the lattice)")
    parser.add_argument("--window", nargs=2, type=float, metavar=("EMIN", "EMAX"), help="energies shown, eV from the Fermi level")
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="reference folder: drawn as lines, band errors are reported")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 in FOLDER even if there is a hamiltonian.h5")
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="figures (pdf, png, svg), tables (csv, json, h5)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from postprocess.bands import Bands, compute_bands, compute_bands_like, share_fermi_energy

    _check_options(args)
    reference = [args.compare] if args.compare else []
    titles = folder_titles([*reference, *args.folders])
    loaded = [load(folder) for folder in reference] + [load(folder, predicted=args.predicted or None) for folder in args.folders]
    bands: list[Bands] = []
    for title, (data, predicted) in zip(titles, loaded, strict=True):
        name = f"{title} (predicted)" if predicted else title
        if bands and args.compare:
            bands.append(compute_bands_like(bands[0], data, fermi=args.fermi, title=name))
        else:
            path = choose_path(args.path, data.system, args.points)
            bands.append(compute_bands(data, path, fermi=args.fermi, title=name))
    if len(bands) > 1:
        bands = share_fermi_energy(bands)
    _report(args, [data for data, _ in loaded], bands)
    _write(args, bands, [predicted for _, predicted in loaded])
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.errors import UsageError
    from postprocess import plot, tables

    if args.window and not -inf < args.window[0] < args.window[1] < inf:
        raise UsageError(f"--window {args.window[0]:g} {args.window[1]:g}: expected two energies in eV, the lower one first")
    for file in args.out:
        if file.suffix not in plot.SUFFIXES + tables.SUFFIXES:
            figures, numbers = ", ".join(plot.SUFFIXES), ", ".join(tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")
        if file.suffix in tables.SUFFIXES and len(args.folders) > 1:
            raise UsageError(f"--out {file}: a table holds one band structure, but {len(args.folders)} folders were given")


def _report(args: argparse.Namespace, data: "list[Hamiltonian]", bands: "list[Bands]") -> None:
    from postprocess.compare_bands import compare_bands
    from postprocess.lattice import special_points

    results = [compare_bands(bands[0], other) for other in bands[1:]] if args.compare else []
    if args.json:
        record = {
            "structures": [_record(d, b) for d, b in zip(data, bands, strict=True)],
            "comparisons": [
                {"reference": bands[0].title, "other": b.title} | to_plain(r) for b, r in zip(bands[1:], results, strict=False)
            ],
        }
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return
    lines: list[str] = []
    for d, b in zip(data, bands, strict=True):
        lattice = special_points(d.system)[0].lattice
        lines += [
            f"{b.title}: {d.system.formula}, {d.system.n_atoms} atoms, {d.H_bloch.n_orbitals} orbitals, spin {d.basis.spin}, {lattice}",
            f"path         {'-'.join(b.path.labels)}, {len(b.path.k)} k-points, {b.path.ticks[-1]:.4f} 1/Angstrom",
            *describe_bands(b),
            "",
        ]
    for other, result in zip(bands[1:], results, strict=False):
        lines += [f"{other.title} against {bands[0].title}", *describe_band_comparison(result), ""]
    sys.stdout.write("\n".join(lines[:-1]) + "\n")


def _record(data: "Hamiltonian", bands: "Bands") -> dict[str, Any]:
    gap = bands.gap
    return {
        "title": bands.title,
        "formula": data.system.formula,
        "n_atoms": data.system.n_atoms,
        "n_bands": bands.n_bands,
        "spin": data.basis.spin,
        "path": {"labels": list(bands.path.labels), "ticks": bands.path.ticks.tolist(), "n_k": len(bands.path.k)},
        "fermi_energy": bands.fermi_energy,
        "fermi_origin": bands.fermi_origin,
        "gap": None if gap is None else {"width": gap.width, "is_direct": gap.is_direct} | to_plain(gap),
    }


def _write(args: argparse.Namespace, bands: "list[Bands]", predicted: list[bool]) -> None:
    from deeph.log import logger
    from postprocess.plot import SUFFIXES, plot_bands, save_figure

    dots = [p and len(bands) > 1 for p in predicted]
    if args.compare:
        dots = [False] + [True] * (len(bands) - 1)
    for file in args.out:
        if file.suffix in SUFFIXES:
            ax = plot_bands(bands, window=tuple(args.window) if args.window else None, dots=dots)
            save_figure(ax, file)
        else:
            bands[-1].save(file)
        logger.info("wrote %s", file)


if __name__ == "__main__":
    main()
