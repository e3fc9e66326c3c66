"""Berry curvature and spin of bands in a plane of k: on contours, and as maps over the zone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.contours.result import Contours
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.lattice.mesh import Symmetry
from postprocess.states.batches import LARGEST, evaluate_batches
from postprocess.states.kjobs import Jobs, Result

Quantity = Literal["energy", "curvature", "spin-x", "spin-y", "spin-z"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)
NOTHING = {"curvature": 1e-4, "spin-x": 1e-6, "spin-y": 1e-6, "spin-z": 1e-6}
"""What is nowhere larger is zero to the digits: Angstrom^2 (next to points where bands touch it is a quotient of small numbers), 1."""


def zero_line(what: str, values: FloatArray) -> list[str]:
    """What is said of a quantity that is zero to the digits; nothing of others."""
    if what not in NOTHING or np.abs(values).max() > NOTHING[what]:
        return []
    unit = " Angstrom^2" if what == "curvature" else ""
    return [f"zero         {what} is nowhere larger than {NOTHING[what]:g}{unit}: it is zero, as inversion with time reversal makes it"]


@dataclass(frozen=True)
class PlaneGeometry:
    """Energies (n_k, n), curvature along the normal (n_k, n) or of a group (n_k,), and spin (n_k, 3, n); a BatchQuantity.

    Attributes
    ----------
    normal : tuple of 3 float
        Unit vector.
    curvature, spin : bool
        What is wanted.
    group : tuple of int
        Levels whose curvature is wanted as that of one group.
    source : str or None
        Of the positions.
    """

    symmetry: ClassVar[Symmetry] = "none"
    normal: tuple[float, float, float]
    curvature: bool = False
    spin: bool = False
    group: tuple[int, ...] = ()
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k."""
        basis, normal = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source)), np.array(self.normal)

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            out: Result = {"energies": g.energies}
            if self.curvature and self.group:
                out["curvature"] = np.einsum("kann,a->k", g.curvature_matrix(self.group), normal).real
            elif self.curvature:
                out["curvature"] = np.einsum("kan,a->kn", g.curvature(), normal)
            if self.spin:
                out["spin"] = g.spin_texture()
            return out

        return compute


def check_quantities(hamiltonian: Hamiltonian, *, spin: bool) -> None:
    """Refuse what this H has not.

    Raises
    ------
    DataError
        If spin is asked for and the states are no spinors.
    UsageError
        If there are too many orbitals for dense matrices.
    """
    if spin and hamiltonian.basis.spin != "spinor":
        kind = "no spin" if hamiltonian.basis.spin == "none" else "collinear spins, which are up or down at every k"
        raise DataError(f"{hamiltonian.system} has {kind}: a spin texture takes spinors (a run with spin-orbit coupling, or non-collinear)")
    if hamiltonian.n_orbitals > LARGEST:
        raise UsageError(f"{hamiltonian.n_orbitals} orbitals are too many for the dense matrices of curvature and spin; {LARGEST} at most")


def with_quantities(
    found: Contours,
    hamiltonian: Hamiltonian,
    *,
    curvature: bool = False,
    spin: bool = False,
    source: Source | None = None,
    jobs: Jobs | None = None,
) -> Contours:
    """The same contours with Berry curvature and spin at their points.

    Parameters
    ----------
    found : Contours
        See :func:`postprocess.contours.contours.find_contours`.
    hamiltonian : Hamiltonian
        Of the same, with position matrices if there are any.
    curvature, spin : bool
        What is wanted.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    jobs : Jobs, optional
        Processes.

    Raises
    ------
    DataError, UsageError
        As :func:`check_quantities`.
    """
    check_quantities(hamiltonian, spin=spin)
    hamiltonian = hermitian(hamiltonian)
    n = found.plane.normal
    quantity = PlaneGeometry((float(n[0]), float(n[1]), float(n[2])), curvature, spin, source=source)
    with telling("curvature and spin on contours"):
        values = evaluate_batches(hamiltonian, np.concatenate([line.k for line in found.lines]), quantity, jobs=jobs)
    lines, start = [], 0
    for line in found.lines:
        part = np.arange(start, start + len(line.k))
        start += len(line.k)
        own = values["curvature"][line.spin, part, line.band] if curvature else None
        spins = values["spin"][line.spin, part, :, line.band] if spin else None
        lines.append(replace(line, curvature=own, spins=spins))
    return replace(found, lines=tuple(lines), positions=find_positions(hamiltonian, source).source if curvature else "")
