"""The central object: a structure with its basis and its matrices, and what users ask of it.

What it holds is in :mod:`deeph.physics.matrices`, what gives a changed one in :mod:`deeph.physics.changes`, what is
drawn of it in :mod:`deeph.physics.pictures`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.physics.pictures import Pictures
from deeph.physics.system import FloatArray

if TYPE_CHECKING:
    from deeph.facade import (
        DOS,
        Bands,
        Curvature,
        FermiResponse,
        HallConductivity,
        KPath,
        LargeConductivity,
        OpticalResponse,
        Populations,
        SecondOrder,
    )

Divisions = tuple[int, int, int]
"""k-points along the reciprocal vectors."""


class Hamiltonian(Pictures):
    """A System, a Basis and the matrices between its orbitals; its attributes are those of :class:`deeph.physics.matrices.Matrices`."""

    def symmetrized(self, tolerance: float = 1e-3) -> "Hamiltonian":
        """H, S, r and the moments averaged over the group that keeps structure and moments, with time reversal where it is kept.

        DFT on a real-space grid breaks the symmetry of its own crystal by up to some ten meV in single elements of H. What was changed is
        logged; once more changes nothing. Atoms are put where the symmetry has them to rounding.

        Parameters
        ----------
        tolerance : float
            How far an atom may lie from the image of another one, Angstrom.

        Returns
        -------
        Hamiltonian
            A new one with the same Fermi level, without error bars.

        Raises
        ------
        DataError
            If H or S is not Hermitian, or what was found is no group.
        UsageError
            If the tolerance is no length.

        Notes
        -----
        Spins turn with the lattice where there is spin-orbit coupling and stay where there is none; see docs/symmetry.md.
        """
        from deeph.facade import symmetrized

        return symmetrized(self, tolerance)

    def bands(
        self,
        path: "str | Path | KPath | Any" = None,
        n_bands: int | None = None,
        around: float | str = "fermi",
        *,
        fermi: float | str | None = None,
        points: int | None = None,
        projections: str | Sequence[str] = (),
    ) -> "Bands":
        """Band structure along a path; of a molecule its levels.

        Parameters
        ----------
        path : str, path, KPath or ase.dft.kpoints.BandPath, optional
            Labels such as ``"GMKG"``, also with coordinates (``"G M=1/2,0,0"``), or a file that holds a path; by default the usual one of
            the lattice.
        n_bands : int, optional
            Only so many levels nearest ``around`` at each k, by a sparse solver in large cells; by default all.
        around : float or "fermi"
            Energy in eV on the zero of H.
        fermi : float or "count", optional
            Fermi level in eV, or "count" to fill levels with the electrons; by default the one that is known, else counted.
        points : int, optional
            k-points of the whole path.
        projections : str or sequence of str
            What the states are made of, for fat bands: some of "element", "shell", "atom", "layer", "spin".

        Returns
        -------
        postprocess.bands.bands.Bands
            With ``energies``, ``fermi_energy``, ``gap``, ``plot()`` and ``save("bands.pdf")``.

        Raises
        ------
        DataError
            If there is no H, or the Fermi level is needed but not known.
        UsageError
            If a label is not one of this lattice, or the cell is too large for all bands.
        """
        from deeph.facade import bands

        return bands(self, path, n_bands, around, fermi=fermi, points=points, projections=projections)

    def dos(
        self,
        window: tuple[float, float] | None = None,
        *,
        width: float | None = None,
        mesh: tuple[int, int, int] | None = None,
        projections: str | Sequence[str] = (),
        fermi: float | str | None = None,
    ) -> "DOS":
        """Density of states: by tetrahedra (triangles, intervals), of large cells by the kernel polynomial method.

        Parameters
        ----------
        window : (low, high), optional
            eV from the Fermi level, absolute if that is not known; by default -10 to 10 eV around it, else all levels.
        width : float, optional
            Standard deviation in eV of Gaussians instead of tetrahedra; in large cells that of the kernel (0.1).
        mesh : (n1, n2, n3), optional
            k-points; by default 10 per 1/Angstrom, and the special points among them.
        projections : str or sequence of str
            Some of "element", "shell", "atom", "layer", "spin".
        fermi
            As in :meth:`bands`.

        Returns
        -------
        postprocess.density.dos.DOS
            With ``energies``, ``density``, ``plot()`` and ``save("dos.csv")``.
        """
        from deeph.facade import dos

        return dos(self, window, width=width, mesh=mesh, projections=projections, fermi=fermi)

    def eigenvalues(self, k: Any = (0.0, 0.0, 0.0)) -> FloatArray:
        """All levels at any k, by dense matrices.

        Parameters
        ----------
        k : str or (..., 3) array
            Fractional, or the name of a special point such as ``"K"``; Gamma by default.

        Returns
        -------
        (..., n_orbitals) array
            eV, ascending, on the energy zero of H; for collinear spin (2, ..., n_orbitals), up and down.

        Raises
        ------
        DataError
            If there is no H, or S(k) is not positive definite.
        UsageError
            If k is something else, or the cell is too large for dense matrices.
        """
        from deeph.facade import eigenvalues

        return eigenvalues(self, k)

    def mulliken(
        self, mesh: Divisions | None = None, *, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), temperature: float = 300.0
    ) -> "Populations":
        """Mulliken electrons and moments of the atoms, from all occupied states on a mesh.

        Parameters
        ----------
        mesh : (n1, n2, n3), optional
            k-points; by default 5 per 1/Angstrom (with 2 pi).
        shift : (x, y, z)
            Of the mesh, in steps.
        temperature : float
            Of the Fermi-Dirac occupation, Kelvin; 0 fills the levels from below.

        Returns
        -------
        postprocess.states.populations.Populations
            With ``electrons``, ``moments``, ``total_moment`` (Bohr magneton) and ``fermi_energy``.

        Raises
        ------
        DataError
            If there is no H, or the number of electrons is not known.
        UsageError
            If the mesh or the temperature is none, or the cell is too large for dense matrices.

        Notes
        -----
        The total moment of a collinear H is a whole number if there is a gap: to rounding at ``temperature=0``.
        """
        from deeph.facade import mulliken

        return mulliken(self, mesh, shift=shift, temperature=temperature)

    def band_energy(
        self, mesh: Divisions | None = None, *, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), temperature: float = 300.0
    ) -> float:
        """Sum of the occupied levels, both spins, on the energy zero of H.

        Its change as the exchange field of one H is turned, all else kept, estimates that of the total energy: the magnetic force theorem
        (A. I. Liechtenstein et al., doi:10.1016/0304-8853(87)90721-9; G. H. O. Daalderop, P. J. Kelly and M. F. H. Schuurmans,
        doi:10.1103/PhysRevB.41.11919). Of two H with densities of their own it does not: see :mod:`postprocess.states.band_energy`.

        Parameters
        ----------
        mesh, shift, temperature
            As for :meth:`mulliken`.

        Returns
        -------
        float
            eV per cell.

        Raises
        ------
        DataError, UsageError
            As :meth:`mulliken`.
        """
        from deeph.facade import band_energy

        return band_energy(self, mesh, shift=shift, temperature=temperature)

    def berry_curvature(
        self,
        path: "str | Path | KPath | Any" = None,
        bands: Sequence[int] = (),
        *,
        mesh: Divisions | None = None,
        points: int | None = None,
        fermi: float | str | None = None,
        positions: str | None = None,
        solver: str = "auto",
    ) -> "Curvature":
        """Berry curvature along a path or on a mesh, with the metric, the orbital moment and the spin of each level.

        Parameters
        ----------
        path, points, fermi
            As for :meth:`bands`.
        bands : sequence of int
            Levels, counted from 0, taken as one group; by default those below the Fermi level.
        mesh : (n1, n2, n3), optional
            Instead of a path.
        positions : {"matrix", "atoms"}, optional
            The position matrix, or (tau_i + tau_j)/2 S; by default the matrix if there is one.
        solver : {"auto", "dense", "sparse"}
            Dense matrices, or sparse states and linear solves for neighbouring bands near the Fermi level; by default by size.

        Returns
        -------
        postprocess.geometry.curvature.Curvature
            With ``curl`` (n_spin, n_k, 3) in Angstrom^2, ``plot()`` and ``save("berry.pdf")``.
        """
        from deeph.facade import berry_curvature

        return berry_curvature(self, path, bands, mesh=mesh, points=points, fermi=fermi, positions=positions, solver=solver)

    def hall_conductivity(
        self,
        mesh: Divisions | None = None,
        *,
        window: tuple[float, float] | None = None,
        points: int = 201,
        temperature: float = 0.0,
        fermi: float | str | None = None,
        rounds: int = 3,
        tolerance: float = 0.01,
        positions: str | None = None,
    ) -> "HallConductivity":
        """Intrinsic anomalous Hall conductivity, S/cm of a crystal, e^2/h of a layer.

        Parameters
        ----------
        mesh : (n1, n2, n3), optional
            k-points; by default 10 per 1/Angstrom.
        window : (low, high), optional
            Further Fermi levels, eV from the Fermi energy, and ``points`` of them.
        temperature : float
            Of the occupation, Kelvin.
        rounds, tolerance
            Of refinement where the curvature varies, until a round changes less.
        fermi, positions
            As for :meth:`berry_curvature`.

        Returns
        -------
        postprocess.geometry.hall.HallConductivity
            With ``at_fermi``, ``sigma``, ``integral``, ``plot()`` and ``save("hall.csv")``.
        """
        from deeph.facade import hall_conductivity

        options: dict[str, Any] = {"window": window, "points": points, "temperature": temperature, "positions": positions}
        return hall_conductivity(self, mesh, fermi=fermi, rounds=rounds, tolerance=tolerance, **options)

    def optics(
        self,
        mesh: Divisions | None = None,
        what: str = "conductivity",
        *,
        photons: tuple[float, float] = (0.0, 6.0),
        points: int = 301,
        broadening: float = 0.05,
        fermi: float | str | None = None,
        method: str = "auto",
        **options: Any,
    ) -> "OpticalResponse | SecondOrder | LargeConductivity":
        """Response to light against the photon energy.

        Parameters
        ----------
        mesh : (n1, n2, n3), optional
            k-points; by default 10 per 1/Angstrom.
        what : {"conductivity", "shift", "injection", "harmonic"}
            Conductivity and dielectric function, shift current, injection current or second harmonic.
        photons : (low, high)
            eV, with ``points`` energies.
        broadening : float
            Standard deviation of the transitions, eV.
        fermi
            As for :meth:`bands`.
        method : {"auto", "dense", "levels", "kpm"}
            Of the conductivity of large cells: from the levels that the photons reach, or by kernel polynomials; by default by size.
        **options
            ``temperature``, ``relaxation``, ``scissor``, ... of :class:`postprocess.response.transitions.LightSettings`, of large cells
            those of :class:`postprocess.large.settings.ConductivitySettings`.

        Returns
        -------
        OpticalResponse, SecondOrder or LargeConductivity
            With ``energies``, ``plot()`` and ``save("optics.pdf")``.
        """
        from deeph.facade import optics

        light: dict[str, Any] = {"photons": photons, "points": points, "broadening": broadening}
        return optics(self, mesh, what, fermi=fermi, method=method, options=options, **light)

    def static_response(
        self,
        what: str,
        mesh: Divisions | None = None,
        *,
        window: tuple[float, float] | None = None,
        points: int = 201,
        temperature: float | None = None,
        fermi: float | str | None = None,
        rounds: int = 3,
        tolerance: float = 0.01,
        positions: str | None = None,
    ) -> "dict[str, FermiResponse]":
        """Response to static fields against the Fermi level.

        Parameters
        ----------
        what : {"transport", "spin-hall", "nernst", "dipole"}
            Drude weight, conductivity, Seebeck coefficient and heat conductivity; spin Hall conductivity; anomalous Nernst coefficient;
            Berry-curvature dipole.
        mesh, window, points, fermi, rounds, tolerance, positions
            As for :meth:`hall_conductivity`.
        temperature : float, optional
            Of the occupation, Kelvin; by default 0 of spin-hall, else 300.

        Returns
        -------
        dict of str to postprocess.response.scan.FermiResponse
            By name, with ``at_fermi``, ``values``, ``plot()`` and ``save("nernst.csv")``.
        """
        from deeph.facade import static_response

        options = {"points": points, "temperature": temperature, "rounds": rounds, "tolerance": tolerance, "positions": positions}
        return static_response(self, mesh, what, window=window, fermi=fermi, options=options)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write a structure folder, which every command reads; atoms are put in the order of the elements.

        Parameters
        ----------
        folder : path
            Must not exist unless ``overwrite``; it appears complete or not at all.
        overwrite : bool
            Whether to replace what is there.
        """
        from deeph.facade import save

        save(self, folder, overwrite=overwrite)

    def export(self, to: str, out: str | Path, **options: Any) -> None:
        """Write H, S and r for another program: ``h.export("wannier90", "folder", mesh=(12, 12, 1))``.

        Parameters
        ----------
        to : str
            "wannier90", "wanniertools", "sisl", "pythtb", "wannierberri", "hoptb", "deeptb", "hamgnn" or "petsc".
        out : path
            A new folder; of "sisl" (.TSHS, .HSX, .nc) and "hamgnn" (.npz) a file.
        **options
            As of :func:`postprocess.export.formats.export`: ``mesh``, ``k``, ``scalars``, ``zero``, ``overwrite``.
        """
        from deeph.facade import export

        export(self, to, out, options)

    def to_sisl(self, *, zero: str = "h") -> Any:
        """A ``sisl.Hamiltonian`` with S, of any spin; ``zero="fermi"`` puts the Fermi level at 0, where TBtrans expects it."""
        return self._made("sisl", zero=zero)

    def to_pythtb(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``pythtb.tb_model`` of orthonormal (Loewdin) orbitals, made on a mesh of k-points; the truncation error is told."""
        return self._made("pythtb", mesh=mesh, zero=zero)

    def to_wannierberri(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``wannierberri.System_R`` with H and r of orthonormal (Loewdin) orbitals; see :meth:`to_pythtb`."""
        return self._made("wannierberri", mesh=mesh, zero=zero)

    def to_kwant(self, *, mesh: Divisions | None = None, zero: str = "h") -> Any:
        """A ``kwant.Builder`` of the bulk with orthonormal (Loewdin) orbitals, one site an atom; see :meth:`to_pythtb`."""
        return self._made("kwant", mesh=mesh, zero=zero)

    def _made(self, to: str, **options: Any) -> Any:
        from deeph.facade import make

        return make(self, to, options)
