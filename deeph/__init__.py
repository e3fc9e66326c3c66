"""Deep-learning DFT Hamiltonians. See ``deeph.read``, ``deeph.overlap``, ``deeph.load_model`` and the commands ``deeph-*``."""

import importlib
from typing import TYPE_CHECKING, Any

from deeph.runtime.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from deeph.facade import overlap as overlap
    from deeph.facade import read as read
    from deeph.files.config_file import load_config as load_config
    from deeph.files.dataset import Dataset as Dataset
    from deeph.files.dataset import open_dataset as open_dataset
    from deeph.files.store import read_folder as read_folder
    from deeph.files.store import write_folder as write_folder
    from deeph.physics.basis import Basis as Basis
    from deeph.physics.bloch import BlochMatrix as BlochMatrix
    from deeph.physics.blocks import PairBlocks as PairBlocks
    from deeph.physics.hamiltonian import Hamiltonian as Hamiltonian
    from deeph.physics.system import System as System
    from deeph.runtime.errors import DeephError as DeephError
    from deeph.training.checkpoint import load_model as load_model
    from deeph.training.run import train as train

_WHERE = {
    "Basis": "deeph.physics.basis",
    "BlochMatrix": "deeph.physics.bloch",
    "Dataset": "deeph.files.dataset",
    "DeephError": "deeph.runtime.errors",
    "Hamiltonian": "deeph.physics.hamiltonian",
    "PairBlocks": "deeph.physics.blocks",
    "System": "deeph.physics.system",
    "load_config": "deeph.files.config_file",
    "load_model": "deeph.training.checkpoint",
    "open_dataset": "deeph.files.dataset",
    "overlap": "deeph.facade",
    "read": "deeph.facade",
    "read_folder": "deeph.files.store",
    "train": "deeph.training.run",
    "write_folder": "deeph.files.store",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import deeph`` stays instant."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'deeph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
