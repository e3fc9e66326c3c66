"""What ``deeph-bands`` says of band structures, as text and as JSON."""

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postprocess.cli.common import describe_bands, describe_level_errors, describe_path, from_one, level_error_summary, to_plain
from postprocess.cli.comparison import compare_all, describe_band_comparison, is_molecule
from postprocess.cli.projectors import unfolding_matrix
from postprocess.cli.ribbon import filling_warning

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
    from postprocess.bands.filling import Filling


def report_bands(args: argparse.Namespace, data: "list[Hamiltonian]", bands: "list[Bands]") -> None:
    """Print paths, Fermi levels, gaps, what was asked for with --report, and comparisons."""
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
        "level_errors": level_error_summary(bands, data) or None,
    }
