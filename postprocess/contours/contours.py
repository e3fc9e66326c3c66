"""Lines of constant energy of bands in a plane of k: every point of them solves E(k) = E."""

from collections.abc import Sequence

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, telling
from postprocess.contours.at_energy import Search, lines_at
from postprocess.contours.plane import KPlane
from postprocess.contours.result import Contour, Contours
from postprocess.contours.roots import BandEnergies
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import SolverFactory
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs
from postprocess.states.spectrum import Spectrum

TOLERANCE = 1e-5
"""eV, of every point of a contour."""
DENSITY = 20.0
"""Points of the default mesh per 1/Angstrom (with 2 pi)."""


def mesh_divisions(plane: KPlane, density: float = DENSITY) -> tuple[int, int]:
    """Points along u and v, multiples of 12: halves, thirds and quarters, where band edges often lie, are among them."""
    a, b = (12 * int(np.ceil(length * density / 12)) for length in np.linalg.norm(plane.basis, axis=1))
    return a, b


def find_contours(
    hamiltonian: Hamiltonian,
    plane: KPlane,
    energies: Sequence[float],
    *,
    fermi: FermiLevel | None = None,
    bands: Sequence[int] = (),
    divisions: tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
    solver: SolverFactory | None = None,
    jobs: Jobs | None = None,
) -> Contours:
    """Lines where bands have some energies.

    The levels are computed on a mesh. Where a band crosses an energy between two neighbouring points, the crossing is found exactly, and
    then more points between those of a line, until the middle between two of them is near the energy, see
    :mod:`postprocess.contours.smooth` (a warning tells where this fails). Pockets smaller than a step of the mesh are found from the
    extrema that its levels show, see :mod:`postprocess.contours.pockets`.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    plane : KPlane
        See :func:`postprocess.contours.plane.make_plane`.
    energies : sequence of float
        eV from the Fermi level, or on the energy zero of H if there is none.
    fermi : FermiLevel, optional
        See :func:`postprocess.states.fermi.find_fermi_level`.
    bands : sequence of int
        Only these, counted from 0.
    divisions : (int, int), optional
        Points along both vectors of the plane; by default :data:`DENSITY`.
    tolerance : float
        Largest ``|E(k) - E|``, eV.
    solver : SolverFactory, optional
        By default all levels with dense matrices.
    jobs : Jobs, optional
        Processes that share the k-points.

    Raises
    ------
    DataError
        If no band has any of the energies in this plane; the message tells between which it lies.
    UsageError
        If the tolerance, the energies or the mesh are out of range.
    """
    n = divisions or mesh_divisions(plane)
    if min(n) < 4 or not 0 < tolerance < 1 or not energies or not np.isfinite(energies).all():
        raise UsageError(
            f"energies {list(energies)}, mesh {n[0]} x {n[1]}, tolerance {tolerance:g} eV: expected some energies, four points or more, "
            "and a positive tolerance below 1 eV"
        )
    if wrong := [band + 1 for band in bands if not 0 <= band < hamiltonian.n_orbitals]:
        raise UsageError(f"band {wrong[0]}: expected bands from 1 to {hamiltonian.n_orbitals}")
    hamiltonian = hermitian(hamiltonian)
    zero = 0.0 if fermi is None else fermi.energy
    bands_in_plane = BandEnergies(hamiltonian, plane, solver, jobs)
    mesh = np.stack(np.meshgrid(np.arange(n[0]) / n[0], np.arange(n[1]) / n[1], indexing="ij"), axis=-1).reshape(-1, 2)
    with telling(f"levels on {n[0]} x {n[1]} k-points"):
        search = Search(bands_in_plane, n, bands_in_plane.spectrum(mesh), tolerance)
    filled = np.full((len(energies), *search.spectrum.energies.shape[::2]), np.nan)
    lines: list[Contour] = []
    missing: list[str] = []
    for number, energy in enumerate(energies):
        found = lines_at(search, zero + energy, bands, filled[number])
        if not found:
            missing.append(_nothing_there(search.spectrum, zero, energy, bands))
        lines += found
    if not lines:
        raise DataError(f"{missing[0]}: choose other energies")
    for text in missing:
        logger.warning("%s", text)
    per_level = 2 if hamiltonian.basis.spin == "none" else 1
    out = Contours(
        tuple(lines), tuple(map(float, energies)), zero, filled, search.spectrum.first_band, per_level, plane, n, search.energies.n_solved,
        tolerance, fermi,
    )  # fmt: skip
    _warn_of_chords(out)
    return out


def _warn_of_chords(found: Contours) -> None:
    """Tell where the straight way between two points of a line is far from the energy, so that no coarse line is silent."""
    coarse = [line for line in found.lines if np.nanmax(np.abs(line.midway), initial=0.0) > line.limit]
    if not coarse:
        return
    worst = max(coarse, key=lambda line: float(np.nanmax(np.abs(line.midway))))
    place = int(np.nanargmax(np.abs(worst.midway)))
    k = ", ".join(f"{x:.4f}" for x in worst.k[place])
    logger.warning(
        "%d of %d lines are coarse: half-way between two points of band %d E(k) - E is %+.4f eV (after k = %s), more than %g eV, and no "
        "point of the line was found beside; their areas are not exact: take a finer mesh",
        len(coarse), len(found.lines), worst.band + 1, worst.midway[place], k, worst.limit,
    )  # fmt: skip


def _nothing_there(spectrum: Spectrum, zero: float, energy: float, bands: Sequence[int]) -> str:
    """Why there is no line: the band edges around the energy."""
    columns = [n for n in range(spectrum.energies.shape[2]) if not bands or n + spectrum.first_band in bands]
    levels = spectrum.energies[:, :, columns] - zero
    below, above = levels[levels < energy], levels[levels >= energy]
    edges = [f"levels below reach {below.max():+.4f} eV"] if len(below) else []
    edges += [f"those above begin at {above.min():+.4f} eV"] if len(above) else []
    what = "none of these bands has" if bands else "no band has"
    return f"{what} the energy {energy:+.4f} eV in this plane on the mesh ({', '.join(edges) or 'nothing was computed there'})"
