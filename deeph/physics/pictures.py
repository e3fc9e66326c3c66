"""What users see of a Hamiltonian: contours, maps over the zone, edges, densities and wave functions in space."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deeph.physics.changes import ChangeableMatrices
from deeph.physics.cut import Direction
from deeph.physics.orbitals import Orbitals

if TYPE_CHECKING:
    from deeph.facade import Bands, Contours, Hamiltonian, Image, KPath, States, Volume, ZoneMap

RadialFunctions = str | Path | Mapping[int, Orbitals]
"""``orbitals.h5`` of deeph-overlap, or what it holds by atomic number."""


class Pictures(ChangeableMatrices):
    """Matrices, and what is drawn of them."""

    @property
    def _whole(self) -> "Hamiltonian":
        return cast("Hamiltonian", self)

    def contours(
        self,
        energies: float | Sequence[float] = 0.0,
        *,
        bands: Sequence[int] = (),
        plane: Any = None,
        mesh: tuple[int, int] | None = None,
        n_bands: int | None = None,
        curvature: bool = False,
        spin: bool = False,
        fermi: float | str | None = None,
        **options: Any,
    ) -> "Contours":
        """Lines of constant energy in the plane of a layer, or in a plane through a crystal; by default the Fermi contour.

        Parameters
        ----------
        energies : float or sequence
            eV from the Fermi level.
        bands : sequence of int
            Only these, counted from 0.
        plane : (h, k, l) or ((h, k, l), x), optional
            Of a crystal: h k1 + k k2 + l k3 = x.
        mesh : (n1, n2), optional
            k-points along both vectors of the plane; by default 20 per 1/Angstrom.
        n_bands : int, optional
            Of large cells: so many levels near the Fermi level.
        curvature, spin : bool
            Whether Berry curvature and spin are computed on the lines.
        fermi
            As for :meth:`Hamiltonian.bands`.
        **options
            ``tolerance``, the largest ``|E(k) - E|`` of a point (1e-5 eV); ``positions`` for the curvature, as for
            :meth:`Hamiltonian.berry_curvature`; ``around``, an energy (eV, on the zero of H) near which the ``n_bands`` are.

        Returns
        -------
        postprocess.contours.contours.Contours
            With ``lines``, ``plot(colour="curvature")`` and ``save("contours.pdf")``.
        """
        from deeph.facade import contours

        quantities = {"curvature": curvature, "spin": spin}
        search = {"bands": bands, "divisions": mesh}
        return contours(self._whole, energies, quantities, plane=plane, n_bands=n_bands, fermi=fermi, search=search, options=options)

    def zone_map(
        self,
        what: str,
        bands: int | Sequence[int],
        *,
        plane: Any = None,
        mesh: tuple[int, int] | None = None,
        spin: int = 0,
        arrows: bool = False,
        fermi: float | str | None = None,
        positions: str | None = None,
    ) -> "ZoneMap":
        """A quantity of a band over the zone.

        Parameters
        ----------
        what : {"energy", "curvature", "spin-x", "spin-y", "spin-z"}
            Which; the curvature also of a group of bands.
        bands : int or sequence of int
            Counted from 0.
        plane, mesh, fermi, positions
            As for :meth:`contours`.
        spin : int
            Channel of collinear spins.
        arrows : bool
            Whether the spin in the plane is computed besides.

        Returns
        -------
        postprocess.contours.quantities.ZoneMap
            With ``values``, ``plot()`` and ``save("map.pdf")``.
        """
        from deeph.facade import zone_map

        options = {"divisions": mesh, "source": positions}
        return zone_map(self._whole, what, bands, plane=plane, fermi=fermi, spin=spin, arrows=arrows, options=options)

    def edge_bands(
        self,
        direction: Direction,
        width: int,
        path: "str | Path | KPath | Any" = None,
        *,
        edge: int | None = None,
        points: int | None = None,
        n_bands: int | None = None,
        fermi: float | str | None = None,
    ) -> "Bands":
        """Bands of a ribbon or slab, and how much of each state is on either edge.

        Parameters
        ----------
        direction, width
            As for :meth:`cut`: so many cells across it.
        path, points, n_bands, fermi
            As for :meth:`Hamiltonian.bands`; energies are counted from the Fermi level of the crystal.
        edge : int, optional
            Cells that count as an edge; by default a tenth of the width.

        Returns
        -------
        postprocess.bands.bands.Bands
            With the weights ``edge 1`` and ``edge 2``, ``plot()`` and ``save("edges.pdf")``.
        """
        from deeph.facade import edge_bands

        return edge_bands(self._whole, direction, width, path, edge=edge, points=points, n_bands=n_bands, fermi=fermi)

    def local_density(
        self,
        window: tuple[float, float],
        orbitals: RadialFunctions,
        *,
        mesh: tuple[int, int, int] | None = None,
        width: float = 0.05,
        spacing: float = 0.15,
        fermi: float | str | None = None,
    ) -> "Volume":
        """Local density of states: how many electrons the levels of a window have at each point of the cell.

        Parameters
        ----------
        window : (low, high)
            eV from the Fermi level; equal: the density of states there, per eV.
        orbitals : path or mapping
            ``orbitals.h5`` of deeph-overlap.
        mesh : (n1, n2, n3), optional
            k-points; by default 10 per 1/Angstrom.
        width : float
            Standard deviation of a level, eV.
        spacing : float
            Of the points, Angstrom.
        fermi
            As for :meth:`Hamiltonian.bands`.

        Returns
        -------
        postprocess.states.volume.Volume
            With ``values`` in electrons/Angstrom^3, ``integral`` and ``save("valence.cube")``.
        """
        from deeph.facade import local_density

        options = {"mesh": mesh, "width": width, "fermi": fermi}
        return local_density(self._whole, window, orbitals, spacing=spacing, options=options)

    def stm(
        self,
        bias: float | tuple[float, float],
        orbitals: RadialFunctions,
        *,
        height: float = 2.0,
        mode: str = "height",
        side: str = "top",
        vacuum: float | None = None,
        mesh: tuple[int, int, int] | None = None,
        fermi: float | str | None = None,
        **options: Any,
    ) -> "Image":
        """Image of a layer in a scanning tunnelling microscope (Tersoff and Hamann).

        Parameters
        ----------
        bias : float or (low, high)
            V of the sample (levels between E_F and E_F + eV), or a window in eV from the Fermi level.
        orbitals, mesh, fermi
            As for :meth:`local_density`.
        height : float
            Angstrom above the outermost atom.
        mode : {"height", "current"}
            Constant height, or constant current.
        side : {"top", "bottom"}
            Of the layer.
        vacuum : float, optional
            Barrier above the Fermi level in eV, with which states are continued as in vacuum.
        **options
            ``current``, the density at constant current (electrons/Angstrom^3, by default that at ``height``); ``start``, the height
            where vacuum begins (1.5 Angstrom); ``width`` and ``spacing`` as for :meth:`local_density`.

        Returns
        -------
        postprocess.density.stm.Image
            With ``values``, ``plot()`` and ``save("stm.pdf")``.
        """
        from deeph.facade import stm

        tip = {"mode": mode, "height": height}
        return stm(self._whole, bias, orbitals, tip=tip, side=side, vacuum=vacuum, mesh=mesh, fermi=fermi, options=options)

    def states(
        self, k: Any, n_bands: int | None = None, around: float | str = "fermi", *, fermi: float | str | None = None
    ) -> "list[States]":
        """Eigenstates at some k: energies, coefficients, Mulliken populations.

        Parameters
        ----------
        k : (..., 3) array or str
            Fractional, or the name of a special point.
        n_bands, around, fermi
            As for :meth:`Hamiltonian.bands`.

        Returns
        -------
        list of postprocess.states.states.States
            One for each k, of collinear spins first all of spin up.
        """
        from deeph.facade import states

        return states(self._whole, k, n_bands=n_bands, around=around, fermi=fermi)

    def wave_functions(
        self,
        k: Any,
        orbitals: RadialFunctions,
        bands: Sequence[int] = (),
        *,
        signed: bool = True,
        n_bands: int | None = None,
        around: float | str = "fermi",
        spacing: float = 0.15,
        fermi: float | str | None = None,
    ) -> "list[Volume]":
        """Wave functions in space, with their sign and real where they can be, or their squares.

        Parameters
        ----------
        k, n_bands, around, fermi
            As for :meth:`states`.
        orbitals, spacing
            As for :meth:`local_density`.
        bands : sequence of int
            Only these, counted from 0.
        signed : bool
            psi, or ``|psi|^2``.

        Returns
        -------
        list of postprocess.states.volume.Volume
            In the order of :meth:`states`, with ``values`` (``parts`` of complex ones and of spinors) and ``save("psi.cube")``.
        """
        from deeph.facade import wave_functions

        options = {"n_bands": n_bands, "around": around, "fermi": fermi}
        return wave_functions(self._whole, k, orbitals, bands=bands, signed=signed, spacing=spacing, options=options)
