"""Bands of a supercell unfolded onto a primitive cell: spectral weights in a non-orthogonal basis.

C.-C. Lee, Y. Yamada-Takamura, T. Ozaki, J. Phys.: Condens. Matter 25, 345501 (2013), doi:10.1088/0953-8984/25/34/345501. Each orbital
of the supercell is the orbital m of a primitive cell at the lattice vector T of the primitive lattice. With the projector on Bloch
character k, (P_k C)_mT = 1/N sum_T' exp(2 pi i k.(T - T')) C_mT', the weight of a state is W = Re C^dagger S P_k C. In a perfect
supercell S and H commute with P_k and W is 0 or 1 (an integer for each degenerate level); the weights of all states add up to the
number of orbitals of the primitive cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError
from postprocess.lattice.kpath import KPath
from postprocess.lattice.periodic import periodic_directions, straightened
from postprocess.states.projectors import Weights
from postprocess.states.states import States, atom_of_orbital

UNFOLDED = "unfolded"
"""Label of the weights."""
TOLERANCE = 0.6
"""Angstrom an atom may be away from its place in the primitive lattice."""


@dataclass(frozen=True)
class Unfolding:
    """Which atom of a primitive cell, in which primitive cell, each atom of a supercell is; a projector for fat bands.

    Attributes
    ----------
    matrix : (3, 3) int array
        Supercell vectors = matrix @ primitive vectors.
    site : (n_atoms,) int array
        Atom of the primitive cell; -1 for atoms that are left out (the other layer).
    cell : (n_atoms, 3) int array
        Its primitive cell, in primitive vectors.
    name : str
        Label of the weights.
    """

    matrix: IntArray
    site: IntArray
    cell: IntArray
    name: str = UNFOLDED

    @property
    def n_cells(self) -> int:
        """Primitive cells in the supercell."""
        return round(abs(float(np.linalg.det(self.matrix))))

    def folded(self, k: FloatArray) -> FloatArray:
        """K-points of the primitive cell as fractional k of the supercell, outside its zone in general: they tell primitive k apart."""
        return np.asarray(k) @ self.matrix.T

    def __call__(self, states: States) -> Weights:
        """The spectral weight of each state at the primitive k that ``states.k`` is."""
        k = np.linalg.solve(self.matrix.astype(float), states.k)
        order = self._orbitals(states.hamiltonian)  # (n_cells, orbitals of the primitive cell)
        phase = np.exp(2j * np.pi * (self.cell[atom_of_orbital(states.hamiltonian)[order]] @ k))
        amplitude = (phase.conj()[..., None] * states.C[order]).sum(axis=0) / self.n_cells
        dual = (phase.conj()[..., None] * states.SC[order]).sum(axis=0)
        return {self.name: np.asarray((dual.conj() * amplitude).sum(axis=0).real)}

    def _orbitals(self, hamiltonian: Hamiltonian) -> IntArray:
        """Rows of C, for each primitive cell all orbitals of its atoms in the order of the sites."""
        atom = atom_of_orbital(hamiltonian)
        orbital = np.arange(len(atom)) - np.searchsorted(atom, atom)  # within its atom
        number = np.unique(_inside(self.cell, self.matrix), axis=0, return_inverse=True)[1]
        known = np.flatnonzero(self.site[atom] >= 0)
        keys = (number.ravel()[atom[known]], self.site[atom[known]], orbital[known])
        order = known[np.lexsort(keys[::-1])]
        used = len(np.unique(number.ravel()[self.site >= 0]))
        return order.reshape(used, -1)


def make_unfolding(
    system: System, primitive: FloatArray, *, atoms: Sequence[int] | None = None, name: str = UNFOLDED, tolerance: float = TOLERANCE
) -> Unfolding:
    """Find the primitive atom and cell of each atom.

    Parameters
    ----------
    system : System
        The supercell.
    primitive : (3, 3) array
        Primitive lattice vectors in rows, Angstrom, or the integer matrix M with supercell = M @ primitive.
    atoms : sequence of int, optional
        Only these (a layer); by default all.
    name : str
        Label of the weights.
    tolerance : float
        How far an atom may be from its place, Angstrom; displacements up to half of it are safe.

    Raises
    ------
    UsageError
        If the supercell is no supercell of that lattice, or no atoms are given.
    DataError
        If the atoms do not fill the primitive cells evenly.
    """
    lattice = np.asarray(primitive, float)
    chosen = np.arange(system.n_atoms) if atoms is None else np.asarray(atoms, int)
    if not len(chosen):
        raise UsageError("no atoms to unfold")
    matrix = _integer_matrix(system, lattice)
    if matrix is None:
        raise UsageError(_why_no_supercell(system, lattice, chosen, tolerance))
    vectors = np.linalg.solve(matrix.astype(float), system.cell)
    fractional = np.linalg.solve(vectors.T, system.positions.T).T
    site, cell = np.full(system.n_atoms, -1), np.zeros((system.n_atoms, 3), np.int64)
    seeds: list[int] = []
    for a in chosen:
        for n, seed in enumerate(seeds):
            step = fractional[a] - fractional[seed]
            if system.numbers[a] == system.numbers[seed] and np.linalg.norm((step - np.rint(step)) @ vectors) < tolerance:
                site[a], cell[a] = n, np.rint(step).astype(np.int64)
                break
        else:
            site[a] = len(seeds)
            seeds.append(int(a))
    out = Unfolding(matrix, site, cell, name)
    counts = np.bincount(site[chosen])
    places = np.unique(np.column_stack([site[chosen], _inside(cell[chosen], matrix)]), axis=0)
    if (counts != out.n_cells).any() or len(places) != len(chosen):
        raise DataError(
            f"{len(chosen)} atoms do not fill {out.n_cells} primitive cells evenly: {len(counts)} sites with {counts.min()} to "
            f"{counts.max()} atoms each, expected {out.n_cells} (atoms up to {tolerance:g} Angstrom from their places are recognized)"
        )
    return out


def _integer_matrix(system: System, lattice: FloatArray) -> IntArray | None:
    """M with supercell = M @ primitive, from M itself or from the primitive vectors; None if there is none."""
    if lattice.shape != (3, 3) or abs(np.linalg.det(lattice)) < 1e-6:
        raise UsageError("the primitive lattice needs three independent vectors")
    whole = np.rint(lattice)
    if np.abs(lattice - whole).max() < 1e-9:
        return whole.astype(np.int64)
    matrix = system.cell @ np.linalg.inv(lattice)
    whole = np.rint(matrix)
    if np.abs(matrix - whole).max() > 0.02 or abs(np.linalg.det(whole)) < 0.5:
        return None
    return whole.astype(np.int64)


def _why_no_supercell(system: System, lattice: FloatArray, atoms: IntArray, tolerance: float) -> str:
    """What does not fit, and M if it would fit after a turn of the primitive cell."""
    reads = np.round(system.cell @ np.linalg.inv(lattice), 3).tolist()
    seen = f"the cell is no supercell of the primitive lattice: in its vectors it reads {reads}, expected integers. "
    fitting: dict[tuple[int, ...], int] = {}
    for matrix in _turned(system, lattice):
        try:
            found = make_unfolding(system, matrix.astype(float), atoms=atoms.tolist(), tolerance=tolerance)
        except DataError:
            continue
        fitting[tuple(matrix.ravel().tolist())] = int(found.site.max())
    if fitting:
        best = min(fitting, key=lambda m: (fitting[m], sum(np.abs(m)), sum(np.array(m) < 0), m))
        return (
            f"{seen}Its orientation or its vacuum is another one; instead of it, give the matrix M (supercell = M primitive): "
            f"--unfold={','.join(map(str, best))}"
        )
    return (
        f"{seen}Both cells must have the same orientation, strain and vacuum, and no turn of the primitive cell fits the atoms "
        "(of a twisted bilayer, unfold one layer: --unfold-atoms); or give M (supercell = M primitive) as 9 integers"
    )


def _turned(system: System, lattice: FloatArray) -> list[IntArray]:
    """Every M for which M @ primitive has the lengths and angles of the cell (the vacuum aside): only a rotation is left between them."""
    periodic = periodic_directions(system)
    cell, lattice = straightened(system.cell, periodic), straightened(lattice, periodic)
    lengths = np.linalg.norm(cell, axis=1)
    lattice = lattice * np.where(periodic, 1.0, lengths / np.linalg.norm(lattice, axis=1))[:, None]
    reach = np.floor(1.02 * lengths.max() * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1).reshape(-1, 3)
    size = np.linalg.norm(steps @ lattice, axis=1)
    candidates = [steps[np.abs(size - length) < 0.02 * length] for length in lengths]
    metric, scale = cell @ cell.T, np.outer(lengths, lengths)
    hand = np.sign(np.linalg.det(cell) * np.linalg.det(lattice))
    matrices = [np.array(rows) for rows in product(*candidates)]
    turned = [(m, m @ lattice) for m in matrices if np.linalg.det(m) * hand > 0.5]
    return [m for m, vectors in turned if (np.abs(vectors @ vectors.T - metric) < 0.02 * scale).all()]


def _inside(cells: IntArray, matrix: IntArray) -> IntArray:
    """The same primitive cells within one supercell."""
    determinant = round(float(np.linalg.det(matrix)))
    adjugate = np.rint(np.linalg.inv(matrix) * determinant).astype(np.int64)
    return np.asarray(cells - (cells @ adjugate // determinant) @ matrix)


def primitive_system(system: System, unfolding: Unfolding) -> System:
    """One primitive cell, with the mean positions of its atoms."""
    vectors = np.linalg.solve(unfolding.matrix.astype(float), system.cell)
    home = system.positions - unfolding.cell @ vectors
    sites = range(int(unfolding.site.max()) + 1)
    positions = np.array([home[unfolding.site == n].mean(axis=0) for n in sites])
    numbers = np.array([system.numbers[np.argmax(unfolding.site == n)] for n in sites])
    return System(vectors, positions, numbers, system.pbc)


def primitive_path(path: KPath, matrix: IntArray) -> KPath:
    """A folded path with the fractional k of the primitive cell again, for what the user reads (supercell = matrix @ primitive)."""
    return replace(path, k=np.linalg.solve(matrix.astype(float), path.k.T).T, reciprocal=None)


def folded_path(path: KPath, unfolding: Unfolding, system: System) -> KPath:
    """A path of the primitive cell in the fractional k of the supercell, where the bands are computed."""
    return KPath(unfolding.folded(path.k), path.distances, path.ticks, path.labels, path.bounds, system.reciprocal)
