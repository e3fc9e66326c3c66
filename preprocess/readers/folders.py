"""Folders that are converted already: the current DeepH format and the legacy one, to verify or rewrite them."""

from pathlib import Path

from deeph.files.legacy import holds_prediction, is_legacy_folder, read_legacy
from deeph.files.store import HAMILTONIAN, PREDICTED, is_structure_folder, read_folder
from deeph.physics.hamiltonian import Hamiltonian

PREDICTION = "; H is a prediction"


def detect_deeph(folder: Path) -> str | None:
    """Why a folder is in the current DeepH format, or None."""
    if not is_structure_folder(folder):
        return None
    predicted = (folder / PREDICTED).is_file() and not (folder / HAMILTONIAN).is_file()
    return f"it holds POSCAR and info.json{PREDICTION if predicted else ''}"


def read_deeph(folder: Path) -> Hamiltonian:
    """Read a structure folder; a prediction stays one."""
    return read_folder(folder, positions=True, extra=True)


def detect_legacy(folder: Path) -> str | None:
    """Why a folder is in the legacy DeepH format, or None."""
    if not is_legacy_folder(folder):
        return None
    return f"it holds lat.dat, element.dat and orbital_types.dat{PREDICTION if holds_prediction(folder) else ''}"


def read_legacy_folder(folder: Path) -> Hamiltonian:
    """Read a legacy folder."""
    return read_legacy(folder)
