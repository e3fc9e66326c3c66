"""Electrons and moments of the atoms, and how far the moments of a predicted H are from those that the network was given."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.log import duration, logger
from postprocess.eigen.options import SolverOptions
from postprocess.lattice.mesh import Divisions, KMesh
from postprocess.states.charges import compute_density_matrix, mulliken_charges
from postprocess.states.kjobs import Jobs

DENSITY = 5.0
"""Points of the default mesh per 1/Angstrom (with 2 pi): 16 in each direction of bcc iron give its moment to 0.01 Bohr magneton."""
SECONDS = 3e-9, 1e-3
"""Of one core for all states of a k-point: times the cube of the number of orbitals, and at least."""
PATIENCE = 300.0
"""Seconds that nobody asked for."""
TURNED = 10.0
"""Degrees from the moment that was given, beyond which that of H is another one."""
LOST = 0.5
"""Of its size; a moment that is smaller than that is another one as well."""

SHOWN = 8
"""Atoms named in a warning."""


@dataclass(frozen=True)
class Populations:
    """Mulliken populations of the occupied states.

    Attributes
    ----------
    system : System
        The atoms.
    electrons : (n_atoms,) array
        Electrons of each atom.
    moments : (n_atoms, 3) array
        Spin moments, Bohr magneton; of collinear spins along z.
    fermi_energy : float
        eV, of this mesh.
    divisions : tuple of 3 int
        Of the mesh.
    """

    system: System
    electrons: FloatArray
    moments: FloatArray
    fermi_energy: float
    divisions: Divisions

    @property
    def total_moment(self) -> FloatArray:
        """(3,) sum over the atoms, Bohr magneton: of collinear spins N_up - N_down, a whole number where there is a gap and T is zero."""
        return np.asarray(self.moments.sum(axis=0))

    def angles(self, given: FloatArray) -> FloatArray:
        """(n_atoms,) degrees between these moments and (n_atoms, 3) given ones; NaN for atoms that were given none."""
        across = np.linalg.norm(np.cross(given, self.moments), axis=1)
        angle = np.degrees(np.arctan2(across, (given * self.moments).sum(axis=1)))
        return np.where(given.any(axis=1), angle, np.nan)

    def changed(self, given: FloatArray) -> IntArray:
        """Atoms whose moments turned from the given ones by more than :data:`TURNED`, or lost more than half of their size."""
        magnetic = given.any(axis=1)
        small = np.linalg.norm(self.moments, axis=1) < LOST * np.linalg.norm(given, axis=1)
        return np.flatnonzero(magnetic & (small | (self.angles(given) > TURNED)))

    def appeared(self, given: FloatArray) -> IntArray:
        """Atoms that were given no moment and have more than half of the mean of those given, of their element if it has any."""
        sizes, z = np.linalg.norm(given, axis=1), self.system.numbers
        magnetic = sizes > 0
        if not magnetic.any():
            return np.array([], np.int64)
        means = np.full(len(z), sizes[magnetic].mean())
        for one in np.unique(z[magnetic]):
            means[z == one] = sizes[magnetic & (z == one)].mean()
        return np.flatnonzero(~magnetic & (np.linalg.norm(self.moments, axis=1) > LOST * means))

    def compared(self, given: FloatArray) -> str:
        """A table with a row for each atom that was given a moment, or has one: that one, the one found, and the angle between them."""
        mesh, total = " x ".join(map(str, self.divisions)), " ".join(f"{m:.4f}" for m in self.total_moment)
        lines = [
            f"{self.system.formula}: Mulliken moments of H on a {mesh} mesh, in all ({total}) Bohr magneton",
            "  atom     given  direction                 found  angle (degrees)",
        ]
        sizes, found, angles = np.linalg.norm(given, axis=1), np.linalg.norm(self.moments, axis=1), self.angles(given)
        appeared = set(self.appeared(given).tolist())
        for atom, symbol in enumerate(self.system.symbols):
            if atom in appeared:
                lines.append(f"{atom + 1:4d} {symbol:<3}{'none':>8} {'':24}  {found[atom]:8.4f}")
            if not sizes[atom]:
                continue
            direction = "".join(f"{x:8.4f}" for x in given[atom] / sizes[atom])
            lines.append(f"{atom + 1:4d} {symbol:<3}{sizes[atom]:8.4f} {direction}  {found[atom]:8.4f} {angles[atom]:8.2f}")
        return "\n".join(lines)


def compute_populations(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    *,
    temperature: float = 300.0,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> Populations:
    """Mulliken populations of H; parameters and errors as for :func:`postprocess.states.charges.compute_density_matrix`."""
    density, fermi = compute_density_matrix(hamiltonian, mesh, temperature=temperature, options=options, jobs=jobs)
    charges = mulliken_charges(hamiltonian, density)
    return Populations(hamiltonian.system, charges[:, 0], charges[:, 1:], fermi, mesh.divisions)


def too_much(n_orbitals: int, n_k: int) -> str:
    """Why the populations of a cell are computed only where somebody asks for them; empty if they are not too much."""
    seconds = n_k * max(SECONDS[0] * n_orbitals**3, SECONDS[1])
    if seconds < PATIENCE:
        return ""
    return f"all states of {n_orbitals:,} orbitals at {n_k} k-point{'s' if n_k > 1 else ''} take {duration(seconds)} by dense matrices"


def tell_change(found: Populations, given: FloatArray) -> None:
    """Put the table of moments on the screen, with a warning of those that changed."""
    logger.info("%s", found.compared(given))
    changed = found.changed(given)
    if len(changed):
        logger.warning(
            "the moments of H turned by more than %g degrees from those that were given, or lost more than half of their size, on "
            "%s. The network is not good enough for this magnetic order, or has not learned one like it",
            TURNED, _named(found.system, changed),
        )  # fmt: skip
    appeared = found.appeared(given)
    if len(appeared):
        logger.warning(
            "H has moments that were not given, of more than half of the size of those that were, on %s. Were they forgotten? The network "
            "was told that these atoms are not magnetic", _named(found.system, appeared),
        )  # fmt: skip


def _named(system: System, atoms: IntArray) -> str:
    """Such as ``2 atoms: Cr 1, Cr 4``."""
    shown = ", ".join(f"{system.symbols[atom]} {atom + 1}" for atom in atoms[:SHOWN].tolist())
    return f"{len(atoms)} atom{'s' * (len(atoms) > 1)}: {shown}{', ...' * (len(atoms) > SHOWN)}"
