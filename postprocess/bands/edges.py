"""Energies of the two band edges, from which energies may be counted."""

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from postprocess.bands.extrema import true_edge
from postprocess.bands.gap import find_gap
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.selection import DENSE_LIMIT
from postprocess.states.fermi import fermi_by_inertia
from postprocess.states.mesh_levels import compute_mesh_levels


def band_edges(hamiltonian: Hamiltonian, fermi_energy: float) -> tuple[float, float, str]:
    """The valence band maximum and the conduction band minimum (eV), and where they were looked for.

    On the default mesh, followed to the extrema nearby; of cells too large for dense matrices at Gamma, by counts.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    fermi_energy : float
        eV; levels up to it are occupied.

    Raises
    ------
    DataError
        If bands cross the Fermi level, or all lie on one side of it.
    """
    if hamiltonian.n_orbitals > DENSE_LIMIT:
        found = fermi_by_inertia(hamiltonian, guess=fermi_energy)
        return found.low, found.high, "at Gamma"
    hamiltonian, mesh = hermitian(hamiltonian), make_mesh(hamiltonian)
    size = " x ".join(map(str, mesh.divisions))
    gap = find_gap(compute_mesh_levels(hamiltonian, mesh).energies, mesh.points, fermi_energy)
    if gap is None or gap.is_metal:
        why = "all bands lie on one side of it" if gap is None else "bands cross it"
        raise DataError(
            f"there are no band edges at the Fermi level {fermi_energy:.4f} eV: {why} on {size} k-points. Expected an insulator for "
            "energies from vbm or cbm: count them from the Fermi level instead, or give one in a gap (--fermi EV)"
        )
    top, bottom = true_edge(hamiltonian, gap.vbm, highest=True), true_edge(hamiltonian, gap.cbm, highest=False)
    return top.energy, bottom.energy, f"near those of {size} k-points"
