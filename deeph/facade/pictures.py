"""Contours, maps, densities and wave functions in space, edges of ribbons: what the methods of a Hamiltonian call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deeph.facade.geometry import check_names, fermi_level
from deeph.facade.spectra import as_divisions, as_fermi, as_k, as_path
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.orbitals import Orbitals
from deeph.physics.pictures import RadialFunctions
from deeph.physics.responses import Divisions
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from deeph.physics.cut import Direction
    from postprocess.bands.bands import Bands
    from postprocess.contours.maps import ZoneMap
    from postprocess.contours.plane import KPlane
    from postprocess.contours.quantities import Quantity
    from postprocess.contours.result import Contours
    from postprocess.density.local import Share
    from postprocess.density.stm import Image
    from postprocess.density.surface import Side
    from postprocess.eigen.solver import Eigensolver
    from postprocess.states.fermi import FermiLevel
    from postprocess.states.states import States
    from postprocess.states.volume import Volume


def contours(
    h: Hamiltonian,
    energies: float | Sequence[float],
    quantities: dict[str, bool],
    *,
    plane: Any,
    n_bands: int | None,
    fermi: float | str | None,
    search: dict[str, Any],
    options: dict[str, Any],
) -> "Contours":
    """What :meth:`deeph.Hamiltonian.contours` does."""
    from postprocess.contours.contours import find_contours
    from postprocess.contours.quantities import check_quantities, with_quantities

    check_names(options, "tolerance", "positions", "around")
    if any(quantities.values()):
        check_quantities(h, spin=quantities["spin"])
    level = fermi_level(h, fermi)
    solver = _solver(h, n_bands, options.get("around", level.energy))
    accuracy = {name: value for name, value in options.items() if name == "tolerance"}
    found = find_contours(h, _plane(h, plane), np.atleast_1d(energies).tolist(), fermi=level, solver=solver, **search, **accuracy)
    if any(quantities.values()):
        wanted: dict[str, Any] = {**quantities, "source": options.get("positions")}
        found = with_quantities(found, h, **wanted)
    return replace(found, title=h.system.formula)


def zone_map(
    h: Hamiltonian,
    what: str,
    bands: int | Sequence[int],
    *,
    plane: Any,
    fermi: float | str | None,
    spin: int,
    arrows: bool,
    options: dict[str, Any],
) -> "ZoneMap":
    """What :meth:`deeph.Hamiltonian.zone_map` does."""
    from postprocess.contours.maps import MapOf, compute_map
    from postprocess.states.fermi import find_fermi_level

    of = MapOf(cast("Quantity", what), [bands] if isinstance(bands, int) else list(bands), spin, arrows)
    level = find_fermi_level(h, as_fermi(fermi), needed=False)
    return compute_map(h, _plane(h, plane), of, fermi=level, title=h.system.formula, **options)


def edge_bands(
    h: Hamiltonian,
    direction: "Direction",
    width: int,
    path: Any,
    *,
    edge: int | None,
    points: int | None,
    n_bands: int | None,
    fermi: float | str | None,
) -> "Bands":
    """What :meth:`deeph.Hamiltonian.edge_bands` does."""
    from postprocess.bands.bands import compute_bands
    from postprocess.states.fermi import UNKNOWN, find_fermi_level
    from postprocess.states.projectors import make_projectors

    cells = max(1, width // 10) if edge is None else edge
    if width < 2 or not 1 <= cells <= width // 2:
        raise UsageError(f"{width} cells with edges of {cells}: expected two cells or more, and edges that do not meet")
    level, ribbon = find_fermi_level(h, as_fermi(fermi)), h.cut(direction, width)
    n, outer = ribbon.system.n_atoms, ribbon.system.n_atoms // width * cells
    groups = {"edge 1": range(outer), "edge 2": range(n - outer, n)}
    solver = _solver(ribbon, n_bands, 0.0 if level is None else level.energy)
    found = compute_bands(
        ribbon, as_path(ribbon, path, points), fermi=level or UNKNOWN, solver=solver, projectors=make_projectors(ribbon, (), groups),
        title=f"{h.system.formula}, {width} cells",
    )  # fmt: skip
    return found if level is None else replace(found, fermi_origin="that of the crystal that was cut")


def local_density(
    h: Hamiltonian, window: tuple[float, float], orbitals: RadialFunctions, *, spacing: float, options: dict[str, Any]
) -> "Volume":
    """What :meth:`deeph.Hamiltonian.local_density` does."""
    from postprocess.density.local import local_density
    from postprocess.states.grid import Grid
    from postprocess.states.realspace import check_size
    from postprocess.states.volume import Volume

    grid, functions = Grid.with_spacing(h.system, spacing), _orbitals(orbitals)
    check_size(grid, 1)
    shares, _ = _shares(h, window, **options)
    comment = f"local density of states from {window[0]:g} to {window[1]:g} eV"
    return Volume(grid, {"": local_density(shares, functions, grid, h)}, comment)


def stm(
    h: Hamiltonian,
    bias: float | tuple[float, float],
    orbitals: RadialFunctions,
    *,
    tip: dict[str, Any],
    side: str,
    vacuum: float | None,
    mesh: Divisions | None,
    fermi: float | str | None,
    options: dict[str, Any],
) -> "Image":
    """What :meth:`deeph.Hamiltonian.stm` does."""
    from postprocess.density.local import WIDTH
    from postprocess.density.stm import Tip, take_image
    from postprocess.density.surface import Surface
    from postprocess.density.vacuum import Vacuum

    check_names(options, "current", "start", "width", "spacing")
    low, high = bias if isinstance(bias, tuple | list) else sorted((0.0, bias))
    if tip["mode"] not in ("height", "current") or side not in ("top", "bottom"):
        raise UsageError(f"mode {tip['mode']!r}, side {side!r}: expected 'height' or 'current', and 'top' or 'bottom'")
    surface, functions = Surface.of(h, cast("Side", side)), _orbitals(orbitals)
    shares, level = _shares(h, (low, high), mesh=mesh, width=options.get("width", WIDTH), fermi=fermi)
    above = None if vacuum is None else Vacuum(level.energy + vacuum, options.get("start", Vacuum.start))
    moves = Tip(**tip, **{name: options[name] for name in ("current", "spacing") if name in options})
    what = f"levels from {low:+g} to {high:+g} eV" if low < high else f"dI/dV at {low:+g} eV"
    return take_image(shares, functions, h, surface, moves, vacuum=above, what=what, title=h.system.formula)


def states(h: Hamiltonian, k: Any, *, n_bands: int | None, around: float | str, fermi: float | str | None) -> "list[States]":
    """What :meth:`deeph.Hamiltonian.states` does."""
    from postprocess.eigen.hermitian import hermitian
    from postprocess.states.integrate import evaluate
    from postprocess.states.spectrum import LevelsAndWeights, kept_states

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    points = as_k(h, k).reshape(-1, 3)
    center = 0.0 if n_bands is None else fermi_level(h, fermi).energy if isinstance(around, str) else float(around)
    data = hermitian(h)
    results, place = evaluate(data, points, LevelsAndWeights(keep="complex128"), solver=_solver(h, n_bands, center))
    return list(kept_states(data, points, results.arranged(place)))


def wave_functions(
    h: Hamiltonian, k: Any, orbitals: RadialFunctions, *, bands: Sequence[int], signed: bool, spacing: float, options: dict[str, Any]
) -> "list[Volume]":
    """What :meth:`deeph.Hamiltonian.wave_functions` does."""
    from postprocess.states.grid import Grid
    from postprocess.states.volume import volumes_of_states

    functions, grid, out = _orbitals(orbitals), Grid.with_spacing(h.system, spacing), []
    for found in states(h, k, **options):
        first = found.levels.first
        if bands and (first is None or not first <= min(bands) <= max(bands) < first + len(found.energies)):
            raise UsageError(
                f"bands {list(bands)}: expected numbers from 0 of the {len(found.energies)} states that are computed at each k"
            )
        chosen = np.array(bands) - (first or 0) if bands else np.arange(len(found.energies))
        out += volumes_of_states(replace(found, levels=found.levels.chosen(chosen, None, None)), functions, grid, signed=signed)
    return out


def _shares(
    h: Hamiltonian, window: tuple[float, float], *, mesh: Divisions | None, width: float, fermi: float | str | None
) -> "tuple[list[Share], FermiLevel]":
    """States between two energies from the Fermi level."""
    from postprocess.density.local import LevelWindow, states_in_window
    from postprocess.lattice.mesh import mesh_divisions

    level = fermi_level(h, fermi)
    low, high = window
    divisions = mesh_divisions(h) if mesh is None else as_divisions(mesh)
    return states_in_window(h, divisions, LevelWindow(level.energy + low, level.energy + high, width)), level


def _orbitals(given: RadialFunctions) -> Mapping[int, Orbitals]:
    from deeph.files.orbitals_file import read_orbitals

    return given if isinstance(given, Mapping) else read_orbitals(Path(given).expanduser())


def _plane(h: Hamiltonian, plane: Any) -> "KPlane":
    """The plane of a layer, or ``(h, k, l)`` or ``((h, k, l), offset)`` of a crystal."""
    from postprocess.contours.plane import make_plane

    if plane is None:
        return make_plane(h)
    try:
        miller, offset = (plane, 0.0) if len(plane) == 3 else plane
        a, b, c = map(index, miller)
        return make_plane(h, (a, b, c), float(offset))
    except (TypeError, ValueError) as error:
        raise UsageError(f"plane {plane!r}: expected three integers (h, k, l), or ((h, k, l), x) for h k1 + k k2 + l k3 = x") from error


def _solver(h: Hamiltonian, n_bands: int | None, center: float) -> "Eigensolver":
    """All levels by dense matrices, or some near an energy."""
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.eigen.solver import Eigensolver

    if n_bands is not None:
        return Eigensolver(n_bands=n_bands, center=center)
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for all levels; ask for some near the Fermi level: n_bands=30")
    return Eigensolver()
