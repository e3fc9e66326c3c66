"""Regular meshes of k-points, reduced by symmetries, and their division into simplices."""

from dataclasses import dataclass
from itertools import permutations, product
from math import lcm
from typing import Literal

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.lattice.point_group import lattice_symmetries
from postprocess.lattice.special_points import special_points

Divisions = tuple[int, int, int]
Symmetry = Literal["all", "reversal", "none"]
IDENTITY = np.eye(3, dtype=int)
DENSITY = 10.0
"""Points of the default mesh per 1/Angstrom (with 2 pi)."""


@dataclass(frozen=True)
class KMesh:
    """A mesh k = (n + shift) / divisions and its points that symmetry does not relate.

    Attributes
    ----------
    divisions : tuple of 3 int
        Points along the reciprocal vectors.
    shift : tuple of 3 float
        In units of a step.
    points : (n_k, 3) array
        Fractional; one of each star.
    weights : (n_k,) array
        Fraction of the mesh that each stands for.
    index : (n1, n2, n3) int array
        Which of ``points`` has the levels of each mesh point.
    """

    divisions: Divisions
    shift: tuple[float, float, float]
    points: FloatArray
    weights: FloatArray
    index: IntArray

    @property
    def dimension(self) -> int:
        """Number of directions with more than one point."""
        return sum(n > 1 for n in self.divisions)


def mesh_divisions(hamiltonian: Hamiltonian, density: float | None = None) -> Divisions:
    """Divisions for so many points per 1/Angstrom (with 2 pi); one along directions that are not periodic.

    By default :data:`DENSITY`, and more if that puts the special points of the lattice on the mesh, where band edges often lie: multiples
    of 6 in a hexagonal plane (K has thirds, M halves), even numbers elsewhere.

    Raises
    ------
    UsageError
        If the density is not a positive number.
    """
    if density is None:
        special = np.array([k for lattice in special_points(hamiltonian) for k in lattice.points.values()])
        special = (lattice_symmetries(in_plane_reciprocal(hamiltonian)) @ special.T).swapaxes(1, 2).reshape(-1, 3)  # every M, not one
        steps = [lcm(*(d for d in (2, 3) if _holds(special[:, axis], d))) for axis in range(3)]
        n = (-(-n // step) * step if n > 1 else 1 for n, step in zip(mesh_divisions(hamiltonian, DENSITY), steps, strict=True))
        a, b, c = n
        return a, b, c
    if not 0 < density < 1e4:
        raise UsageError(f"k-density {density:g}: expected a positive number of points per 1/Angstrom, such as {DENSITY:g}")
    lengths = np.linalg.norm(in_plane_reciprocal(hamiltonian), axis=1)
    a, b, c = np.where(periodic_directions(hamiltonian), np.maximum(1, np.ceil(lengths * density - 1e-6)), 1).astype(int).tolist()
    return a, b, c


def check_divisions(structure: Hamiltonian, divisions: Divisions) -> None:
    """UsageError unless they are three positive numbers, one where the structure is not periodic: more cost time alone."""
    text = " ".join(map(str, divisions))
    if len(divisions) != 3 or min(divisions) < 1:
        raise UsageError(f"k mesh {text}: expected three positive numbers, such as 60 60 1 for a layer")
    periodic = periodic_directions(structure)
    if across := [str(axis + 1) for axis in range(3) if divisions[axis] > 1 and not periodic[axis]]:
        fitting = " ".join(str(n if along else 1) for n, along in zip(divisions, periodic, strict=True))
        raise UsageError(
            f"k mesh {text}: {structure.system.formula} is not periodic along lattice vector {' and '.join(across)}; expected {fitting}"
        )


def _holds(coordinates: FloatArray, denominator: int) -> bool:
    """Whether one of some fractional coordinates is a multiple of 1/denominator, but no whole number."""
    parts = coordinates * denominator
    return bool(((np.abs(parts - parts.round()) < 1e-6) & (np.abs(coordinates - coordinates.round()) > 1e-6)).any())


def reduced_mesh(divisions: Divisions, shift: tuple[float, float, float], operations: IntArray) -> KMesh:
    """The mesh with one point of each orbit under operations k -> W k; those that do not map the mesh to itself are left out.

    Parameters
    ----------
    divisions, shift
        See :class:`KMesh`.
    operations : (n, 3, 3) int array
        On fractional k.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = np.array(divisions)
    whole = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), -1).reshape(-1, 3)
    k = (whole + np.array(shift)) / n
    everyone, images = np.arange(len(k)), [np.arange(len(k))]
    for W in operations:
        place = (k @ W.T) * n - shift
        if np.abs(place - np.rint(place)).max() < 1e-6:
            images.append(np.ravel_multi_index(tuple((np.rint(place).astype(int) % n).T), divisions))
    row, column = np.tile(everyone, len(images)), np.concatenate(images)
    _, label = connected_components(coo_array((np.ones(len(row), bool), (row, column)), shape=(len(k), len(k))), directed=False)
    _, first, index, count = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    return KMesh(divisions, shift, k[first], count / len(k), index.reshape(divisions))


def simplices(mesh: KMesh, reciprocal: FloatArray) -> tuple[IntArray, FloatArray]:
    """Tetrahedra, triangles or intervals that fill the mesh, cut along the shortest diagonal of its cells.

    Parameters
    ----------
    mesh : KMesh
        Of dimension d.
    reciprocal : (3, 3) array
        Reciprocal vectors in rows.

    Returns
    -------
    (n, d + 1) int array
        Corners as places in ``mesh.points``, sorted; equal ones are merged.
    (n,) array
        Fraction of the zone that each stands for.
    """
    axes = [a for a in range(3) if mesh.divisions[a] > 1]
    steps = [reciprocal[a] / mesh.divisions[a] for a in axes]
    signs = min(product((1, -1), repeat=len(axes)), key=lambda s: float(np.linalg.norm(np.array(s) @ np.array(steps))) if s else 0.0)
    corners = []
    for order in permutations(range(len(axes))):
        offset, path = np.zeros(3, int), [mesh.index.ravel()]
        for step in order:
            offset[axes[step]] = signs[step]
            path.append(np.roll(mesh.index, tuple(-offset), axis=(0, 1, 2)).ravel())
        corners.append(np.stack(path, axis=-1))
    found, counts = np.unique(np.sort(np.concatenate(corners), axis=1), axis=0, return_counts=True)
    return found, counts / counts.sum()
