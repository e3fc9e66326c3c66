"""Folders that are converted already: the current DeepH format and the legacy one, to verify or rewrite them."""

from pathlib import Path

from deeph.files.legacy import is_legacy_folder, read_legacy
from deeph.files.store import HAMILTONIAN, PREDICTED, is_structure_folder, read_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError


def detect_deeph(folder: Path) -> str | None:
    """Why a folder is in the current DeepH format, or None."""
    return "it holds POSCAR and info.json" if is_structure_folder(folder) else None


def read_deeph(folder: Path) -> Hamiltonian:
    """Read a structure folder; a prediction alone is refused, because it would be written as a DFT Hamiltonian."""
    if (folder / PREDICTED).is_file() and not (folder / HAMILTONIAN).is_file():
        raise DataError(f"{folder} holds only a prediction ({PREDICTED}); expected DFT data in {HAMILTONIAN}")
    return read_folder(folder, positions=True, extra=True)


def detect_legacy(folder: Path) -> str | None:
    """Why a folder is in the legacy DeepH format, or None."""
    return "it holds lat.dat, element.dat and orbital_types.dat" if is_legacy_folder(folder) else None


def read_legacy_folder(folder: Path) -> Hamiltonian:
    """Read a legacy folder."""
    return read_legacy(folder)
