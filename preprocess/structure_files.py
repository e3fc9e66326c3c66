"""Structures in files, in folders of files and in files of many frames: what every command that takes structures reads them by."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from deeph.physics.system import FloatArray, System
from deeph.physics.system import read_structure as read_any
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.stru import read_stru
from preprocess.readers.openmx.input import read_structure as read_openmx
from preprocess.readers.siesta.input import read_fdf, read_net_charge

GENERIC = ("POSCAR", "CONTCAR", "STRU")
"""Names that say nothing: such a file is the structure of its folder, and the folder names it. The first one found is taken."""
FILES = r"(POSCAR|CONTCAR|STRU)[-_.].*|.*\.(vasp|poscar|stru|cif|xyz|extxyz|traj)|.*[-_.](POSCAR|CONTCAR)|XDATCAR"
"""Names of structure files of which a folder may hold any number."""
INPUTS = {".dat": rb"<Atoms\.SpeciesAndCoordinates", ".fdf": rb"Atomic[-_.]?Coordinates[-_.]?And[-_.]?Atomic[-_.]?Species"}
"""Input files of DFT codes, and what those with a structure hold."""
TRAJECTORIES = (".xyz", ".extxyz", ".traj")
"""Files that may hold more than one structure."""
EXPECTED = "POSCAR, CONTCAR, STRU, *.vasp, *.cif, *.xyz (one or many frames), *.traj, an OpenMX *.dat or a SIESTA *.fdf"


class Structure(NamedTuple):
    """A structure and what its file says besides.

    Attributes
    ----------
    system : System
        The atoms.
    basis_names : mapping of atomic number to str
        OpenMX's names of the bases; empty for other files.
    n_electrons : float or None
        Valence electrons, where the file tells.
    charge : float
        Where it tells the charge instead: by how many electrons there are fewer than in the neutral atoms.
    moments : (n_atoms, 3) array or None
        Magnetic moments, Bohr magneton; files are not asked for them.
    """

    system: System
    basis_names: Mapping[int, str] = {}
    n_electrons: float | None = None
    charge: float = 0.0
    moments: FloatArray | None = None


class StructureFile(NamedTuple):
    """Where a structure is, and what it is called.

    Attributes
    ----------
    name : str
        Different for all that were found together, also as folders: none is inside another. May hold ``/``.
    path : Path
        The file.
    frame : int or None
        Which structure of a file of many, counted from 0.
    """

    name: str
    path: Path
    frame: int | None = None

    def read(self) -> Structure:
        """The structure; see :func:`read_structure_file`."""
        return read_structure_file(self.path, self.frame)


def read_structure_file(path: Path, frame: int | None = None) -> Structure:
    """Read POSCAR, cif, xyz, ..., or an input file of OpenMX (``.dat``), SIESTA (``.fdf``) or ABACUS (``STRU``).

    Parameters
    ----------
    path : Path
        The file.
    frame : int, optional
        Which structure of a file of many, counted from 0; without it, the file has to hold a single one.

    Raises
    ------
    DataError
        If the file is missing or not understood, or holds several structures and none is chosen.
    """
    if not path.is_file():
        raise DataError(f"no structure file at {path}")
    if _has_frames(path):
        return Structure(_one_frame(path, frame))
    if path.suffix.lower() == ".fdf":
        return Structure(read_fdf(path), charge=read_net_charge(path))
    if path.name.startswith("STRU") or path.suffix.lower() == ".stru":
        return Structure(read_stru(path))
    if path.suffix.lower() == ".dat" or _holds(path, INPUTS[".dat"]):
        system, species, n_electrons = read_openmx(path)
        return Structure(system, {s.number: s.pao for s in species}, n_electrons)
    return Structure(read_any(path))


def find_structures(paths: Sequence[Path]) -> list[StructureFile]:
    """All structures in some files and in and below some folders, in natural order (2 before 10), each with a name of its own.

    A file is named after itself without its ending, a frame by its number as well (``md-0007``), a file called just ``POSCAR`` after
    its folder, a single file below a given folder after where it lies; names that come again are numbered (``a``, ``a-2``). Files that
    cannot be read are listed, too: reading them tells what is wrong.

    Raises
    ------
    DataError
        If a path is missing, or a folder holds no structure.
    """
    found = [one for path in paths for one in (_in_folder(path) if path.is_dir() else _in_file(path, _own_name(path)))]
    return [one._replace(name=name) for one, name in zip(found, _distinct([one.name for one in found]), strict=True)]


def _own_name(path: Path) -> str:
    """The name of a file, or of its folder where that of the file says nothing."""
    if path.name in GENERIC:
        return path.resolve().parent.name or path.stem
    return path.name if path.name.startswith(GENERIC) else path.stem


def _in_folder(root: Path) -> Iterator[StructureFile]:
    """The structures in a folder and those below it."""
    empty = True
    below = [path for path in root.rglob("*") if path.is_dir() and not any(p.startswith(".") for p in path.relative_to(root).parts)]
    for folder in sorted([root, *below], key=_natural):
        files = _structure_files(folder)
        for file in files:
            empty = False
            alone = folder != root and len(files) == 1
            yield from _in_file(file, str(folder.relative_to(root)) if alone else str(folder.relative_to(root) / _own_name(file)))
    if empty:
        raise DataError(f"no structure file in or below {root}: expected {EXPECTED}")


def _structure_files(folder: Path) -> list[Path]:
    """The structure files of a folder: the one of a name that says nothing, or all others, one of each name.

    What has the name of an input file of a DFT code belongs to that run.
    """
    files = sorted((path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")), key=_natural)
    generic = {path.name: path for path in files if path.name in GENERIC}
    if generic:
        return [next(generic[name] for name in GENERIC if name in generic)]
    inputs = [path for path in files if path.suffix.lower() in INPUTS]
    runs = [path for path in inputs if _holds(path, INPUTS[path.suffix.lower()])]
    out = {_own_name(path): path for path in runs}
    for path in files:
        of_a_run = any(path.name.startswith(f"{run.stem}.") for run in runs)
        if re.fullmatch(FILES, path.name, re.IGNORECASE) and not of_a_run:
            out.setdefault(_own_name(path), path)
    return sorted(out.values(), key=_natural) or inputs[: len(inputs) == 1]


def _in_file(path: Path, name: str) -> list[StructureFile]:
    """The structure of a file, or each of its frames; what follows a damaged frame is represented by it."""
    if not path.is_file():
        raise DataError(f"no structure file at {path}")
    frames, damage = _frames(path, path.stat().st_mtime_ns) if _has_frames(path) else ([], "")
    count = len(frames) + bool(damage and frames)
    if count < 2:
        return [StructureFile(name, path)]
    return [StructureFile(f"{name}-{n:0{max(4, len(str(count - 1)))}d}", path, n) for n in range(count)]


def _has_frames(path: Path) -> bool:
    return path.suffix.lower() in TRAJECTORIES or path.name.startswith("XDATCAR")


def _one_frame(path: Path, frame: int | None) -> System:
    systems, damage = _frames(path, path.stat().st_mtime_ns)
    if frame is None and len(systems) > 1:
        raise DataError(f"{path} holds {len(systems)} structures, expected one; 'deeph-structures frames' takes out those you want")
    n = frame or 0
    if n >= len(systems):
        raise DataError(f"{path}, frame {n}: {damage or f'there are only {len(systems)} frames'}")
    return systems[n]


@lru_cache(maxsize=4)
def _frames(path: Path, _changed: int) -> tuple[list[System], str]:
    """All structures of a file up to the first damaged one, and what is wrong with that; kept, because they are asked for one by one."""
    from ase.io import iread

    systems: list[System] = []
    try:
        for atoms in iread(path, ":", parallel=False, do_not_split_by_at_sign=True):
            systems.append(System.from_ase(atoms))  # noqa: PERF401 - those before an error are kept
    except Exception as error:  # noqa: BLE001 - ASE raises all kinds
        return systems, f"could not be read as a structure: {error or type(error).__name__}"
    return systems, "" if systems else "the file is empty"


def _holds(path: Path, pattern: bytes) -> bool:
    with path.open("rb") as file:
        return re.search(pattern, file.read(20000), re.IGNORECASE) is not None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path)) if part]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where they come again or would be folders inside each other."""
    taken = {parent for name in names for parent in map(str, Path(name).parents)}
    out = []
    for name in names:
        new, n = name, 1
        while new in taken:
            n += 1
            new = f"{name}-{n}"
        taken.add(new)
        out.append(new)
    return out
