"""``deeph-bands --report``: gap, true band edges with masses, Fermi velocities and band widths, as text or JSON."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism, largest_parts
from deeph.physics.symmetrize import describe_symmetry
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.bands.bands import Bands
from postprocess.bands.crossings import Crossing, find_crossings
from postprocess.bands.extrema import EdgeReport, true_edge
from postprocess.bands.widths import BandWidth, Splitting, bandwidths, spin_splittings
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.selection import DENSE_LIMIT
from postprocess.lattice.periodic import equivalent, periodic_directions
from postprocess.states.fermi import STORED, fermi_on_mesh

NEAR = 2
"""Bands on either side of the Fermi level whose widths are shown."""
NOTED = 5e-3
"""eV; a stored Fermi level so far from the counted one is pointed out: another mesh, temperature, or H."""
MANY = 6
"""Crossings of the Fermi level that are listed one by one."""


@dataclass(frozen=True)
class BandReport:
    """What follows from a band structure.

    Attributes
    ----------
    gap : float or None
        Between the true edges, eV; None for a metal.
    is_direct : bool or None
        Whether both edges lie at one k.
    vbm, cbm : EdgeReport or None
        True band edges near those of the path; None for metals, and for cells too large for dense matrices.
    crossings : list of Crossing
        Of the Fermi level on the path; empty for cells too large for dense matrices.
    widths : list of BandWidth
        Of all bands known along the whole path.
    splittings : list of Splitting
        By spin, at the named points of the path.
    counted_fermi : float or None
        The Fermi level that the number of electrons gives on the default mesh of ``deeph-dos``, eV, if the stored one is another
        (more than 5 meV outside the levels between which it may lie).
    symmetry : str or None
        How far H is from the symmetry of its structure; None for cells too large for dense matrices.
    """

    gap: float | None
    is_direct: bool | None
    vbm: EdgeReport | None
    cbm: EdgeReport | None
    crossings: list[Crossing]
    widths: list[BandWidth]
    splittings: list[Splitting]
    counted_fermi: float | None = None
    symmetry: str | None = None

    def describe(self, fermi_energy: float | None) -> list[str]:
        """Lines of text; energies from the Fermi level."""
        zero = fermi_energy or 0.0
        lines = []
        if self.counted_fermi is not None and fermi_energy is not None:
            difference = 1000 * (self.counted_fermi - fermi_energy)
            lines.append(
                f"counted      {self.counted_fermi:.6f} eV is the Fermi level that the number of electrons gives, {difference:+.1f} meV "
                "from the stored one (--fermi takes another)"
            )
        if self.gap is not None:
            lines.append(
                f"true gap     {self.gap:.6f} eV, {'direct' if self.is_direct else 'indirect'}, between the extrema near those of the path"
            )
        for name, edge in (("valence band maximum   ", self.vbm), ("conduction band minimum", self.cbm)):
            if edge is not None:
                lines += [f"  {name}  {edge.energy - zero:+.6f} eV  at k = ({_k(edge.k)}){_degenerate(edge)}", *_masses(edge)]
        collinear = any(w.spin for w in self.widths)
        speeds = sorted(c.velocity / 1e6 for c in self.crossings)
        if len(speeds) > MANY:
            lines.append(f"Fermi velocities {speeds[0]:.4f} to {speeds[-1]:.4f} x 10^6 m/s along the path, {len(speeds)} crossings")
        else:
            where = [f"along the path at k = ({_k(c.k)}), band {c.band + 1}{_spin(c.spin, collinear)}" for c in self.crossings]
            lines += [f"Fermi velocity {c.velocity / 1e6:.4f} x 10^6 m/s {at}" for c, at in zip(self.crossings, where, strict=True)]
        for pair in ("valence", "conduction"):
            split = [f"{s.label} {1000 * s.energy:.3f}" for s in self.splittings if s.pair == pair]
            lines += [f"spin splitting of the {pair} band, meV: {', '.join(split)}"] if split else []
        if fermi_energy is not None:
            near = sorted(self.widths, key=lambda w: abs(w.center - zero))[: 2 * NEAR]
            for w in sorted(near, key=lambda w: (w.spin, w.band)):
                name = f"{w.band + 1}{_spin(w.spin, collinear)}"
                lines.append(
                    f"band {name:<{15 if collinear else 5}} {w.low - zero:+.6f} to {w.high - zero:+.6f} eV, {1000 * w.width:.3f} meV wide"
                )
        return lines + ([f"symmetry     {self.symmetry}"] if self.symmetry else [])


def _k(k: FloatArray) -> str:
    return ", ".join(f"{x:.4f}" for x in np.round(k, 6) + 0.0)


def _spin(spin: int, collinear: bool) -> str:
    return f", spin {('up', 'down')[spin]}" if collinear else ""


def _degenerate(edge: EdgeReport) -> str:
    return f", {edge.degeneracy} levels" if edge.degeneracy > 1 else ""


def _masses(edge: EdgeReport) -> list[str]:
    if edge.masses is None or edge.axes is None:
        return ["    no effective mass: bands cross linearly"]
    names = edge.names or [f"({', '.join(f'{x:.3f}' for x in np.round(axis, 6) + 0.0)})" for axis in edge.axes]
    return [f"    mass {', '.join(f'{m:+.4f}' for m in masses)} m_e along {name}" for masses, name in zip(edge.masses, names, strict=True)]


def _splittings(hamiltonian: Hamiltonian, bands: Bands) -> list[Splitting]:
    """Of collinear spins, and of spinors with time reversal; in a magnet two neighbouring bands are no pair."""
    spinor = hamiltonian.basis.spin == "spinor"
    if spinor and hamiltonian.H is not None and not Magnetism(largest_parts(hamiltonian.H, "spinor"), None).time_reversal:
        return []
    return spin_splittings(bands, spinor=spinor)


def make_report(hamiltonian: Hamiltonian, bands: Bands) -> BandReport:
    """Numbers of a band structure; edges, masses and velocities for cells that dense matrices can do."""
    hamiltonian, gap, widths = hermitian(hamiltonian), bands.gap, bandwidths(bands)
    splittings = _splittings(hamiltonian, bands)
    if hamiltonian.H_bloch.n_orbitals > DENSE_LIMIT:
        known = None if gap is None or gap.is_metal or gap.is_bound else gap.width
        return BandReport(known, None, None, None, [], widths, splittings)
    symmetry = describe_symmetry(hamiltonian)
    crossings, counted = find_crossings(hamiltonian, bands), _other_fermi_energy(hamiltonian, bands)
    if gap is None or gap.is_metal:
        return BandReport(None, None, None, None, crossings, widths, splittings, counted, symmetry)
    vbm, cbm = true_edge(hamiltonian, gap.vbm, highest=True), true_edge(hamiltonian, gap.cbm, highest=False)
    direct = bool(equivalent(vbm.k, cbm.k, periodic=periodic_directions(hamiltonian), tolerance=1e-3))
    return BandReport(cbm.energy - vbm.energy, direct, vbm, cbm, crossings, widths, splittings, counted, symmetry)


def _other_fermi_energy(hamiltonian: Hamiltonian, bands: Bands) -> float | None:
    """The counted Fermi level where the stored one is not it; an insulator's may lie anywhere in the gap."""
    if bands.fermi_origin != STORED or bands.fermi_energy is None or hamiltonian.n_electrons is None:
        return None
    try:
        counted = fermi_on_mesh(hamiltonian, make_mesh(hamiltonian))
    except DataError as error:
        logger.warning("the Fermi level could not be counted: %s", error)
        return None
    if counted.low - NOTED <= bands.fermi_energy <= counted.high + NOTED:
        return None
    return counted.energy
