"""Band structures: energies along a path, their Fermi level, gap and band edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from postprocess.bands.connect import compute_connected, is_followed
from postprocess.bands.gap import Gap, find_gap
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver, SolverFactory
from postprocess.lattice.kpath import KPath
from postprocess.states.fermi import FermiLevel, find_fermi_level
from postprocess.states.kjobs import Jobs
from postprocess.states.level_errors import LEVEL_ERROR, LevelErrors
from postprocess.states.projectors import Projector
from postprocess.states.spectrum import Spectrum, compute_spectrum, describe_solver

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bands:
    """Energies along a path.

    Attributes
    ----------
    energies : (n_spin, n_k, n_bands) array
        eV on the energy zero of H (not shifted), ascending unless bands were connected; NaN where a band leaves the window.
    path : KPath
        Where they were computed.
    fermi_energy : float or None
        eV, on the same zero.
    fermi_origin : str
        Where the Fermi level comes from.
    title : str
        Name for legends and tables.
    first_band : int
        Number of the first band among all, counted from 0; not 0 if only a window was computed.
    weights : mapping of label to (n_spin, n_k, n_bands) array
        What the states are made of, see :mod:`postprocess.states.projectors`.
    signed : tuple of str
        Labels of those weights that are no shares but quantities with a sign, such as sz.
    counted : bool
        Whether the levels below the first band were counted; else the bands are numbered from the lowest one found at each k.
    solver : str
        How the levels were found: solver, number of orbitals, largest residual, whether they are complete.
    order : (n_spin, n_k, n_bands) int array or None
        Band by band through the crossings: ``energies[spin, k, order[spin, k, n]]`` continues band n of the k-point before. None where
        this was not asked for, or ``energies`` are connected themselves; not used if it has another shape, for bands were left out.
    errors : (n_spin, n_k, n_bands) array or None
        Standard deviations of the levels, eV, to first order, where an ensemble predicted H; see :mod:`postprocess.states.level_errors`.
    searched : (n_spin, n_k, 3) array or None
        Where a part of the levels was computed: the energies, eV, between which all levels of each k are there, and how many levels lie
        below the ones there. Tables leave it out.
    """

    energies: FloatArray
    path: KPath
    fermi_energy: float | None = None
    fermi_origin: str = "not known"
    title: str = ""
    first_band: int = 0
    weights: Mapping[str, FloatArray] = field(default_factory=dict)
    signed: tuple[str, ...] = ()
    counted: bool = True
    solver: str = ""
    order: IntArray | None = None
    errors: FloatArray | None = None
    searched: FloatArray | None = None

    def __repr__(self) -> str:
        fermi = "E_F not known" if self.fermi_energy is None else f"E_F {self.fermi_energy:.3f} eV"
        where = "-".join(self.path.labels) or "list"
        gap = "" if self.gap is None else ", metal" if self.gap.is_metal else f", gap {self.gap.width:.3f} eV"
        name = f"{self.title}, " if self.title else ""
        return f"Bands {name}{where}, {len(self.path.k)} k-point{'s' * (len(self.path.k) > 1)}, {self.n_bands} bands, {fermi}{gap}"

    @property
    def n_bands(self) -> int:
        """Number of bands per spin channel."""
        return int(self.energies.shape[2])

    @property
    def levels(self) -> FloatArray:
        """(n_spin, n_k, n_bands) the energies in ascending order at each k, also of connected bands: column n is the n-th level."""
        known = np.isfinite(self.energies)
        outside = np.where(known.cumsum(axis=2) > 0, np.inf, -np.inf)  # above or below the window
        out = np.sort(np.where(known, self.energies, outside), axis=2)
        return np.where(np.isfinite(out), out, np.nan)

    @property
    def connected(self) -> "Bands":
        """The same levels and weights, column by column one band through its crossings, as far as these were followed."""
        order = self.order
        if order is None or order.shape != self.energies.shape:
            return self
        weights = {label: np.take_along_axis(weight, order, -1) for label, weight in self.weights.items()}
        errors = None if self.errors is None else np.take_along_axis(self.errors, order, -1)
        return replace(self, energies=np.take_along_axis(self.energies, order, -1), weights=weights, errors=errors, order=None)

    @property
    def gap(self) -> Gap | None:
        """What separates occupied from empty bands on the path, see :func:`postprocess.bands.gap.find_gap`."""
        if self.fermi_energy is None or not self.counted:
            return None
        return find_gap(self.levels, self.path.k, self.fermi_energy, self.first_band)

    def save(self, path: str | Path, *others: "Bands", **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``; as :meth:`plot`) or a table (:mod:`postprocess.output.tables`)."""
        from deeph.files.figures import SUFFIXES, save_figure
        from postprocess.output.tables import write_bands

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(*others, **options), Path(path), options.get("style"))
        elif others or options:
            raise UsageError(f"{path}: options of a figure, or other bands, do not go into a table; expected {', '.join(SUFFIXES)}")
        else:
            write_bands(Path(path), self)

    def plot(self, *others: "Bands", **options: Any) -> "Axes":
        """Draw the bands, fat ones if their weights are known.

        Parameters
        ----------
        *others : Bands
            Drawn with them: of the same path.
        **options
            ``window``, ``dots``, ``ax``, see :func:`postprocess.output.plot.plot_bands`; of fat bands ``window``, ``dos``, see
            :func:`postprocess.output.plot_fat.plot_fat_bands`.
        """
        from postprocess.output.plot import plot_bands
        from postprocess.output.plot_fat import plot_fat_bands

        if (self.weights or "dos" in options) and not others:
            return plot_fat_bands(self, **options)[0]
        return plot_bands([self, *others], **options)


def compute_bands(
    hamiltonian: Hamiltonian,
    path: KPath,
    *,
    fermi: FermiLevel | float | str | None = None,
    solver: SolverFactory | None = None,
    projectors: Sequence[Projector] = (),
    jobs: Jobs | None = None,
    title: str = "",
    connect: bool | None = None,
) -> Bands:
    """Band structure along a path.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    path : KPath
        See :func:`postprocess.lattice.kpath.make_kpath`.
    fermi : FermiLevel, float or "count", optional
        The Fermi level (a number in eV), or "count" to fill levels with the known number of electrons. By default that of the data, else
        from the number of electrons, else none.
    solver : SolverFactory, optional
        By default all bands by LAPACK.
    projectors : sequence of Projector
        For fat bands, see :func:`postprocess.states.projectors.make_projectors`.
    jobs : Jobs, optional
        Processes that share the k-points, see :class:`postprocess.states.kjobs.Jobs`.
    title : str
        Name for legends and tables.
    connect : bool, optional
        True: follow each band through its crossings instead of numbering the levels of each k, see :mod:`postprocess.bands.connect`.
        By default energies ascend, and small cells bring :attr:`Bands.order`, by which figures join them; False: without it.

    Raises
    ------
    DataError
        If there is no H, S(k) is not positive definite, or "count" is asked for without the number of electrons.
    """
    hamiltonian = hermitian(hamiltonian)
    further = [LevelErrors()] if hamiltonian.has_modes else []
    options: dict[str, Any] = {"solver": solver, "projectors": [*projectors, *further], "jobs": jobs}
    order = None
    if connect or (connect is None and is_followed(hamiltonian, path, solver)):
        spectrum, order = compute_connected(hamiltonian, path, **options)
    else:
        spectrum = compute_spectrum(hamiltonian, path.k, **options)
    solver = solver or Eigensolver()
    level = fermi if isinstance(fermi, FermiLevel) else find_fermi_level(hamiltonian, fermi, options=getattr(solver, "options", None))
    filled = (hamiltonian.n_electrons or 0.0) / (2 if hamiltonian.basis.spin == "none" else 1)
    if level is not None and level.sampled and spectrum.counted and len(spectrum.energies) == 1 and filled == int(filled):
        level = level.refined(spectrum.energies[0], int(filled) - spectrum.first_band)
    energy, origin = (None, "not known") if level is None else (level.energy, level.origin)
    weights = dict(spectrum.weights)
    errors = weights.pop(LEVEL_ERROR, None)
    signed = tuple(label for label in spectrum.signed if label != LEVEL_ERROR)
    found = Bands(
        spectrum.energies, path, energy, origin, title, spectrum.first_band, weights, signed, spectrum.counted, errors=errors,
        searched=_searched(solver, spectrum),
    )  # fmt: skip
    if order is not None and not connect:
        place = np.argsort(order, axis=-1)  # of each level among the bands
        found = replace(replace(found, order=place).connected, order=order)
    return replace(found, solver=f"{describe_solver(solver, hamiltonian.n_orbitals)}, {spectrum.describe()}")


def _searched(solver: SolverFactory, spectrum: Spectrum) -> FloatArray | None:
    """:attr:`Bands.searched`: the levels nearest an energy leave out none that is nearer than the farthest of them."""
    if not isinstance(solver, Eigensolver) or solver.is_everything or solver.bands is not None or spectrum.n_below is None:
        return None
    if solver.n_bands is None:
        low, high = (np.full(spectrum.n_below.shape, end) for end in (solver.low, solver.high))
    else:
        reach = np.nanmax(np.abs(spectrum.energies - solver.center), axis=-1)
        low, high = solver.center - reach, solver.center + reach
    return np.stack([low, high, spectrum.n_below], axis=-1)


def share_fermi_energy(bands: list[Bands]) -> list[Bands]:
    """Give those without a Fermi level the one of the first that has it: right for predictions on the energy zero of their DFT data."""
    known = next((b for b in bands if b.fermi_energy is not None), None)
    if known is None:
        return bands
    origin = f"taken from {known.title}"
    return [b if b.fermi_energy is not None else replace(b, fermi_energy=known.fermi_energy, fermi_origin=origin) for b in bands]
