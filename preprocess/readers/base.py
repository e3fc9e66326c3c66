"""What a reader is; the table of readers is in :mod:`preprocess.readers`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from deeph.files.band_files import BandFile
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError

SCF = "scf"
"""Where ``source`` keeps the :class:`Convergence` of a run."""


class NoBandsError(DataError):
    """A run, sound otherwise, whose code printed no eigenvalues to compare with."""


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

    @classmethod
    def of(cls, file: BandFile, accuracy: float = 1e-6) -> "ReferenceBands":
        """What a band file holds; NaN for a Fermi level it does not tell."""
        fermi = float("nan") if file.fermi_energy is None else file.fermi_energy
        return cls(file.name, file.k, file.energies, fermi, accuracy)


class Convergence(NamedTuple):
    """Whether and how far the self-consistent cycle of a run converged.

    A reader stores it as ``source["scf"]`` of the :class:`deeph.Hamiltonian`, from where it travels to ``info.json``.

    Attributes
    ----------
    converged : bool or None
        None where nothing beside the matrices tells.
    steps : int or None
        Iterations done.
    residual, criterion : float or None
        Last value of what has to become small, and below which value it has to be.
    quantity : str
        What that is, with its unit: "change of the density", "change of the band energy (Hartree)".
    file : str
        Where it is said.
    """

    converged: bool | None = None
    steps: int | None = None
    residual: float | None = None
    criterion: float | None = None
    quantity: str = ""
    file: str = ""

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "Convergence":
        """What the ``source`` of a structure says; unknown where it says nothing."""
        stored = source.get(SCF)
        if not isinstance(stored, Mapping) or not isinstance(stored.get("converged"), bool):
            return cls()
        numbers = {key: stored[key] for key in ("steps", "residual", "criterion") if isinstance(stored.get(key), int | float)}
        return cls(stored["converged"], quantity=str(stored.get("quantity", "")), file=str(stored.get("file", "")), **numbers)

    def to_source(self) -> dict[str, Any]:
        """As an entry of ``source``, without what is not known."""
        return {SCF: {"converged": self.converged} | {key: value for key, value in self._asdict().items() if value not in (None, "")}}

    def __str__(self) -> str:
        if self.converged is None:
            return "SCF convergence unknown"
        steps = "" if self.steps is None else f" in {self.steps} steps" if self.converged else f" after {self.steps} steps"
        return f"SCF {'converged' if self.converged else 'NOT converged'}{steps}{self._numbers()}"

    def _numbers(self) -> str:
        if self.residual is None or not self.quantity:
            return ""
        limit = "" if self.criterion is None else f", criterion {self.criterion:.1e}"
        return f" ({self.quantity} {self.residual:.1e}{limit})"


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
        ``bands(folder, system)`` gives the code's own eigenvalues, for ``--verify bands``, or raises :class:`NoBandsError`.
    frames : callable or None
        Where a folder may hold several structures, ``frames(folder)`` gives a path for each; the other functions take these paths, too.
    marks : tuple of str
        Patterns of names; a folder without any of them is not of this code, and ``detect`` is not asked.
    needs : str
        What ``detect`` looks for, and how the code is told to write it.
    signs : mapping of str to str
        Patterns of names of other files of a run, and what stands near the beginning of such a file, in small letters: a folder with one
        of them is of this code, even if it holds nothing to read.
    """

    detect: Callable[[Path], str | None]
    read: Callable[[Path], Hamiltonian]
    bands: Callable[[Path, System], ReferenceBands] | None = None
    frames: Callable[[Path], list[Path]] | None = None
    marks: tuple[str, ...] = ("*",)
    needs: str = ""
    signs: Mapping[str, str] = field(default_factory=dict)
