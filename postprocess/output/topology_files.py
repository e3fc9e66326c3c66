"""Results of ``deeph-topology`` in files: json with everything, csv with the Wannier centres, or the rows of a table."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeph.files.figures import SUFFIXES as FIGURES
from deeph.files.folders import new_file
from deeph.runtime.errors import UsageError
from postprocess.topology.wilson import WannierFlow

SUFFIXES = (".csv", ".json")


def check_name(path: Path) -> None:
    """Refuse a name that is neither a table nor a figure.

    Raises
    ------
    UsageError
        With the suffixes that are.
    """
    if path.suffix not in SUFFIXES + FIGURES:
        raise UsageError(f"--out {path}: expected a name ending in {', '.join(FIGURES)} (figure) or {', '.join(SUFFIXES)} (table)")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def write_topology(path: Path, record: Mapping[str, Any], rows: Sequence[Sequence[Any]], comment: str) -> None:
    """Write a record (json), or rows with their head first (csv).

    Parameters
    ----------
    path : Path
        Ending in .json or .csv.
    record : mapping
        What JSON can hold.
    rows : sequence of sequences
        The head, then the numbers.
    comment : str
        First line of a csv.
    """
    with new_file(path) as temporary:
        if path.suffix == ".json":
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {comment}\n")
            writer = csv.writer(file)
            for row in rows:
                writer.writerow([f"{x:.9g}" if isinstance(x, float) else x for x in row])


def flow_rows(flows: Mapping[str, WannierFlow]) -> list[list[Any]]:
    """Head and rows of Wannier centres: plane, t, the centres of each line, ascending."""
    most = max(flow.centres.shape[1] for flow in flows.values())
    rows: list[list[Any]] = [["plane", "t", *(f"x{n + 1}" for n in range(most))]]
    for name, flow in flows.items():
        rows += [[name, float(t), *map(float, centres)] for t, centres in zip(flow.t, flow.centres, strict=True)]
    return rows


def flow_record(flow: WannierFlow) -> dict[str, Any]:
    """A flow as JSON holds it."""
    return {
        "t": flow.t.tolist(), "centres": flow.centres.tolist(), "origin": flow.origin.tolist(), "along": flow.along.tolist(),
        "across": flow.across.tolist(), "n_points": flow.n_points, "smallest_singular_value": flow.smallest, "gap_eV": flow.gap,
    }  # fmt: skip
