"""Berry curvatures and responses: what the methods of a Hamiltonian call."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from deeph.facade.spectra import as_divisions, as_fermi, as_path
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from postprocess.geometry.curvature import Curvature
    from postprocess.geometry.hall import HallConductivity
    from postprocess.geometry.positions import Source
    from postprocess.large.conductivity import LargeConductivity
    from postprocess.response.optics import OpticalResponse
    from postprocess.response.scan import FermiResponse
    from postprocess.response.second_order import Direct, SecondOrder
    from postprocess.states.fermi import FermiLevel


def berry_curvature(
    h: Hamiltonian,
    path: Any,
    bands: Sequence[int],
    *,
    mesh: Divisions | None,
    points: int | None,
    fermi: float | str | None,
    positions: str | None,
    solver: str,
) -> "Curvature":
    """What :meth:`deeph.Hamiltonian.berry_curvature` does."""
    from postprocess.geometry.curvature import compute_curvature
    from postprocess.states.batches import LARGEST
    from postprocess.states.fermi import find_fermi_level

    if mesh is not None and (path is not None or points is not None):
        raise UsageError("both a mesh and a path are given: expected one of them")
    where = as_path(h, path, points) if mesh is None else as_divisions(mesh)
    options: dict[str, Any] = {"source": positions, "title": h.system.formula}
    if solver == "sparse" or (solver == "auto" and h.n_orbitals > LARGEST):
        return _sparse_curvature(h, where, bands, fermi, options)
    if solver not in ("auto", "dense"):
        raise UsageError(f"solver {solver!r}: expected 'auto', 'dense' or 'sparse'")
    _check_size(h)
    return compute_curvature(h, where, find_fermi_level(h, as_fermi(fermi), needed=not bands), group=bands, **options)


def _sparse_curvature(h: Hamiltonian, where: Any, bands: Sequence[int], fermi: float | str | None, options: dict[str, Any]) -> "Curvature":
    """Of neighbouring bands near the Fermi level, without dense matrices."""
    from postprocess.large.find_group import Bands
    from postprocess.large.group_curvature import group_curvature

    if not bands or list(bands) != list(range(bands[0], bands[-1] + 1)):
        raise UsageError(
            f"{h.n_orbitals} orbitals without dense matrices: expected neighbouring bands near the Fermi level, bands=range(n, m)"
        )
    level = fermi_level(h, fermi)
    found, _ = group_curvature(h, where, Bands(bands[0], bands[-1] + 1, level.energy), **options)
    return replace(found, fermi_energy=level.energy, fermi_origin=level.origin)


def hall_conductivity(
    h: Hamiltonian,
    mesh: Divisions | None,
    *,
    window: tuple[float, float] | None,
    points: int,
    temperature: float,
    fermi: float | str | None,
    rounds: int,
    tolerance: float,
    positions: str | None,
) -> "HallConductivity":
    """What :meth:`deeph.Hamiltonian.hall_conductivity` does."""
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.geometry.hall import hall_conductivity
    from postprocess.states.adaptive import Refinement

    scan = FermiScan(*(window or (0.0, 0.0)), points if window else 1, temperature)
    options: dict[str, Any] = {"scan": scan, "refinement": Refinement(rounds, tolerance), "source": positions, "title": h.system.formula}
    return hall_conductivity(h, _level(h, fermi), None if mesh is None else as_divisions(mesh), **options)


def optics(
    h: Hamiltonian,
    mesh: Divisions | None,
    what: str,
    *,
    photons: tuple[float, float],
    points: int,
    broadening: float,
    fermi: float | str | None,
    method: str,
    options: dict[str, Any],
) -> "OpticalResponse | SecondOrder | LargeConductivity":
    """What :meth:`deeph.Hamiltonian.optics` does."""
    from postprocess.response.harmonic import second_harmonic
    from postprocess.response.light import Broadening, Photons
    from postprocess.response.optics import optical_response
    from postprocess.response.second_order import DIRECT, direct_current
    from postprocess.response.transitions import LightSettings
    from postprocess.states.batches import LARGEST

    kinds = ("conductivity", *DIRECT, "harmonic")
    if what not in kinds:
        raise UsageError(f"response {what!r}: expected one of {', '.join(kinds)}")
    divisions = None if mesh is None else as_divisions(mesh)
    if method != "dense" and (method != "auto" or h.n_orbitals > LARGEST):
        if what != "conductivity":
            raise UsageError(f"{what} of {h.n_orbitals} orbitals without dense matrices: expected the conductivity")
        return _large_conductivity(h, divisions, method, fermi, {"photons": Photons(*photons, points), "width": broadening, **options})
    check_names(options, *_names(LightSettings, "divisions", "photons", "broadening", "title"))
    settings = LightSettings(divisions, Photons(*photons, points), Broadening(broadening), title=h.system.formula, **options)
    level = _level(h, fermi)
    if what == "conductivity":
        return optical_response(h, level, settings)
    return second_harmonic(h, level, settings) if what == "harmonic" else direct_current(h, cast("Direct", what), level, settings)


def _large_conductivity(
    h: Hamiltonian, mesh: Divisions | None, method: str, fermi: float | str | None, options: dict[str, Any]
) -> "LargeConductivity":
    """From the levels near the Fermi energy, or by kernel polynomials."""
    from postprocess.large.conductivity import kubo_conductivity, level_conductivity
    from postprocess.large.settings import ConductivitySettings

    methods = {"auto": level_conductivity, "levels": level_conductivity, "kpm": kubo_conductivity}
    if method not in methods:
        raise UsageError(f"method {method!r}: expected one of auto, dense, levels, kpm")
    check_names(options, *_names(ConductivitySettings, "divisions", "title"))
    settings = ConductivitySettings(mesh, title=h.system.formula, **options)
    return methods[method](h, fermi_level(h, fermi), settings)


def static_response(
    h: Hamiltonian,
    mesh: Divisions | None,
    what: str,
    *,
    window: tuple[float, float] | None,
    fermi: float | str | None,
    options: dict[str, Any],
) -> "dict[str, FermiResponse]":
    """What :meth:`deeph.Hamiltonian.static_response` does."""
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.response import anomalous
    from postprocess.response.scan import Settings
    from postprocess.response.transport import transport
    from postprocess.states.adaptive import Refinement

    functions = {
        "spin-hall": anomalous.spin_hall_conductivity, "nernst": anomalous.nernst_coefficient, "dipole": anomalous.curvature_dipole,
    }  # fmt: skip
    if what not in (*functions, "transport"):
        raise UsageError(f"response {what!r}: expected one of transport, {', '.join(functions)}")
    warm = options["temperature"] if options["temperature"] is not None else 0.0 if what == "spin-hall" else 300.0
    scan = FermiScan(*(window or (0.0, 0.0)), options["points"] if window else 1, warm)
    refinement = Refinement(options["rounds"], options["tolerance"])
    divisions = None if mesh is None else as_divisions(mesh)
    settings = Settings(divisions, scan, cast("Source | None", options["positions"]), refinement, title=h.system.formula)
    if what == "transport":
        return transport(h, _level(h, fermi), settings)
    return {what: functions[what](h, _level(h, fermi), settings)}


def _level(h: Hamiltonian, fermi: float | str | None) -> "FermiLevel":
    """The Fermi level of a cell for dense matrices."""
    _check_size(h)
    return fermi_level(h, fermi)


def fermi_level(h: Hamiltonian, fermi: float | str | None) -> "FermiLevel":
    """The Fermi level, which has to be known."""
    from postprocess.states.fermi import find_fermi_level

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    level = find_fermi_level(h, as_fermi(fermi), needed=True)
    if level is None:  # needed
        raise UsageError("the Fermi level is not known: give fermi=")
    return level


def _check_size(h: Hamiltonian) -> None:
    from postprocess.states.batches import LARGEST

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for the dense matrices of responses; expected {LARGEST} at most")


def check_names(options: dict[str, Any], *known: str) -> None:
    """Refuse options that a method does not have."""
    if wrong := [name for name in options if name not in known]:
        raise UsageError(f"option {wrong[0]!r}: expected one of {', '.join(known)}")


def _names(settings: Any, *taken: str) -> list[str]:
    """Names of settings, but for those that are given otherwise."""
    return [one.name for one in fields(settings) if one.name not in taken]
