"""Levels, bands, densities of states and populations: what the methods of a Hamiltonian call."""

from collections.abc import Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from postprocess.bands.bands import Bands
    from postprocess.density.dos import DOS
    from postprocess.lattice.kpath import KPath
    from postprocess.lattice.mesh import KMesh
    from postprocess.states.populations import Populations


def bands(
    h: Hamiltonian,
    path: "str | Path | KPath | Any",
    n_bands: int | None,
    around: float | str,
    *,
    fermi: float | str | None,
    points: int | None,
    projections: str | Sequence[str],
) -> "Bands":
    """What :meth:`deeph.Hamiltonian.bands` does."""
    from postprocess.bands.bands import compute_bands
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.eigen.solver import Eigensolver
    from postprocess.states.fermi import UNKNOWN, find_fermi_level
    from postprocess.states.projectors import make_projectors

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if around != "fermi" and (isinstance(around, str) or not np.isfinite(around)):
        raise UsageError(f"around={around!r}: expected 'fermi' or an energy in eV")
    path, fermi = as_path(h, path, points), as_fermi(fermi)
    options: dict[str, Any] = {"projectors": make_projectors(h, _kinds(projections)), "title": h.system.formula}
    if n_bands is None:
        if h.n_orbitals > DENSE_LARGEST:
            raise UsageError(f"{h.n_orbitals} orbitals are too many for all bands; ask for some: h.bands(path, n_bands=30)")
        return compute_bands(h, path, fermi=fermi, **options)
    level = find_fermi_level(h, fermi, needed=around == "fermi", guess=None if isinstance(around, str) else around)
    center = level.energy if level is not None and isinstance(around, str) else float(around)
    return compute_bands(h, path, fermi=level or UNKNOWN, solver=Eigensolver(n_bands=n_bands, center=center), **options)


def dos(
    h: Hamiltonian,
    window: tuple[float, float] | None,
    *,
    width: float | None,
    mesh: tuple[int, int, int] | None,
    projections: str | Sequence[str],
    fermi: float | str | None,
) -> "DOS":
    """What :meth:`deeph.Hamiltonian.dos` does."""
    from postprocess.density.dos import Window, compute_dos
    from postprocess.density.kpm_dos import compute_kpm_dos
    from postprocess.density.kpm_work import KPMSettings
    from postprocess.eigen.band_symmetries import make_mesh
    from postprocess.eigen.selection import DENSE_LIMIT
    from postprocess.states.orbital_groups import make_projections, usable_symmetry

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    groups, fermi = make_projections(h, _kinds(projections)), as_fermi(fermi)
    known = fermi is not None or h.fermi_energy is not None or h.n_electrons is not None
    ends = window if window is not None else (-10.0, 10.0) if known else (None, None)
    options: dict[str, Any] = {"window": Window(*ends), "projections": groups, "fermi": fermi}
    if h.n_orbitals > DENSE_LIMIT:
        found = compute_kpm_dos(h, make_mesh(h, mesh), KPMSettings() if width is None else KPMSettings(width), **options)
    else:
        points = make_mesh(h, mesh, symmetry=usable_symmetry(h, groups))
        if width is not None:
            options |= {"method": "gaussian", "width": width}
        found = compute_dos(h, points, **options)
    return replace(found, title=h.system.formula)


def as_path(h: Hamiltonian, path: Any, points: int | None) -> "KPath":
    """A path from whatever says it."""
    from postprocess.lattice.kpath import KPath, make_kpath, read_kpath

    if isinstance(path, KPath):
        return path
    if isinstance(path, str | Path) and Path(path).expanduser().is_file():
        return read_kpath(Path(path).expanduser(), h)
    if hasattr(path, "special_points") and hasattr(path, "kpts"):  # of ASE, whose names may mean other points
        from ase.dft.kpoints import parse_path_string

        lines = parse_path_string(path.path)
        words = [[f"{name}={','.join(f'{x:.12f}' for x in path.special_points[name])}" for name in line] for line in lines]
        return make_kpath(h, " | ".join(" ".join(line) for line in words), n_points=points or len(path.kpts))
    if path is not None and not isinstance(path, str | Path):
        raise UsageError(f"path {type(path).__name__}: expected labels such as 'GMKG', or a file; levels at a list of k: h.eigenvalues(k)")
    return make_kpath(h, path if path is None else str(path), n_points=points)


def _kinds(projections: str | Sequence[str]) -> list[str]:
    """Kinds of projections as a list, also from ``"element,shell"``."""
    return [kind.strip() for kind in projections.split(",")] if isinstance(projections, str) else list(projections)


def as_fermi(fermi: float | str | None) -> float | str | None:
    """A Fermi level as it may be given."""
    if fermi in (None, "count") or (not isinstance(fermi, str) and np.isfinite(fermi)):
        return fermi
    raise UsageError(f"fermi={fermi!r}: expected an energy in eV, or 'count'")


def eigenvalues(h: Hamiltonian, k: Any) -> FloatArray:
    """What :meth:`deeph.Hamiltonian.eigenvalues` does."""
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.eigen.solver import compute_energies

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for dense matrices; some levels: h.bands(path, n_bands=30, around=...)")
    points = as_k(h, k)
    energies = compute_energies(h, points.reshape(-1, 3))
    energies = energies.reshape(len(energies), *points.shape[:-1], -1)
    return energies if h.basis.spin == "collinear" else np.asarray(energies[0])


def as_k(h: Hamiltonian, k: Any) -> FloatArray:
    """(..., 3) fractional k-points from coordinates or the name of a special point; UsageError if they are neither."""
    from postprocess.lattice.special_points import special_points

    if isinstance(k, str):
        lattices = special_points(h)
        where = next((lattice.points[k] for lattice in lattices if k in lattice.points), None)
        if where is None:
            raise UsageError(f"{k!r} is not a k-point of this {lattices[0].lattice} lattice: {lattices[0].describe()}")
        k = where
    try:
        points = np.array(k, float)
    except (TypeError, ValueError) as error:
        raise UsageError(f"k = {k!r}: expected fractional coordinates (..., 3), or the name of a special point: {error}") from error
    if points.shape[-1:] != (3,) or not np.isfinite(points).all():
        raise UsageError(f"k of shape {points.shape}: expected fractional coordinates (..., 3), all finite")
    return points


def mulliken(h: Hamiltonian, mesh: Divisions | None, *, shift: tuple[float, float, float], temperature: float) -> "Populations":
    """What :meth:`deeph.Hamiltonian.mulliken` does."""
    from postprocess.states.populations import compute_populations

    return compute_populations(h, dense_mesh(h, mesh, shift), temperature=temperature)


def band_energy(h: Hamiltonian, mesh: Divisions | None, *, shift: tuple[float, float, float], temperature: float) -> float:
    """What :meth:`deeph.Hamiltonian.band_energy` does."""
    from postprocess.states.band_energy import compute_band_energy

    return compute_band_energy(h, dense_mesh(h, mesh, shift), temperature=temperature)


def dense_mesh(h: Hamiltonian, divisions: Divisions | None, shift: tuple[float, float, float]) -> "KMesh":
    """The mesh on which the states of an H are filled, all of them by dense matrices."""
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.lattice.mesh import mesh_divisions
    from postprocess.states.charges import density_mesh
    from postprocess.states.populations import DENSITY

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for dense matrices, which all occupied states take; take a smaller cell")
    if np.shape(shift) != (3,) or not np.isfinite(shift).all():
        raise UsageError(f"mesh {divisions!r}, shift {shift!r}: expected three positive numbers, and three parts of a step")
    return density_mesh(h, mesh_divisions(h, DENSITY) if divisions is None else as_divisions(divisions), shift)


def as_divisions(mesh: Any) -> Divisions:
    """The divisions of a mesh of k-points as they may be given; UsageError if they are not three positive numbers."""
    try:
        a, b, c = (index(n) for n in mesh)
    except (TypeError, ValueError) as error:
        raise UsageError(f"mesh {mesh!r}: expected three positive numbers, such as (12, 12, 1)") from error
    if min(a, b, c) < 1:
        raise UsageError(f"mesh {mesh!r}: expected three positive numbers, such as (12, 12, 1)")
    return a, b, c
