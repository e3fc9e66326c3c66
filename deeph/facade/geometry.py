"""Berry curvatures and responses: what the methods of a Hamiltonian call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from deeph.facade.spectra import as_divisions, as_fermi, as_path
from deeph.physics.hamiltonian import Divisions, Hamiltonian
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from postprocess.geometry.curvature import Curvature
    from postprocess.geometry.hall import HallConductivity
    from postprocess.geometry.positions import Source
    from postprocess.response.optics import OpticalResponse
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
) -> "Curvature":
    """What :meth:`deeph.Hamiltonian.berry_curvature` does."""
    from postprocess.geometry.curvature import compute_curvature
    from postprocess.states.fermi import find_fermi_level

    _check_size(h)
    if mesh is not None and (path is not None or points is not None):
        raise UsageError("both a mesh and a path are given: expected one of them")
    where = as_path(h, path, points) if mesh is None else as_divisions(mesh)
    level = find_fermi_level(h, as_fermi(fermi), needed=not bands)
    return compute_curvature(h, where, level, group=bands, source=cast("Source | None", positions), title=h.system.formula)


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
    options: dict[str, Any],
) -> "OpticalResponse | SecondOrder":
    """What :meth:`deeph.Hamiltonian.optics` does."""
    from postprocess.response.harmonic import second_harmonic
    from postprocess.response.light import Broadening, Photons
    from postprocess.response.optics import optical_response
    from postprocess.response.second_order import DIRECT, direct_current
    from postprocess.response.transitions import LightSettings

    kinds = ("conductivity", *DIRECT, "harmonic")
    if what not in kinds:
        raise UsageError(f"response {what!r}: expected one of {', '.join(kinds)}")
    divisions = None if mesh is None else as_divisions(mesh)
    try:
        settings = LightSettings(divisions, Photons(*photons, points), Broadening(broadening), title=h.system.formula, **options)
    except TypeError as error:
        raise UsageError(f"options {', '.join(options)}: {error}; see postprocess.response.transitions.LightSettings") from error
    level = _level(h, fermi)
    if what == "conductivity":
        return optical_response(h, level, settings)
    return second_harmonic(h, level, settings) if what == "harmonic" else direct_current(h, cast("Direct", what), level, settings)


def _level(h: Hamiltonian, fermi: float | str | None) -> "FermiLevel":
    """The Fermi level, which has to be known."""
    from postprocess.states.fermi import find_fermi_level

    _check_size(h)
    level = find_fermi_level(h, as_fermi(fermi), needed=True)
    if level is None:  # needed
        raise UsageError("the Fermi level is not known: give fermi=")
    return level


def _check_size(h: Hamiltonian) -> None:
    from postprocess.states.batches import LARGEST

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for the dense matrices of responses; expected {LARGEST} at most")
