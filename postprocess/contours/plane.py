"""A plane of k: that of a layer, or one through a crystal, with its part of the Brillouin zone."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from deeph.physics.cut import plane_vectors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.lattice.special_points import special_points

Miller = tuple[int, int, int]
NEIGHBOURS = 3
"""Reciprocal lattice vectors up to so many times the basis vectors bound the zone, also of skewed cells."""
ON = 1e-6
"""1/Angstrom; what is so near to the plane, or to the edge of the zone, lies on it."""
AXES = "xyz"


@dataclass(frozen=True)
class KPlane:
    """k = origin + x u + y v with 0 <= x, y < 1 is one period.

    Attributes
    ----------
    origin : (3,) array
        Fractional; the point of the plane next to Gamma.
    vectors : (2, 3) int array
        u and v, fractional: reciprocal lattice vectors that enclose at least 90 degrees, counterclockwise on the axes.
    reciprocal : (3, 3) array
        Reciprocal vectors in rows with 2 pi, 1/Angstrom.
    axes : (2, 3) array
        Cartesian unit vectors of the figure.
    names : tuple of str
        Of these axes.
    text : str
        Which plane it is, in words.
    zone : (n, 2) array
        Corners of the section of the Brillouin zone, counterclockwise, 1/Angstrom on the axes; none where the plane misses it.
    points : dict of str to (2,) array
        Special points in this section, 1/Angstrom on the axes.
    is_layer : bool
        Whether it is all there is of k.
    """

    origin: FloatArray
    vectors: IntArray
    reciprocal: FloatArray
    axes: FloatArray
    names: tuple[str, str]
    text: str
    zone: FloatArray
    points: dict[str, FloatArray]
    is_layer: bool

    @property
    def normal(self) -> FloatArray:
        """(3,) unit vector, right-handed with the axes."""
        return np.asarray(np.cross(*self.axes))

    @property
    def basis(self) -> FloatArray:
        """(2, 2) u and v on the axes, 1/Angstrom."""
        return np.asarray(self.vectors @ self.reciprocal @ self.axes.T)

    @property
    def area(self) -> float:
        """Of a period, 1/Angstrom^2."""
        return float(abs(np.linalg.det(self.basis)))

    def fractional(self, xy: FloatArray) -> FloatArray:
        """(..., 3) fractional k at places (..., 2) in units of u and v."""
        return np.asarray(self.origin + xy @ self.vectors)

    def cartesian(self, xy: FloatArray) -> FloatArray:
        """(..., 2) 1/Angstrom on the axes, from the origin, of places in units of u and v."""
        return np.asarray(xy @ self.basis)


def make_plane(hamiltonian: Hamiltonian, miller: Miller | None = None, offset: float = 0.0) -> KPlane:
    """The plane of k of a layer, or the plane h k1 + k k2 + l k3 = offset of a crystal: normal to the lattice vector h a1 + k a2 + l a3.

    Raises
    ------
    UsageError
        If a layer is given another plane, or the numbers are all zero.
    DataError
        If a crystal is given none, or the structure is periodic along less than two directions.
    """
    periodic = np.array(periodic_directions(hamiltonian))
    reciprocal = in_plane_reciprocal(hamiltonian)
    if periodic.sum() < 2:
        kind = "molecule" if not periodic.any() else "chain"
        raise DataError(f"{hamiltonian.system} is a {kind}: contours of constant energy are lines in a plane of k, which it has not")
    if periodic.sum() == 2:
        axis = int(np.flatnonzero(~periodic)[0])
        if miller is not None and (np.flatnonzero(miller).tolist() != [axis] or offset):
            raise UsageError(f"{hamiltonian.system} is a layer, periodic in two directions: it has one plane of k; leave out the plane")
        normal: FloatArray = np.cross(*hamiltonian.system.cell[periodic])
        normal = normal * np.sign(normal[np.argmax(np.abs(normal))])  # to the side where layer_normal points
        return _plane(hamiltonian, np.eye(3, dtype=np.int64)[periodic], np.zeros(3), normal, "of the layer", layer=True)
    if miller is None:
        raise DataError(
            f"{hamiltonian.system} is periodic in three directions, where E(k) = E is a surface: choose a plane through it, such as 3=0 "
            "(k3 = 0) or 1,1,-1=0 (k1 + k2 - k3 = 0)"
        )
    rows, to_next = plane_vectors(miller, reciprocal)
    h = np.array(miller) // np.gcd.reduce(np.array(miller))
    R = h @ hamiltonian.system.cell
    origin = offset * hamiltonian.system.cell @ R / (R @ R)
    terms = " ".join(f"{'-' if n < 0 else '+'} {'' if abs(n) == 1 else abs(n)}k{a + 1}" for a, n in enumerate(h.tolist()) if n)
    text = f"{terms.removeprefix('+ ')} = {offset:g}"
    return _plane(hamiltonian, np.delete(rows, to_next, axis=0), origin, R, text)


def _plane(
    hamiltonian: Hamiltonian, vectors: IntArray, origin: FloatArray, normal: FloatArray, text: str, *, layer: bool = False
) -> KPlane:
    reciprocal = in_plane_reciprocal(hamiltonian)
    u, v = vectors @ reciprocal
    if u @ v > ON:
        vectors = vectors * np.array([[1], [-1]])
    axes, names = _axes(u, normal)
    if np.linalg.det(vectors @ reciprocal @ axes.T) < 0:
        vectors = vectors[::-1]
    zone = _zone(reciprocal, origin @ reciprocal, axes, vectors if layer else np.eye(3, dtype=np.int64))
    points = _points(hamiltonian, reciprocal, origin @ reciprocal, axes, zone)
    return KPlane(origin, vectors, reciprocal, axes, names, text, zone, points, layer)


def _axes(u: FloatArray, normal: FloatArray) -> tuple[FloatArray, tuple[str, str]]:
    """Two Cartesian axes if the plane is normal to the third, else the first vector and what is normal to it."""
    normal = normal / np.linalg.norm(normal)
    along = np.flatnonzero(np.abs(normal) > 1 - 1e-9)
    if len(along):
        x, y = ((1, 2), (2, 0), (0, 1))[int(along[0])]
        return np.eye(3)[[x, y]], (f"$k_{AXES[x]}$", f"$k_{AXES[y]}$")
    first = u / np.linalg.norm(u)
    return np.array([first, np.cross(normal, first)]), (r"$k_\parallel$", r"$k_\perp$")


def _zone(reciprocal: FloatArray, origin: FloatArray, axes: FloatArray, basis: IntArray) -> FloatArray:
    """Points of the plane that are nearer to Gamma than to any other lattice point, by cutting a large square with half planes."""
    reach = 4 * float(np.linalg.norm(reciprocal, axis=1).max())
    polygon = reach * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    steps = range(-NEIGHBOURS, NEIGHBOURS + 1)
    for n in product(steps, repeat=len(basis)):
        G = np.array(n) @ basis @ reciprocal
        if any(n):
            polygon = _cut(polygon, axes @ G, float(G @ G / 2 - origin @ G))
    return polygon


def _cut(polygon: FloatArray, normal: FloatArray, limit: float) -> FloatArray:
    """The part of a polygon with normal . x <= limit."""
    out = []
    height = polygon @ normal - limit
    for n in range(len(polygon)):
        a, b, fa, fb = polygon[n - 1], polygon[n], height[n - 1], height[n]
        if (fa > ON) != (fb > ON):
            out.append(a + (b - a) * fa / (fa - fb))
        if fb <= ON:
            out.append(b)
    kept = [p for n, p in enumerate(out) if n == 0 or np.linalg.norm(p - out[n - 1]) > ON]
    return np.array(kept).reshape(-1, 2)


def _points(
    hamiltonian: Hamiltonian, reciprocal: FloatArray, origin: FloatArray, axes: FloatArray, zone: FloatArray
) -> dict[str, FloatArray]:
    """The special points that lie in the section of the zone, each once."""
    found: dict[str, FloatArray] = {}
    if not len(zone):
        return found
    edges = np.roll(zone, -1, axis=0) - zone
    for name, k in special_points(hamiltonian)[0].points.items():
        for G in product((0, -1, 1), repeat=3):
            away = (k + G) @ reciprocal - origin
            flat = axes @ away
            inside = edges[:, 0] * (flat - zone)[:, 1] - edges[:, 1] * (flat - zone)[:, 0] >= -1e-4
            if np.linalg.norm(away - flat @ axes) < ON and inside.all():
                found[name] = flat
                break
    return found
