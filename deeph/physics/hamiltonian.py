"""The central object: a structure with its basis and its matrices, and what users ask of it.

What it holds is in :mod:`deeph.physics.matrices`, what gives a changed one in :mod:`deeph.physics.changes`, what is
drawn of it in :mod:`deeph.physics.pictures`, how it responds to fields in :mod:`deeph.physics.responses`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.physics.responses import Divisions, Responses
from deeph.physics.system import FloatArray

if TYPE_CHECKING:
    from deeph.facade import (
        DOS,
        Bands,
        KPath,
        Populations,
    )


class Hamiltonian(Responses):
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
