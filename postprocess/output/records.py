"""Named arrays, numbers and texts of a result in one ``.json`` or ``.h5`` file, the same names in both."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".h5", ".json")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write what is not None; NaN, which is no JSON number, becomes null there."""
    known = {name: value for name, value in record.items() if value is not None}
    if path.suffix == ".json":
        path.write_text(json.dumps({name: _without_nan(value) for name, value in known.items()}) + "\n", encoding="utf-8")
        return
    from deeph.files.hdf5 import new_hdf5

    with new_hdf5(path) as file:
        for name, value in known.items():
            if isinstance(value, np.ndarray):
                file[name] = value
            else:
                file.attrs[name] = list(value) if isinstance(value, tuple) else value


def read_record(path: Path) -> dict[str, Any]:
    """What :func:`write_record` wrote; OSError, ValueError or TypeError if it is something else."""
    if path.suffix != ".h5":
        return dict(json.loads(path.read_text(encoding="utf-8")))
    import h5py

    with h5py.File(path, "r") as file:
        attributes = {name: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for name, v in file.attrs.items()}
        return {name: dataset[()] for name, dataset in file.items()} | attributes


def _without_nan(value: Any) -> Any:
    """Arrays as lists with None for NaN, which numpy reads as NaN."""
    if not isinstance(value, np.ndarray):
        return value
    out = value.astype(object)
    out[np.isnan(value)] = None
    return out.tolist()
