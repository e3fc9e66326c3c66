r"""Orthonormal models of a non-orthogonal H by Loewdin's orbitals, made at each k and brought back to R.

.. math::
    H_L(k) = S^{-1/2} H S^{-1/2}, \qquad A_L(k) = S^{-1/2} r S^{-1/2} + i S^{-1/2} \partial_k S^{1/2}

in the lattice gauge (P.-O. Loewdin, doi:10.1063/1.1747632). The second one follows from :math:`|u^L\rangle = |u\rangle S^{-1/2}` and the
connection :math:`r + i \partial_k S` of the basis; without its last term the model would have other dipoles than H. On the mesh of
k-points the levels are exact; between its points they are Fourier interpolated, which the error of the model tells.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from deeph.physics.bloch import BlochMatrix
from deeph.physics.eigenvalues import solve_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, telling
from postprocess.eigen.selection import DENSE_LARGEST
from postprocess.eigen.work import available_memory
from postprocess.export.layout import Array, OrbitalMap, orbital_map, sound, with_spin
from postprocess.export.positions import position_blocks
from postprocess.lattice.mesh import mesh_divisions
from postprocess.lattice.periodic import periodic_directions

DENSITY = 5.0
"""Points of the default mesh per 1/Angstrom (with 2 pi)."""
COPIES = 3
"""Of the matrices of the mesh that are there at once."""
CHECKED = 24
"""k-points between those of the mesh at which levels are compared."""
SAME_LENGTH = 1e-4
"""Angstrom; images of an atom at the same distance up to this share an element."""
COARSE = 0.05
"""eV; a model whose levels are off by more is not that of the material: it takes more k-points."""
SMALLEST_OVERLAP = 1e-10
"""Eigenvalues of S(k) below leave no orthonormal orbitals."""
NEAR = 3.0
"""eV above the Fermi level up to which the error is told, beside that of all levels."""


@dataclass(frozen=True)
class Loewdin:
    """An orthonormal model in the orbital order of another program.

    Attributes
    ----------
    system : System
        The atoms.
    orbitals : OrbitalMap
        The atom of each orbital, and where ours stand.
    mesh : (int, int, int)
        k-points.
    R : (n_R, 3) int array
        Cells; with each R there is -R.
    H : (n_spin, n_R, n, n) complex array
        <i, 0 | H | j, R>, eV.
    r : (3, n_R, n, n) complex array or None
        <i, 0 | r | j, R>, Angstrom, from the lattice origin.
    r_origin : str
        Where r comes from, in words.
    error, error_low : float
        Largest difference of the levels at :data:`CHECKED` k-points between those of the mesh, eV: of all, and of those up to
        :data:`NEAR` above the Fermi level (NaN if that is not known).
    """

    system: System
    orbitals: OrbitalMap
    mesh: Divisions
    R: IntArray
    H: Array
    r: Array | None
    r_origin: str
    error: float
    error_low: float

    def describe(self) -> str:
        """Mesh, cells and errors in one line."""
        n = " x ".join(map(str, self.mesh))
        low = "" if np.isnan(self.error_low) else f", {self.error_low:.1e} eV of those up to {NEAR:g} eV above the Fermi level"
        return f"Loewdin orbitals on {n} k-points, {len(self.R)} R; truncation error of the levels up to {self.error:.1e} eV{low}"

    def bloch(self, k: FloatArray, spin: int = 0) -> Array:
        """(n, n) H(k) of the model in the lattice gauge."""
        return np.asarray(np.tensordot(np.exp(2j * np.pi * (self.R @ np.asarray(k, float))), self.H[spin], 1))


def loewdin(h: Hamiltonian, target: str, *, mesh: Divisions | None = None, positions: bool = False) -> Loewdin:
    """The orthonormal model of an H.

    Parameters
    ----------
    h : Hamiltonian
        With H.
    target : str
        Whose orbital order is wanted, see :data:`deeph.physics.conventions.TARGETS`.
    mesh : (int, int, int), optional
        k-points; by default :data:`DENSITY` for each 1/Angstrom.
    positions : bool
        Whether the position matrix is wanted, too.

    Raises
    ------
    DataError
        If S(k) has no inverse square root.
    UsageError
        If the mesh is none, or the cell too large for dense matrices.
    """
    h = sound(h)
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(
            f"{h.n_orbitals} orbitals are too many for orthonormal orbitals, which take dense matrices (up to {DENSE_LARGEST}). "
            "Formats that keep the overlap take any cell: sisl, wanniertools, petsc, deeptb, hoptb"
        )
    divisions = mesh_divisions(h, DENSITY) if mesh is None else mesh
    if len(divisions) != 3 or min(divisions) < 1:
        raise UsageError(f"mesh {divisions}: expected three positive numbers of k-points")
    _check_memory(h, divisions, positions=positions)
    H, A, origin = _on_mesh(h, divisions, positions=positions)
    orbitals = orbital_map(h, target)
    R, (H, *rest) = _to_cells(h.system, divisions, orbitals.atom[orbitals.place], [H] if A is None else [H, A])
    raw = Loewdin(h.system, orbitals, divisions, R, H, rest[0] if rest else None, origin, 0.0, 0.0)
    error, low = _error(h, raw)
    r = None if raw.r is None else orbitals.arranged(raw.r)
    model = replace(raw, H=orbitals.arranged(H), r=r, error=error, error_low=low)
    logger.info("%s%s", model.describe(), f"; {origin}" if positions else "")
    if (worst := model.error if np.isnan(low) else low) > COARSE:
        finer = " ".join(str(2 * n if along else 1) for n, along in zip(divisions, periodic_directions(h), strict=True))
        where = "" if np.isnan(low) else f", of those up to {NEAR:g} eV above the Fermi level"
        logger.warning(
            "between the k-points of the mesh the levels of this model are off by up to %.2g eV%s: bands drawn with it are wrong by so "
            "much. Orthonormal orbitals reach farther than H; make them on more k-points, such as --mesh %s (in Python mesh=), or take a "
            "format that keeps the overlap: sisl, wanniertools, hoptb, deeptb", worst, where, finer,
        )  # fmt: skip
    return model


def _check_memory(h: Hamiltonian, divisions: Divisions, *, positions: bool) -> None:
    """Refuse a mesh whose matrices do not fit: at each k, at each R, and in between."""
    need = COPIES * 16.0 * (h.basis.n_spin + 3 * positions) * float(np.prod(divisions, dtype=float)) * h.n_orbitals**2
    if need > available_memory():
        raise UsageError(
            f"dense matrices of {h.n_orbitals} orbitals on {' x '.join(map(str, divisions))} k-points take {need / 2**30:.1f} GiB, and "
            f"{available_memory() / 2**30:.1f} GiB are free: choose fewer k-points (mesh), or a format that keeps the overlap"
        )


def _on_mesh(h: Hamiltonian, divisions: Divisions, *, positions: bool) -> tuple[Array, Array | None, str]:
    """(n_spin, n1, n2, n3, n, n) H_L and (3, n1, n2, n3, n, n) A_L at the points of the mesh, and where r comes from."""
    n, n_spin = h.n_orbitals, h.basis.n_spin
    H = np.empty((n_spin, *divisions, n, n), np.complex128)
    A = np.empty((3, *divisions, n, n), np.complex128) if positions else None
    r, origin = position_blocks(h) if positions else (None, "")
    r_bloch = None if r is None else BlochMatrix(h.system, with_spin(h, r), h.S_bloch.pattern)
    with telling("orthonormal orbitals", int(np.prod(divisions)), "k-points") as progress:
        for at in product(*map(range, divisions)):
            k = np.array(at) / divisions
            s, U = _spectrum(h, k)
            inverse = (U / np.sqrt(s)) @ U.conj().T
            for spin in range(n_spin):
                H[(spin, *at)] = inverse @ h.H_bloch.dense(k, component=spin) @ inverse
            if A is not None and r_bloch is not None:
                root = np.sqrt(s)
                for a in range(3):
                    dS = U.conj().T @ h.S_bloch.derivative(k, [a]).toarray() @ U
                    d_root = U @ (dS / (root[:, None] + root)) @ U.conj().T
                    made = inverse @ r_bloch.dense(k, component=a) @ inverse + 1j * inverse @ d_root
                    A[(a, *at)] = (made + made.conj().T) / 2  # rounding and grid noise of r; the formula gives a Hermitian one
            progress.advance()
    return H, A, origin


def _spectrum(h: Hamiltonian, k: FloatArray) -> tuple[FloatArray, Array]:
    """Eigenvalues and vectors of S(k)."""
    s, U = np.linalg.eigh(h.S_bloch.dense(k))
    if not s[0] > SMALLEST_OVERLAP:
        raise DataError(
            f"the overlap S(k) has the eigenvalue {s[0]:.1e} at k = {np.round(k, 6).tolist()}: there are no orthonormal orbitals. Overlap "
            "blocks are missing or wrong, or orbitals depend on each other"
        )
    return s, U


def _to_cells(system: System, divisions: Divisions, atom: IntArray, parts: list[Array]) -> tuple[IntArray, list[Array]]:
    """From the mesh to R: each element goes to the image of its atom j that is nearest to its atom i, to several alike in equal parts.

    So the range of the model is the largest that the mesh allows, and the symmetry of the crystal stays.
    """
    N = np.array(divisions)
    cells = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), -1).reshape(-1, 3)
    steps = np.array(list(product(*[(-2, -1, 0, 1, 2) if n > 1 or p else (0,) for n, p in zip(divisions, system.pbc, strict=True)])))
    i, j = (x.ravel() for x in np.meshgrid(np.arange(system.n_atoms), np.arange(system.n_atoms), indexing="ij"))
    vector = system.positions[j] - system.positions[i]
    home = -np.rint(np.linalg.solve(system.cell.T, vector.T).T).astype(int)  # atoms may lie in other cells than the first
    found: dict[tuple[int, int, int], list[tuple[int, int, int, float]]] = {}
    for n, R in enumerate(cells):
        for a, b, v, own in zip(i.tolist(), j.tolist(), vector, home, strict=True):
            images = R - N * np.rint((R - own) / N).astype(int) + steps * N
            length = np.linalg.norm(v + images @ system.cell, axis=1)
            nearest = images[length < length.min() + SAME_LENGTH]
            for T in nearest.tolist():
                found.setdefault((T[0], T[1], T[2]), []).append((n, a, b, 1 / len(nearest)))
    keys = sorted(found)
    rows = [np.flatnonzero(atom == a) for a in range(system.n_atoms)]
    out = []
    for part in parts:
        components, size = part.shape[0], part.shape[-1]
        inverse = np.fft.fftn(part, axes=(1, 2, 3)).reshape(components, -1, size, size) / len(cells)
        made = np.zeros((components, len(keys), size, size), np.complex128)
        for q, key in enumerate(keys):
            for n, a, b, weight in found[key]:
                block = np.ix_(np.arange(components), rows[a], rows[b])
                made[:, q][block] += weight * inverse[:, n][block]
        out.append(made)
    return np.array(keys), out


def _error(h: Hamiltonian, model: Loewdin) -> tuple[float, float]:
    """Largest differences of levels between the points of the mesh: of all, and of those below and just above the Fermi level.

    Also along directions in which H disperses and the mesh has a single point.
    """
    rng = np.random.default_rng(0)
    N = np.array(model.mesh)
    periodic = (N > 1) | np.array(periodic_directions(h))
    corner = rng.integers(0, N, (CHECKED, 3))
    between = np.where(rng.random((CHECKED, 3)) < 0.5, 0.5, rng.random((CHECKED, 3)))
    k_points = np.where(periodic, (corner + between) / N, 0.0)
    k_points[0] = np.where(periodic, 0.5 / N, 0.0)
    limit = np.inf if h.fermi_energy is None else h.fermi_energy + NEAR
    most, low = 0.0, 0.0
    for k in k_points:
        for spin in range(h.basis.n_spin):
            exact = solve_at_k(h.H_bloch.dense(k, component=spin), h.S_bloch.dense(k), k)
            difference = np.abs(np.linalg.eigvalsh(model.bloch(k, spin)) - exact)
            most, low = max(most, float(difference.max())), max(low, float(difference[exact < limit].max(initial=0.0)))
    return most, float("nan") if h.fermi_energy is None else low
