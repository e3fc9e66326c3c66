"""Bands to be compared with those of a reference: at the same k, with the same window, on the energy zero they have in common."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from deeph.files.band_files import BandFile
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.bands.bands import Bands, compute_bands
from postprocess.eigen.solver import Eigensolver, SolverFactory
from postprocess.lattice.kpath import KPath
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.states.fermi import STORED, UNKNOWN, FermiLevel, find_fermi_level
from postprocess.states.states import States

OVERLAP_WEIGHT = "overlap weight"
"""Label of c^dagger S c / c^dagger c among the weights of bands."""


@dataclass(frozen=True)
class OverlapWeight:
    """c^dagger S c / c^dagger c of each state, see :attr:`postprocess.eigen.levels.Levels.overlap_weights`; a projector.

    To first order an error dH changes a level by c^dagger dH c with c^dagger S c = 1, so that its inverse is the factor by which errors
    of matrix elements appear in the level.
    """

    signed: ClassVar[bool] = True  # no share

    def __call__(self, states: States) -> dict[str, FloatArray]:
        """One positive number for each state; small for combinations of nearly dependent orbitals."""
        return {OVERLAP_WEIGHT: states.levels.overlap_weights}


def compute_bands_like(
    reference: Bands,
    hamiltonian: Hamiltonian,
    *,
    fermi: float | str | None = None,
    solver: SolverFactory | None = None,
    title: str = "",
    **options: Any,
) -> Bands:
    """Band structure at the k-points of a reference, to be compared with it.

    A Fermi level in a gap or on a coarse mesh is not sharp, so levels of different origin must not be set equal: unless ``fermi`` is
    given, or both data sets bring a stored level, the reference's level is used for both, on the common energy zero of H.

    Parameters
    ----------
    reference : Bands
        Its path, and its Fermi level.
    hamiltonian, fermi, **options
        As for :func:`postprocess.bands.bands.compute_bands`.
    solver : SolverFactory, optional
        The one of the reference; its window or centre moves with the Fermi level, if both have their own.
    title : str
        Name for legends and tables.
    """
    both_stored = reference.fermi_origin == STORED and hamiltonian.fermi_energy is not None
    level: FermiLevel | None
    if fermi is None and not both_stored and reference.fermi_energy is not None:
        level = FermiLevel(*3 * (reference.fermi_energy,), f"taken from {reference.title}")
    else:
        level = find_fermi_level(hamiltonian, fermi, options=getattr(solver, "options", None))
    if isinstance(solver, Eigensolver) and level is not None and reference.fermi_energy is not None:
        shift = level.energy - reference.fermi_energy
        solver = replace(solver, low=solver.low + shift, high=solver.high + shift, center=solver.center + shift)
    return compute_bands(hamiltonian, reference.path, fermi=level or UNKNOWN, solver=solver, title=title, **options)


def bands_from_file(file: BandFile, hamiltonian: Hamiltonian) -> Bands:
    """The energies of a band file as a band structure.

    Parameters
    ----------
    file : BandFile
        Which fits the Hamiltonian, see :func:`postprocess.compare.comparable.check_band_file`.
    hamiltonian : Hamiltonian
        Tells the lengths along the path.

    Returns
    -------
    Bands
        Both ends of each line are there, as everywhere; a mesh has neither corners nor distances.
    """
    level = file.fermi_energy, "not known" if file.fermi_energy is None else f"printed in {file.name}"
    if not file.lines:
        n_k = len(file.k)
        path = KPath(file.k, np.zeros(n_k), np.zeros(0), (), np.array([0, n_k]), hamiltonian.system.reciprocal)
        return Bands(file.energies, path, *level, file.name, solver="read from a file")
    points = np.concatenate([np.arange(line.start, line.stop) for line in file.lines])
    bounds = np.concatenate([[0], np.cumsum([line.stop - line.start for line in file.lines])])
    k, labels = file.k[points], [file.lines[0].start_label]
    steps = np.linalg.norm(np.diff(k, axis=0, prepend=k[:1]) @ in_plane_reciprocal(hamiltonian), axis=1)
    steps[bounds[:-1]] = 0.0
    distances = np.cumsum(steps)
    for line, start in zip(file.lines, bounds[:-1].tolist(), strict=True):
        if start and not np.allclose(k[start], k[start - 1], rtol=0, atol=1e-6):
            labels[-1] = f"{labels[-1]}|{line.start_label}"
        labels.append(line.stop_label)
    ticks = np.append(0.0, distances[bounds[1:] - 1])
    path = KPath(k, distances, ticks, tuple(labels), bounds, hamiltonian.system.reciprocal)
    return Bands(file.energies[:, points], path, *level, file.name, solver="read from a file")
