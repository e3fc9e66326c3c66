"""What a reader is; the table of readers is in :mod:`preprocess.readers`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System


class ReferenceBands(NamedTuple):
    """Eigenvalues a DFT code printed itself.

    Attributes
    ----------
    name : str
        The file they come from.
    k : (n_k, 3) array
        Fractional wave vectors.
    energies : (n_spin, n_k, n_bands) array
        eV, on the energy zero of H.
    fermi_energy : float
        eV.
    accuracy : float
        Largest difference from the recomputed eigenvalues that the format of the code's output explains, eV.
    """

    name: str
    k: FloatArray
    energies: FloatArray
    fermi_energy: float
    accuracy: float = 1e-6


@dataclass(frozen=True)
class Reader:
    """How to recognize and read the output of one code.

    Attributes
    ----------
    detect : callable
        ``detect(folder)`` gives the reason why the folder belongs to this code, or None.
    read : callable
        ``read(folder)`` gives the :class:`deeph.Hamiltonian`, with position matrices if there are any.
    bands : callable or None
        ``bands(folder, system)`` gives the code's own eigenvalues, for ``--verify bands``.
    frames : callable or None
        Where a folder may hold several structures, ``frames(folder)`` gives a path for each; the other functions take these paths, too.
    """

    detect: Callable[[Path], str | None]
    read: Callable[[Path], Hamiltonian]
    bands: Callable[[Path, System], ReferenceBands] | None = None
    frames: Callable[[Path], list[Path]] | None = None
