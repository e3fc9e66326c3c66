"""Readers of raw DFT output, one package a code, and the table of them.

A new code adds a package with ``detect``, ``read`` and perhaps ``read_bands`` (see :class:`preprocess.readers.base.Reader`), and one line
here.
"""

import fnmatch
from collections.abc import Collection, Mapping
from pathlib import Path

from deeph.runtime.errors import DataError, UsageError
from preprocess.readers import abacus, aims, deeptb, folders, openmx, pyscf, siesta
from preprocess.readers.base import Reader

READERS: dict[str, Reader] = {
    "openmx": Reader(
        openmx.detect, openmx.read, openmx.read_bands, marks=("*.scfout",), needs=".scfout (OpenMX, 'HS.fileout on')",
        signs={"*.dat": "<atoms.speciesandcoordinates", "*.out": "performed by openmx", "*.std": "openmx"},
    ),
    "abacus": Reader(
        abacus.detect, abacus.read, abacus.read_bands, marks=("OUT.*", "*.csr", "*.log"),
        needs="OUT.* with .csr (ABACUS, 'out_mat_hs2 1')", signs={"INPUT": "input_parameters", "STRU": "atomic_species"},
    ),
    "siesta": Reader(
        siesta.detect, siesta.read, siesta.read_bands, marks=("*.HSX", "*.TSHS", "*.nc", "*.onlyS", "*.ORB_INDX", "*.fdf"),
        needs=".HSX or .TSHS (SIESTA, 'SaveHS true')", signs={"*.fdf": "", "*.out": "welcome to siesta", "*.log": "welcome to siesta"},
    ),
    "aims": Reader(
        aims.detect, aims.read, aims.read_bands, marks=("rs_indices.out",),
        needs="rs_indices.out (FHI-aims, 'output_rs_matrices plain')", signs={"control.in": "", "*.out": "invoking fhi-aims"},
    ),
    "pyscf": Reader(pyscf.detect, pyscf.read, pyscf.read_bands, marks=("pyscf_run.npz",), needs="pyscf_run.npz (PySCF, save_run)"),
    "deeptb": Reader(
        deeptb.detect, deeptb.read, deeptb.read_bands, deeptb.frames, marks=("basis.dat", "structure.json"),
        needs="basis.dat with .h5 (DeePTB)",
        signs={"basis.dat": "{"},
    ),
    "deeph": Reader(
        folders.detect_deeph, folders.read_deeph, marks=("info.json",), needs="POSCAR with info.json (DeepH)",
        signs={"info.json": "elements_orbital_map", "overlap.h5": "", "hamiltonian.h5": ""},
    ),
    "legacy": Reader(
        folders.detect_legacy, folders.read_legacy_folder, marks=("lat.dat",),
        needs="lat.dat with element.dat and orbital_types.dat (legacy DeepH)",
        signs={"rlat.dat": "", "lat.dat": "", "orbital_types.dat": ""},
    ),
}  # fmt: skip
SIGN_LENGTH = 65536
"""So many bytes of a file are searched for the sign of a code."""


def candidates(folder: Path, code: str = "auto", names: Collection[str] | None = None) -> dict[str, str]:
    """The codes a folder may come from, each with the reason.

    Parameters
    ----------
    folder : path
        A folder that exists, or one of its structures, see :attr:`preprocess.readers.base.Reader.frames`.
    code : str
        Only look for this code; ``auto`` for all.
    names : collection of str, optional
        What the folder holds, if it was listed already: only readers that find their mark among it look closer.

    Raises
    ------
    UsageError
        If there is no reader for the code.
    """
    if code != "auto" and code not in READERS:
        raise UsageError(f"no reader for {code!r}; expected auto or one of {', '.join(READERS)}")
    if names is None:
        names = [path.name for path in (folder if folder.is_dir() else folder.parent).iterdir()]
    readers = READERS if code == "auto" else {code: READERS[code]}
    near = [name for name, reader in readers.items() if any(fnmatch.filter(names, mark) for mark in reader.marks)]
    return {name: reason for name in near if (reason := READERS[name].detect(folder))}


def recognize(folder: Path, code: str = "auto") -> tuple[str, str]:
    """The name of the reader for a folder, and the reason.

    Raises
    ------
    DataError
        If no code, or more than one, is recognized.
    """
    found = candidates(folder, code)
    if not found:
        raise DataError(f"{folder} holds no output of {', '.join(READERS) if code == 'auto' else code}")
    if len(found) > 1:
        reasons = "; ".join(f"{name} because {reason}" for name, reason in found.items())
        raise DataError(f"{folder} could be of several codes ({reasons}); choose one with --code")
    return next(iter(found.items()))


def what_is_missing(folder: Path, names: Collection[str], code: str = "auto") -> str:
    """What a folder lacks that holds files of a code, but nothing to read; empty where it holds no files of a code.

    Parameters
    ----------
    folder, code, names
        As of :func:`candidates`, which found none.
    """
    for name, reader in READERS.items():
        for pattern, sign in reader.signs.items() if code in ("auto", name) else ():
            for file in sorted(fnmatch.filter(names, pattern)):
                if _begins_with(folder / file, sign):
                    return f"files of {name} ({file}), but no {reader.needs}: the run crashed, did not write it, or was not started"
    return ""


def _begins_with(path: Path, sign: str) -> bool:
    """Whether a file has some text near its beginning; one that cannot be read has not."""
    try:
        with path.open("rb") as file:
            return sign.encode() in file.read(SIGN_LENGTH).lower()
    except OSError:
        return False


def structures_in(folder: Path, found: Mapping[str, str]) -> list[Path]:
    """The folder itself, or a path for each structure of a folder that holds several; what is wrong with it is said when it is read.

    Parameters
    ----------
    folder : path
        The folder.
    found : mapping
        Its :func:`candidates`.
    """
    frames = READERS[next(iter(found))].frames if len(found) == 1 else None
    try:
        return [folder] if frames is None else frames(folder)
    except DataError:
        return [folder]


def detect(folder: Path, code: str = "auto") -> Reader:
    """The reader for a folder; see :func:`recognize`."""
    return READERS[recognize(folder, code)[0]]
