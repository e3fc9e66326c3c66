"""The Fermi level: given, stored with the data, or from the number of electrons."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger, telling
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.selection import DENSE_LIMIT
from postprocess.lattice.mesh import KMesh
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.frontier_levels import frontier_levels, levels_below
from postprocess.states.kjobs import Jobs
from postprocess.states.mesh_levels import MeshLevels, compute_mesh_levels
from postprocess.states.tetrahedra import StateCount, TetrahedronCount

STORED = "stored with the data"
"""Origin of a Fermi level that came with the folder."""
UNKNOWN = "unknown"
"""In place of a level: it is not to be looked for."""
SHARPNESS = 1e-11
"""Electrons per electron that may be missing: where fewer change, there is a gap."""
RESOLUTION = 1e-7
"""eV, to which the edges of a gap are located."""
FAR, FAR_SPREADS = 0.5, 5.0
"""eV, and spreads of the training data: a counted level farther from theirs is no Fermi level of the material."""
DEGENERATE = 1e-6
"""eV; levels so close are one level."""
PARTLY = 1e-6
"""Of a level; one is filled in part if so much of it is filled, and so much is not."""


@dataclass(frozen=True)
class FermiLevel:
    """The energy up to which the levels hold the electrons.

    Attributes
    ----------
    energy : float
        eV, on the energy zero of H. Half way between ``low`` and ``high``, unless the count is uncertain.
    low, high : float
        Ends of the gap of an insulator, at the k-points that were looked at; equal for a metal, and where only the level is known; with
        an uncertain count, what it leaves open.
    origin : str
        Where the level comes from.
    sampled : bool
        Whether it was counted at a k-point or a few of a large cell, so that levels at others tell more, see :meth:`refined`.
    """

    energy: float
    low: float
    high: float
    origin: str = ""
    sampled: bool = False

    @property
    def gap(self) -> float:
        """Distance of the ends, eV."""
        return self.high - self.low

    def refined(self, levels: FloatArray, n_filled: int) -> "FermiLevel":
        """The same from the levels at more k-points, where these leave less open: the level of bands that touch elsewhere, as at K.

        Parameters
        ----------
        levels : (n_k, n_bands) array
            eV, ascending.
        n_filled : int
            How many of them are filled in an insulator.
        """
        if not 0 < n_filled < levels.shape[1]:
            return self
        # the edges of an insulator; those of a semimetal, with the level between them, lie in the other order
        edges = np.array([max(self.low, levels[:, n_filled - 1].max()), min(self.high, levels[:, n_filled].min())])
        if not abs(edges[1] - edges[0]) < self.gap:
            return self
        where = f"at Gamma and at these k-points, {1000 * abs(edges[1] - edges[0]):.3g} meV between the levels there"
        return FermiLevel(float(edges.mean()), float(edges.min()), float(edges.max()), f"electrons counted {where}")


def find_fermi_level(
    hamiltonian: Hamiltonian,
    fermi: float | str | None = None,
    *,
    needed: bool = False,
    mesh: KMesh | None = None,
    guess: float | None = None,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> FermiLevel | None:
    """The Fermi level that is asked for, or the best one that is known.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    fermi : float, "count", "inertia" or "unknown", optional
        The level in eV; "count" to fill levels even if a level is stored; "inertia" to count the levels at all points of ``mesh``, for
        insulators; :data:`UNKNOWN` not to look for it. By default the stored level, else it is counted; that of a molecule is counted.
    needed : bool
        Whether an unknown level is an error; else None is returned for it.
    mesh : KMesh, optional
        Where levels are counted; by default that of ``deeph-dos``, and Gamma for cells too large for dense matrices.
    guess : float, optional
        eV, where the counts of a large cell begin; by default where the Hamiltonian says.
    options : SolverOptions, optional
        How levels are found.
    jobs : Jobs, optional
        How the k-points of a small cell are shared.

    Raises
    ------
    DataError
        If the level cannot be known although it is needed, or an insulator's count was asked for and it is none.
    """
    molecule = not any(periodic_directions(hamiltonian))
    known = given_or_stored(hamiltonian, fermi)
    if known is not None:
        return known
    if fermi == UNKNOWN or (hamiltonian.n_electrons is None and fermi is None and not needed):
        return None
    n_electrons, options = known_electrons(hamiltonian), options or SolverOptions()
    if fermi == "inertia":
        return _counted_insulator(hamiltonian, make_mesh(hamiltonian) if mesh is None else mesh, options)
    if hamiltonian.n_orbitals <= DENSE_LIMIT:
        with telling(f"searching the Fermi level{' on a mesh' * (not molecule)} (--fermi EV gives it instead)"):  # also its symmetries
            found = fermi_on_mesh(hamiltonian, make_mesh(hamiltonian) if mesh is None else mesh, options=options, jobs=jobs)
        return _of_molecule(found, n_electrons) if molecule else found
    found = fermi_by_inertia(hamiltonian, guess=guess, options=options)
    warn_if_far(hamiltonian, found.energy)
    origin = f"{n_electrons:g} electrons counted at Gamma, {1000 * found.gap:.3g} meV between the levels there"
    return replace(found, origin=origin, sampled=True)


def _of_molecule(found: FermiLevel, n_electrons: float) -> FermiLevel:
    """The level of a molecule in words. One that is filled in part, as by an odd electron, counts as occupied: it is the HOMO."""
    if found.gap > DEGENERATE:
        return replace(found, origin=f"half way between HOMO and LUMO of {n_electrons:g} electrons")
    energy = found.high + RESOLUTION
    return FermiLevel(energy, energy, energy, f"HOMO, which {n_electrons:g} electrons fill in part")


def warn_if_far(hamiltonian: Hamiltonian, energy: float) -> None:
    """Warn of a counted level that lies where no training structure had it: the prediction has too many or too few levels below."""
    if hamiltonian.fermi_guess is None:
        return
    level, spread = hamiltonian.fermi_guess
    if abs(energy - level) > max(FAR, FAR_SPREADS * spread):
        logger.warning(
            "the electrons fill the levels up to %.3f eV, but the Fermi level of the training data is %.3f +- %.3f eV: this H has too %s "
            "levels below. Errors of a prediction bring ghost levels of nearly dependent orbitals (try --project 0.01), or the model is "
            "not good enough; --fermi %.3f takes the level of the training data",
            energy, level, spread, "many" if energy < level else "few", level,
        )  # fmt: skip


def given_or_stored(hamiltonian: Hamiltonian, fermi: float | str | None) -> FermiLevel | None:
    """The level that was given, or by default the one that came with the data; None if it is to be counted.

    What codes store for a molecule is any number between HOMO and LUMO, or none of its levels: it is counted wherever it can be.
    """
    if isinstance(fermi, int | float):
        return FermiLevel(float(fermi), float(fermi), float(fermi), "given")
    countable = hamiltonian.n_electrons is not None and not any(periodic_directions(hamiltonian))
    if fermi is None and hamiltonian.fermi_energy is not None and not countable:
        return FermiLevel(*3 * (hamiltonian.fermi_energy,), STORED)
    return None


def known_electrons(hamiltonian: Hamiltonian) -> float:
    """The number of electrons, or a clear error."""
    if hamiltonian.n_electrons is None:
        raise DataError(
            "the number of electrons is not known (info.json has no 'occupation'), so no Fermi level can be computed; give --fermi EV, or "
            "--center EV where a command has it"
        )
    return hamiltonian.n_electrons


def fermi_on_mesh(hamiltonian: Hamiltonian, mesh: KMesh, *, options: SolverOptions | None = None, jobs: Jobs | None = None) -> FermiLevel:
    """Fermi level at zero temperature by tetrahedra; in an insulator half way between the band edges on the mesh.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    mesh : KMesh
        See :func:`postprocess.eigen.band_symmetries.make_mesh`.
    options, jobs
        As for :func:`postprocess.states.mesh_levels.compute_mesh_levels`; nothing is kept.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of bands.
    """
    n_electrons = known_electrons(hamiltonian)
    dense = replace(options or SolverOptions(), name="dense")
    levels = compute_mesh_levels(hamiltonian, mesh, options=dense, jobs=replace(jobs or Jobs(), scratch=None))
    bracket = float(levels.energies.min()) - 1e-3, float(levels.energies.max()) + 1e-3
    found = fermi_from_count(TetrahedronCount(levels), n_electrons, bracket)
    if found.gap > 10 * RESOLUTION:
        edges = gap_around(levels, found.energy)
        found = FermiLevel((edges.low + edges.high) / 2, edges.low, edges.high)
    return replace(found, origin=f"{n_electrons:g} electrons on a {' x '.join(map(str, mesh.divisions))} mesh")


def fermi_from_count(count: StateCount, n_electrons: float, bracket: tuple[float, float], *, error: float = 0.0) -> FermiLevel:
    """Where the number of states reaches the number of electrons.

    Parameters
    ----------
    count : StateCount
        By tetrahedra, smeared levels, or the kernel polynomial method.
    n_electrons : float
        Electrons per cell.
    bracket : (low, high)
        Energies below and above all levels, eV.
    error : float
        By how many electrons the count may be wrong.

    Raises
    ------
    DataError
        If there are more electrons than the levels hold, or none.
    """
    total = float(count(np.array(bracket))[:, 0].sum(axis=0)[1])
    sharp = SHARPNESS * n_electrons
    if not 0 < n_electrons < total - sharp:
        raise DataError(
            f"{n_electrons:g} electrons, but the bands hold {total:g}; check 'occupation' in info.json (valence electrons per cell, both "
            "spins)"
        )
    low, high = (_crossing(count, n_electrons + side * max(error, sharp), bracket) for side in (-1, 1))
    energy = _crossing(count, n_electrons, bracket) if error > sharp else (low + high) / 2
    return FermiLevel(energy, low, high, f"{n_electrons:g} electrons counted")


def gap_around(levels: MeshLevels, energy: float) -> FermiLevel:
    """An energy with the gap around it: the highest level below and the lowest above it, if equally many lie below it at every k-point."""
    below = levels.energies < energy
    n_below = below.sum(axis=-1)
    if not below.any() or below.all() or (n_below != n_below[:, :1]).any():
        return FermiLevel(energy, energy, energy)
    return FermiLevel(energy, float(levels.energies[below].max()), float(levels.energies[~below].min()))


def _crossing(count: StateCount, wanted: float, bracket: tuple[float, float]) -> float:
    """Energy where the rising count passes a number."""
    low, high = bracket
    while high - low > RESOLUTION:
        grid = np.linspace(low, high, 33)
        place = int(np.clip(np.searchsorted(count(grid)[:, 0].sum(axis=0), wanted), 1, 32))
        low, high = float(grid[place - 1]), float(grid[place])
    return (low + high) / 2


def fermi_by_inertia(
    hamiltonian: Hamiltonian, k: FloatArray | None = None, *, guess: float | None = None, options: SolverOptions | None = None
) -> FermiLevel:
    """Half way between the highest filled and the lowest empty level of one or a few k-points, by counts of levels.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    k : (n_k, 3) array, optional
        Fractional; Gamma by default, which is enough for an insulator and for a large cell.
    guess, options
        As for :func:`postprocess.states.frontier_levels.frontier_levels`.

    Returns
    -------
    FermiLevel
        The distance of its ends is the gap of an insulator at these k-points, and the uncertainty for a metal.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of levels, or the factorization cannot count.
    """
    k = np.zeros((1, 3)) if k is None else np.asarray(k, float).reshape(-1, 3)
    filled = known_electrons(hamiltonian) * len(k) / (2 if hamiltonian.basis.spin == "none" else 1)
    n_filled = ceil(filled - PARTLY)
    low, high = frontier_levels(hamiltonian, k, n_filled, guess=guess, options=options)
    if filled < n_filled - PARTLY:  # an odd electron: the level that it fills by half
        high = low
    return FermiLevel((low + high) / 2, low, high)


def _counted_insulator(hamiltonian: Hamiltonian, mesh: KMesh, options: SolverOptions) -> FermiLevel:
    """From counts at all points of a mesh; a band that is partly filled is an error, for a metal needs another method."""
    k = mesh.points[mesh.index.ravel()]
    filled = known_electrons(hamiltonian) * len(k) / (2 if hamiltonian.basis.spin == "none" else 1)
    found = fermi_by_inertia(hamiltonian, k, options=options) if abs(filled - round(filled)) < 1e-6 else None
    partly = "a level" if found is None else f"a level at {found.low:.6f} eV"
    if found is not None and found.gap >= DEGENERATE:
        below = levels_below(hamiltonian, k, found.energy, options=options)
        if (below == below[:, :1]).all():
            return replace(found, origin=f"levels counted at {len(k)} k-points, gap {found.gap:.6f} eV there")
        partly = f"a band at {found.energy:.6f} eV"
    raise DataError(
        f"{hamiltonian.n_electrons:g} electrons leave {partly} partly filled at these {len(k)} k-points: this is a metal, whose "
        "Fermi level needs a mesh; use --fermi count with --method tetrahedron, gaussian or kpm"
    )
