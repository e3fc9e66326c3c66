"""How electrons respond to fields: Berry curvature, Hall conductivity, light, static fields."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deeph.physics.pictures import Pictures

if TYPE_CHECKING:
    from pathlib import Path

    from deeph.facade import Curvature, FermiResponse, HallConductivity, KPath, LargeConductivity, OpticalResponse, SecondOrder

Divisions = tuple[int, int, int]
"""k-points along the reciprocal vectors."""


class Responses(Pictures):
    """Matrices, what is drawn of them, and their responses."""

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
            As for :meth:`Hamiltonian.bands`.
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

        return berry_curvature(self._whole, path, bands, mesh=mesh, points=points, fermi=fermi, positions=positions, solver=solver)

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
        return hall_conductivity(self._whole, mesh, fermi=fermi, rounds=rounds, tolerance=tolerance, **options)

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
            As for :meth:`Hamiltonian.bands`.
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
        return optics(self._whole, mesh, what, fermi=fermi, method=method, options=options, **light)

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
        return static_response(self._whole, mesh, what, window=window, fermi=fermi, options=options)
