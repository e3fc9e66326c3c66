"""Deep-learning DFT Hamiltonians. See ``deeph.open_dataset``, ``deeph.load_model`` and the commands ``deeph-*``."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from deeph.basis import Basis as Basis
    from deeph.bloch import BlochMatrix as BlochMatrix
    from deeph.blocks import PairBlocks as PairBlocks
    from deeph.config_file import load_config as load_config
    from deeph.dataset import Dataset as Dataset
    from deeph.dataset import open_dataset as open_dataset
    from deeph.errors import DeephError as DeephError
    from deeph.hamiltonian import Hamiltonian as Hamiltonian
    from deeph.store import read_folder as read_folder
    from deeph.store import write_folder as write_folder
    from deeph.system import System as System
    from deeph.system import read_structure as read_structure
    from deeph.training.checkpoint import load_model as load_model
    from deeph.training.loop import train as train

_WHERE = {
    "Basis": "deeph.basis",
    "BlochMatrix": "deeph.bloch",
    "Dataset": "deeph.dataset",
    "DeephError": "deeph.errors",
    "Hamiltonian": "deeph.hamiltonian",
    "PairBlocks": "deeph.blocks",
    "System": "deeph.system",
    "load_config": "deeph.config_file",
    "load_model": "deeph.training.checkpoint",
    "open_dataset": "deeph.dataset",
    "read_folder": "deeph.store",
    "read_structure": "deeph.system",
    "train": "deeph.training.loop",
    "write_folder": "deeph.store",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import deeph`` stays instant."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'deeph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
