"""How levels are found: the options of all solvers in one value object."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeph.runtime.errors import UsageError

NAMES = ("auto", "dense", "pardiso", "superlu", "slepc")
MAX_VIOLATION = 2e-5
"""eV; noise of predictions in single precision stays below. Levels change by its square over their distance."""


@dataclass(frozen=True)
class SolverOptions:
    """Which solver, and how it works; what it has to find is said by :class:`postprocess.eigen.selection.Selection`.

    Attributes
    ----------
    name : {"auto", "dense", "pardiso", "superlu", "slepc"}
        By default chosen by size and by what is installed.
    device : str
        Where dense matrices are diagonalized: "cpu" (LAPACK), or a device of torch such as "cuda".
    single : bool
        Factor in single precision, in half of the memory; solutions are refined to double precision (PARDISO).
    project : float
        Leave out the eigenvectors of S(k) with smaller eigenvalues; 0 keeps all.
    verify : bool
        Prove by counts that none of the levels nearest an energy was missed, at the price of two more factorizations. A window is always
        proved.
    real_form : float
        eV; where inversion or a half turn can make H(k) real at every k, elements may be changed by so much for it. 0: never.
    compress : float
        Block-low-rank factors: parts below this threshold are dropped (SLEPc with MUMPS, CNTL(7)); 0 keeps exact factors.
    out_of_core : Path or None
        Folder, on a disk of each node, that holds the factors instead of the memory (SLEPc with MUMPS).
    """

    name: str = "auto"
    device: str = "cpu"
    single: bool = False
    project: float = 0.0
    verify: bool = True
    real_form: float = MAX_VIOLATION
    compress: float = 0.0
    out_of_core: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"solver {self.name!r}: expected one of {', '.join(NAMES)}")
        if not 0 <= self.project < 1:
            raise UsageError(f"projection below {self.project:g}: eigenvalues of S lie around 1, expected a small number such as 1e-3")
        if not 0 <= self.real_form < np.inf:
            raise UsageError(f"real_form {self.real_form:g}: expected an energy in eV, 0 or more")
        if not 0 <= self.compress < 1:
            raise UsageError(f"factors compressed to {self.compress:g}: expected a small number such as 1e-8")
        if self.out_of_core is not None and not self.out_of_core.is_dir():
            raise UsageError(f"{self.out_of_core}: expected a folder for the factors, with much free space")
