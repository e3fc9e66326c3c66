"""The report on a model file, from its header and weights, without loading the network."""

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.conventions import CONVENTIONS
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError
from preprocess.inspect.report import Check, Report

TYPES: dict[str, np.dtype[Any]] = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a file of tensors."""
    return path.is_file() and path.suffix == ".safetensors"


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of a safetensors file (8 bytes with its length, then JSON), and where the tensors begin.

    Raises
    ------
    DataError
        If the file is damaged or of another kind.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(min(length, size)))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataError(f"{path} is damaged or no safetensors file: {error}") from error
    if size != 8 + length + end:
        raise DataError(f"{path} has {size} bytes, but its header asks for {8 + length + end}: the copy is incomplete")
    return header, 8 + length


def checkpoint_report(path: Path) -> Report:
    """What a model file holds: basis, range, size, training and data; whether its weights are finite and its conventions ours."""
    header, start = read_header(path)
    try:
        own = json.loads(header.get("__metadata__", {})["deeph"])
    except (KeyError, ValueError):
        raise DataError(f"{path} is a safetensors file of another program; expected one written by deeph-train") from None
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    description, metadata = own.get("description", {}), own.get("metadata", {})
    members = description.get("members")
    description = members[0] if members else description  # they have all of what follows in common
    cutoffs = description.get("cutoffs", [])
    facts = {
        "written by": own.get("code"),
        "ensemble": f"{len(members)} models: {', '.join(run['file'] for run in metadata.get('runs', []))}" if members else None,
        "elements": ", ".join(f"{symbol} {' '.join(map(str, ls))}" for symbol, ls in description.get("shells", {}).items()) or None,
        "spin": description.get("spin"),
        **_filling(description.get("filling") or {}),
        "cutoffs (Angstrom)": f"{min(c[2] for c in cutoffs):.2f} to {max(c[2] for c in cutoffs):.2f}" if cutoffs else None,
        "bonds trained on (Angstrom)": _bonds(description.get("trained_lengths", [])),
        "numbers": f"{sum(prod(entry['shape']) for entry in tensors.values())} in {len(tensors)} tensors",
        "network": description.get("config"),
        "settings": _settings(description.get("config") or {}),
        **{name: _listed(value) for name, value in metadata.items() if name != "model"},
        "metadata": metadata,
    }
    kind = f"{own.get('format')}, version {own.get('version')}"
    return Report(str(path), kind, facts, [_weights(path, tensors, start), _conventions(own)])


def _filling(filling: dict[str, Any]) -> dict[str, str]:
    """Fermi levels and electrons of the training data."""
    out = {}
    if fermi := filling.get("fermi_eV"):
        out["Fermi level of the data (eV)"] = "{:.4f} within {:.4f}".format(*fermi)
    if electrons := filling.get("electrons"):
        units = [("".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in composition.items()), n) for composition, n in electrons]
        out["electrons"] = ", ".join(f"{unit} {n:g}" for unit, n in units)
    return out


def _bonds(trained: list[Any]) -> str | None:
    """Pairs of elements that were neighbours in the training set, with their shortest and longest distance."""
    return ", ".join(f"{SYMBOLS[i]}-{SYMBOLS[j]} {lengths[0][0]:.2f} to {lengths[-1][1]:.2f}" for i, j, lengths in trained) or None


def _settings(config: dict[str, Any]) -> str | None:
    """Those that the family has."""
    from deeph.config import NOT_IN_FAMILY

    lacking = NOT_IN_FAMILY.get(config.get("family", "so2"), set())
    return _listed({name: value for name, value in config.items() if name not in lacking})


def _listed(value: Any) -> str | None:
    """Settings on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_listed(one)}" for key, one in value.items() if not isinstance(one, dict | list)) or None
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _weights(path: Path, tensors: dict[str, Any], start: int) -> Check:
    """No weight is NaN or infinite."""
    for name, entry in tensors.items():
        if entry["dtype"] in TYPES:
            low, high = entry["data_offsets"]
            dtype = TYPES[entry["dtype"]]
            values = np.fromfile(path, dtype, (high - low) // dtype.itemsize, offset=start + low)
            if not np.isfinite(values).all():
                return Check("weights", "bad", f"NaN or infinity in {name}: the training diverged; go back to an earlier model")
    return Check("weights", "ok", "all finite")


def _conventions(own: dict[str, Any]) -> Check:
    """The orbital order, spin layout and units are the present ones."""
    recorded = own.get("conventions", {})
    different = [name for name, value in CONVENTIONS.items() if recorded.get(name) != value]
    if different:
        return Check("conventions", "bad", f"{different[0]} is {recorded.get(different[0])!r}, expected {CONVENTIONS[different[0]]!r}")
    return Check("conventions", "ok", f"{recorded['energy']}, {recorded['length']}, {recorded['orbitals']}")
