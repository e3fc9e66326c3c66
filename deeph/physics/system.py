"""The atoms: cell, positions, elements."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SYMBOLS: tuple[str, ...] = (
    *("X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb".split()),  # noqa: SIM905
    *("Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg".split()),  # noqa: SIM905
    *("Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split()),  # noqa: SIM905
)
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
ELECTRONEGATIVE: tuple[str, ...] = (
    *("F Cl Br I At Ts O S Se Te Po Lv H N P As Sb Bi Mc C Si Ge Sn Pb Fl B Al Ga In Tl Nh Zn Cd Hg Cn Cu Ag Au Rg Ni Pd Pt Ds".split()),  # noqa: SIM905
    *("Co Rh Ir Mt Fe Ru Os Hs Mn Tc Re Bh Cr Mo W Sg V Nb Ta Db Ti Zr Hf Rf Sc Y Lu Yb Tm Er Ho Dy Tb Gd Eu Sm Pm Nd Pr Ce La".split()),  # noqa: SIM905
    *("Lr No Md Fm Es Cf Bk Cm Am Pu Np U Pa Th Ac Be Mg Ca Sr Ba Ra Li Na K Rb Cs Fr He Ne Ar Kr Xe Rn Og".split()),  # noqa: SIM905
)
"""The elements from the most electronegative to the most electropositive, group by group, as IUPAC orders them for formulas."""


@dataclass(frozen=True)
class System:
    """A periodic arrangement of atoms.

    Attributes
    ----------
    cell : (3, 3) array
        Lattice vectors in rows, Angstrom.
    positions : (n_atoms, 3) array
        Cartesian positions, Angstrom. They are kept as given, also outside the cell: the R of a block refers to them.
    numbers : (n_atoms,) int array
        Atomic numbers.
    pbc : tuple of 3 bool
        Along which lattice vectors the system repeats.

    Raises
    ------
    DataError
        If the shapes disagree, a number is not finite, the cell is singular, or an element is unknown.
    """

    cell: FloatArray
    positions: FloatArray
    numbers: IntArray
    pbc: tuple[bool, bool, bool] = field(default=(True, True, True))

    def __post_init__(self) -> None:
        for name, dtype in (("cell", np.float64), ("positions", np.float64), ("numbers", np.int64)):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=dtype))
        if self.cell.shape != (3, 3) or self.positions.shape != (len(self.numbers), 3):
            raise DataError(
                f"structure with cell {self.cell.shape}, positions {self.positions.shape} and {len(self.numbers)} elements: "
                "expected (3, 3), (N, 3) and N"
            )
        if not (np.isfinite(self.cell).all() and np.isfinite(self.positions).all()):
            raise DataError("the cell or the positions hold NaN or infinite numbers")
        if abs(np.linalg.det(self.cell)) < 1e-6:
            raise DataError(f"the lattice vectors {self.cell.tolist()} span no volume")
        if len(self.numbers) and not (self.numbers.min() >= 1 and self.numbers.max() < len(SYMBOLS)):
            raise DataError(f"atomic numbers from {self.numbers.min()} to {self.numbers.max()}: expected 1 to {len(SYMBOLS) - 1}")

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.numbers)

    def __str__(self) -> str:
        """Such as ``MoS2, 3 atoms``."""
        return f"{self.formula}, {self.n_atoms} atom{'' if self.n_atoms == 1 else 's'}"

    def __repr__(self) -> str:
        return f"System {self}"

    @property
    def symbols(self) -> list[str]:
        """Chemical symbol of each atom."""
        return [SYMBOLS[z] for z in self.numbers]

    @property
    def formula(self) -> str:
        """Composition in the usual order, the most electropositive element first, e.g. ``"MoS2"``, ``"H2O"``."""
        counts = Counter(self.symbols)
        return "".join(f"{s}{counts[s] if counts[s] > 1 else ''}" for s in sorted(counts, key=ELECTRONEGATIVE.index, reverse=True))

    @cached_property
    def fractional(self) -> FloatArray:
        """(n_atoms, 3) positions in units of the lattice vectors, not wrapped."""
        return np.asarray(np.linalg.solve(self.cell.T, self.positions.T).T)

    @cached_property
    def reciprocal(self) -> FloatArray:
        """(3, 3) reciprocal vectors in rows with 2 pi, 1/Angstrom."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell).T)

    def permuted(self, order: IntArray) -> "System":
        """The same atoms in another order (``new[a] = old[order[a]]``)."""
        return System(self.cell, self.positions[order], self.numbers[order], self.pbc)

    def to_ase(self) -> Any:
        """The structure as ``ase.Atoms``."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)

    @classmethod
    def from_ase(cls, atoms: Any) -> "System":
        """Build from ``ase.Atoms``; a missing cell vector is an error, because blocks are labelled by lattice vectors."""
        pbc = tuple(bool(p) for p in atoms.pbc)
        return cls(np.array(atoms.cell), atoms.get_positions(), atoms.get_atomic_numbers(), (pbc[0], pbc[1], pbc[2]))


def read_structure(path: str | Path) -> System:
    """Read POSCAR, cif, xyz and whatever else ASE knows.

    Raises
    ------
    DataError
        If the file is missing or cannot be understood.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no structure file at {path}")
    from ase.io import read

    form = "vasp" if path.suffix == ".vasp" or path.name.startswith("POSCAR") else None
    try:  # under mpirun ASE gives every process what the first one reads, unless it is told not to
        atoms = read(path, format=form, parallel=False, do_not_split_by_at_sign=True)
    except Exception as error:
        raise DataError(f"{path} could not be read as a structure: {error}") from error
    return System.from_ase(atoms)
