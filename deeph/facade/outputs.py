"""Changed Hamiltonians and what is written of them: what the methods of a Hamiltonian call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import UsageError


def symmetrized(h: Hamiltonian, tolerance: float) -> Hamiltonian:
    """What :meth:`deeph.Hamiltonian.symmetrized` does."""
    from deeph.physics.symmetrize import symmetrize
    from deeph.runtime.log import logger, telling

    if not 0 < tolerance < np.inf:
        raise UsageError(f"tolerance {tolerance:g}: expected a length in Angstrom, such as 1e-3")
    with telling(f"averaging over the symmetry of {h.system}"):
        found = symmetrize(h, tolerance)
    for line in found.describe():
        logger.info("%s", line)
    return found.hamiltonian


def save(h: Hamiltonian, folder: str | Path, *, overwrite: bool) -> None:
    """What :meth:`deeph.Hamiltonian.save` does."""
    from deeph.files.store import write_folder

    write_folder(folder, h, overwrite=overwrite)


def export(h: Hamiltonian, to: str, out: str | Path, options: Mapping[str, Any]) -> None:
    """What :meth:`deeph.Hamiltonian.export` does."""
    from postprocess.export.formats import export

    export(h, to, out, **options)


def make(h: Hamiltonian, to: str, options: Mapping[str, Any]) -> Any:
    """What :meth:`deeph.Hamiltonian.to_sisl` and the like do."""
    from postprocess.export.formats import make

    return make(h, to, **options)
