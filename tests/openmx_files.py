"""Small OpenMX runs for the tests: unpacked from tests/data, or written in any layout of the .scfout."""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from preprocess.readers.openmx.scfout import Scfout

DATA = Path(__file__).parent / "data" / "openmx"


def unpack_run(name: str, folder: Path) -> Path:
    """A run folder with the .scfout and .Band of a case in tests/data."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.scfout").write_bytes(gzip.decompress((DATA / name / f"{name}.scfout.gz").read_bytes()))
    (folder / f"{name}.Band").write_bytes((DATA / name / f"{name}.Band").read_bytes())
    return folder


@dataclass(frozen=True)
class Layout:
    """How to write a .scfout: format version, byte order, and what real files vary in."""

    version: int = 0
    byte_order: str = "<"
    order_max: int = 1
    input_copy: bool = True
    leads: tuple[int, int, int] = (0, 0, 0)


def scfout_bytes(raw: Scfout, layout: Layout) -> bytes:
    """The file, written from section 2 (3.8) and 7 (3.9) of the format's description, independent of the reader."""
    parts: list[bytes] = []

    def integers(values: object) -> None:
        parts.append(np.asarray(values).astype(f"{layout.byte_order}i4").tobytes())

    def floats(values: object) -> None:
        parts.append(np.asarray(values, float).astype(f"{layout.byte_order}f8").tobytes())

    def vectors(rows: np.ndarray) -> None:
        floats(np.concatenate([np.full((len(rows), 1), np.nan), rows], axis=1))  # the first number is uninitialised memory

    n_atoms, new = len(raw.n_orbitals), layout.version >= 3
    cells = np.unique(np.concatenate([np.zeros((1, 3), int), raw.pairs[:, :3]]), axis=0)
    cells = np.concatenate([np.zeros((1, 3), int), cells[cells.any(axis=1)]])
    cell_of = {tuple(c): n for n, c in enumerate(cells.tolist())}
    integers([n_atoms, raw.spin + 4 * layout.version, *layout.leads, len(cells) - 1])
    if new:
        integers([layout.order_max])
    vectors(cells @ raw.cell)
    integers(np.concatenate([np.full((len(cells), 1), -7), cells], axis=1))
    integers(raw.n_orbitals)
    integers(np.bincount(raw.pairs[:, 3]) - 1)
    integers(raw.pairs[:, 4] + 1)
    integers([cell_of[tuple(R)] for R in raw.pairs[:, :3].tolist()])
    vectors(raw.cell)
    vectors(2 * np.pi * np.linalg.inv(raw.cell).T)
    vectors(raw.positions)
    floats(raw.H)
    floats(raw.iH)
    floats(raw.S)
    for component in raw.position:
        floats([component**n for n in range(1, layout.order_max + 1 if new else 2)])
    size = raw.S.size
    floats(np.full((3 if new else 0) * size, 0.5))  # momentum
    floats(raw.density)
    if new:
        floats(raw.density_imaginary if len(raw.density_imaginary) else np.zeros((2, size)))
    integers([raw.solver])
    floats([raw.fermi_energy, raw.temperature, 0, 0, 0, 0, 0, 0, raw.n_electrons, 0])
    if layout.input_copy:
        lines = raw.input.encode().splitlines(keepends=True)
        integers([len(lines)])
        parts.extend(line + b"\0" + b"~" * (255 - len(line)) for line in lines)
    return b"".join(parts)


def edited(raw: Scfout, old: str, new: str) -> Scfout:
    """The same run with another input file."""
    assert old in raw.input
    return replace(raw, input=raw.input.replace(old, new))
