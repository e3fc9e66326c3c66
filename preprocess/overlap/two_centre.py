"""The overlap engine: S, kinetic energy, position and dS/dR of a structure from the orbitals of its elements alone.

<a, i| M |b, j> = 8 sum_L i^(l_a - l_b - L) g_L(d) sum_M <Y_a Y_b Y_LM> Y_LM(d),     d = tau_j + R - tau_i,
with solid harmonics Y_LM and the tabulated g_L(d) of :mod:`preprocess.overlap.radial`: no local frame is needed. The position operator
turns a shell l of the left atom into shells l - 1 and l + 1 with the radial function r R(r), so it is an overlap once more.
(O. F. Sankey and D. J. Niklewski, Phys. Rev. B 40, 3979 (1989), doi:10.1103/PhysRevB.40.3979; T. Ozaki and H. Kino, Phys. Rev. B 69,
195113 (2004), doi:10.1103/PhysRevB.69.195113.)
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import Array, PairBlocks, block_shapes
from deeph.physics.harmonics import gaunt, position_coefficients, solid_gradient, solid_harmonics
from deeph.physics.orbitals import Orbitals
from deeph.physics.pairs import neighbour_pairs, pair_vectors
from deeph.physics.system import FloatArray, IntArray, System
from deeph.physics.units import CODATA
from preprocess.overlap.radial import Table, Transform, bessel_transform, two_centre_tables

Operator = Literal["overlap", "kinetic", "position", "gradient"]
COMPONENTS: dict[Operator, int] = {"overlap": 1, "kinetic": 1, "position": 3, "gradient": 3}
CHUNK = 2048
"""Pairs evaluated at a time: their blocks stay in the cache."""
HBAR2_2M = CODATA.hartree * CODATA.bohr**2 / 2
"""hbar^2 / 2m, eV Angstrom^2."""


class _Left(NamedTuple):
    """What the operator makes of a shell of the left atom: harmonics ``transform.l``, mixed as (components, 2 l_shell + 1, 2 l + 1)."""

    shell: int
    transform: Transform
    mixing: FloatArray


class _Part(NamedTuple):
    """All blocks of shells (a, b) with the same angular factor: tensor (components, 2 l_a + 1, 2 l_b + 1, 2 L + 1)."""

    tensor: FloatArray
    members: list[tuple[int, slice, slice]]
    """Column of the spline, rows and columns of the block."""


class _Term(NamedTuple):
    """All parts of one L, with their spline g_L(d)."""

    L: int
    spline: Any
    parts: list[_Part]


def _values(spline: Any, distance: FloatArray) -> FloatArray:
    """(n_functions, n) values, zero beyond the table, where the orbitals have ended."""
    return np.asarray(np.nan_to_num(np.ascontiguousarray(spline(distance, extrapolate=False).T), copy=False))


class TwoCentre:
    """Two-centre integrals between the orbitals of some elements.

    Parameters
    ----------
    orbitals : mapping of atomic number to Orbitals
        The basis, from whichever code's files.
    """

    def __init__(self, orbitals: Mapping[int, Orbitals]) -> None:
        self.orbitals = dict(orbitals)
        self.k_max = max(o.k_max for o in orbitals.values())
        self.basis = Basis({z: o.ls for z, o in orbitals.items()})
        self._reach = 2 * max(o.cutoff for o in orbitals.values())
        self._k = np.arange(0.0, self.k_max, np.pi / (1.02 * self._reach))
        self._known: dict[str, dict[tuple[int, int], list[_Term]]] = {}

    def pairs(self, system: System) -> IntArray:
        """(n_pairs, 5) all pairs whose orbitals overlap; see :func:`deeph.physics.pairs.neighbour_pairs`."""
        return neighbour_pairs(system, {z: o.radius for z, o in self.orbitals.items()})

    def compute(self, system: System, operator: Operator = "overlap", pairs: IntArray | None = None, *, n_threads: int = 1) -> PairBlocks:
        """One operator between all orbitals of a structure.

        Parameters
        ----------
        system : System
            The atoms.
        operator : {"overlap", "kinetic", "position", "gradient"}
            S; -hbar^2/2m Laplacian in eV; x, y, z in Angstrom relative to the lattice origin; the derivative of S with respect to the
            position of the right atom in 1/Angstrom (that with respect to the left atom is its negative).
        pairs : (n_pairs, 5) int array, optional
            Which blocks; by default all that are not zero.
        n_threads : int
            Number of threads that share the blocks.

        Returns
        -------
        PairBlocks
            One component, or three for position and gradient.

        Raises
        ------
        DataError
            If an element has no orbitals.
        """
        pairs = self.pairs(system) if pairs is None else pairs
        shapes = block_shapes(self.basis, system.numbers, pairs, spin=False)
        out = PairBlocks.zeros(pairs, shapes, COMPONENTS[operator])
        self.fill(system, operator, out, n_threads)
        return out

    def fill(self, system: System, operator: Operator, out: PairBlocks, n_threads: int = 1) -> None:
        """Compute all blocks in place; the memory needed besides is that of one chunk a thread."""
        code = system.numbers[out.pairs[:, 3]] * 1000 + system.numbers[out.pairs[:, 4]]
        chunks: list[tuple[tuple[int, int], IntArray]] = []
        for value in np.unique(code).tolist():
            species, members = divmod(value, 1000), np.flatnonzero(code == value)
            chunks += [(species, members[start : start + CHUNK]) for start in range(0, len(members), CHUNK)]
            for kind in ("overlap", operator):  # the tables are made before threads share them
                if kind != "gradient":
                    self.terms(kind, *species)

        def one(chunk: tuple[tuple[int, int], IntArray]) -> None:
            species, members = chunk
            out.put(members, self._blocks(system, operator, species, out.pairs[members]))

        if n_threads == 1:
            for chunk in chunks:
                one(chunk)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(one, chunks))

    def _blocks(self, system: System, operator: Operator, species: tuple[int, int], pairs: IntArray) -> Array:
        """(components, n, rows, columns) blocks of one species pair."""
        d = np.ascontiguousarray(pair_vectors(system, pairs).T)
        if operator == "gradient":
            blocks = self._gradient(d, species)
        elif operator == "position":  # about the left atom, then about the origin
            S = self._evaluate(d, self.terms("overlap", *species))
            blocks = self._evaluate(d, self.terms("position", *species)) + system.positions[pairs[:, 3]].T[:, None, None] * S
        else:
            blocks = self._evaluate(d, self.terms(operator, *species))
        return np.moveaxis(blocks, -1, 1)

    def _evaluate(self, d: FloatArray, terms: list[_Term]) -> FloatArray:
        """(components, rows, columns, n) sum over L for n vectors d (3, n)."""
        out = self._zeros(terms, d.shape[1])
        Y = solid_harmonics(terms[-1].L, d.T)
        distance = np.linalg.norm(d, axis=0)
        for L, spline, parts in terms:
            g = _values(spline, distance)
            for tensor, members in parts:
                angular = tensor @ Y[L * L : (L + 1) ** 2]
                for column, rows, columns in members:
                    out[:, rows, columns] += g[column] * angular
        return out

    def _gradient(self, d: FloatArray, species: tuple[int, int]) -> FloatArray:
        """(3, rows, columns, n) derivative of the overlap with respect to d."""
        terms = self.terms("overlap", *species)
        out = np.repeat(self._zeros(terms, d.shape[1]), 3, axis=0)
        Y = solid_harmonics(terms[-1].L, d.T)
        distance = np.linalg.norm(d, axis=0)
        direction = d / np.where(distance > 0, distance, 1.0)
        for L, spline, parts in terms:
            g, slope = _values(spline, distance), _values(spline.derivative(), distance)
            for tensor, members in parts:
                angular = tensor[0] @ Y[L * L : (L + 1) ** 2]
                turned = tensor[0] @ (solid_gradient(L) @ Y[(L - 1) ** 2 : L * L])[:, None] if L else np.zeros((3, *angular.shape))
                for column, rows, columns in members:
                    out[:, rows, columns] += direction[:, None, None] * (slope[column] * angular) + g[column] * turned
        return out

    def _zeros(self, terms: list[_Term], n: int) -> FloatArray:
        every = [(part.tensor, *member[1:]) for term in terms for part in term.parts for member in part.members]
        shape = max(rows.stop for _, rows, _ in every), max(columns.stop for _, _, columns in every)
        return np.zeros((len(every[0][0]), *shape, n))

    def terms(self, operator: str, zi: int, zj: int) -> list[_Term]:
        """The tables of one species pair; those of all pairs are made on first use of an operator."""
        if operator not in self._known:
            k, z = self._k, list(self.orbitals)
            weight = HBAR2_2M * k**2 if operator == "kinetic" else np.ones_like(k)
            left, right = {n: self._left(operator, n) for n in z}, {n: self._plain(n) for n in z}
            tables = two_centre_tables({n: [f.transform for f in left[n]] for n in z}, right, weight, k, self._reach)
            self._known[operator] = {
                pair: [self._term(table, pair, left[pair[0]], right[pair[1]]) for table in tables[pair]] for pair in tables
            }
        return self._known[operator][zi, zj]

    def _term(self, table: Table, pair: tuple[int, int], left: list[_Left], right: list[Transform]) -> _Term:
        """Couple the angles of each pair of shells."""
        starts = {z: np.cumsum([0, *(2 * l + 1 for l in self.orbitals[z].ls)]).tolist() for z in pair}
        parts: dict[tuple[int, int, int], _Part] = {}
        for column, (a, b) in enumerate(table.shells):
            shell, transform, mixing = left[a]
            l1, l2 = transform.l, right[b].l
            sign = 8 * (-1) ** ((l1 - l2 - table.L) // 2)
            kind = (self.orbitals[pair[0]].ls[shell], l1, l2)
            part = parts.setdefault(kind, _Part(np.einsum("cam,mbM->cabM", sign * mixing, gaunt(l1, l2, table.L)), []))
            part.members.append((column, slice(*starts[pair[0]][shell : shell + 2]), slice(*starts[pair[1]][b : b + 2])))
        return _Term(table.L, table.spline, list(parts.values()))

    def _plain(self, z: int) -> list[Transform]:
        return [bessel_transform(shell, shell.l, 0, self._k, self.k_max) for shell in self.orbitals[z].shells]

    def _left(self, operator: str, z: int) -> list[_Left]:
        """The shells of the left atom after the operator acted on them."""
        if operator != "position":
            return [_Left(n, t, np.eye(2 * t.l + 1)[None]) for n, t in enumerate(self._plain(z))]
        return [
            _Left(n, bessel_transform(shell, l, 1, self._k, self.k_max), position_coefficients(shell.l, l))
            for n, shell in enumerate(self.orbitals[z].shells)
            for l in (shell.l - 1, shell.l + 1)
            if l >= 0
        ]
