"""What ``deeph-bands --compare`` and ``deeph-compare`` share: a reference, bands to be compared with it, and the lines they print."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postprocess.cli.common import choose_path, load
from postprocess.cli.solver import choose_solver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeph.files.band_files import BandFile
    from deeph.physics.difference import Errors
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
    from postprocess.compare.bands import BandComparison, EdgeErrors
    from postprocess.states.kjobs import Jobs


def load_reference(path: Path, structure: "Hamiltonian", *, predicted: bool | None = None) -> "tuple[Hamiltonian | BandFile, bool]":
    """A structure folder, or a band file of the code, and whether it is a prediction.

    Parameters
    ----------
    path : path
        The folder or file.
    structure : Hamiltonian
        What is to be compared with it.
    predicted : bool, optional
        Whether the folder's prediction is to be read.

    Raises
    ------
    DataError, UsageError
        If there is no such folder or file, or it cannot be read.
    """
    from deeph.files.band_files import read_band_file

    if path.is_file():
        return read_band_file(path, structure.system.cell), False
    return load(path, predicted=predicted)


def check_reference(reference: "Hamiltonian | BandFile", title: str, others: "Sequence[tuple[str, Hamiltonian]]") -> None:
    """Refuse what cannot be compared, before anything is computed.

    Raises
    ------
    DataError
        If spin, number of orbitals, cell or composition differ.
    """
    from deeph.files.band_files import BandFile
    from postprocess.compare.comparable import check_band_file, check_comparable

    for name, data in others:
        if isinstance(reference, BandFile):
            check_band_file(reference, data, name)
        else:
            check_comparable(reference, data, (title, name))


def check_comparison_options(args: argparse.Namespace, reference: Path) -> None:
    """Find what makes no sense beside a reference.

    Raises
    ------
    UsageError
        If there is such an option.
    """
    from deeph.runtime.errors import UsageError

    if not reference.is_file():
        return
    if args.path or args.points:
        raise UsageError(f"the k-points are those of {reference}: leave out --path and --points")
    if args.project:
        raise UsageError(f"{reference} holds the levels of all orbitals: leave out --project")


def compute_compared(
    args: argparse.Namespace,
    reference: "tuple[str, Hamiltonian | BandFile]",
    others: "Sequence[tuple[str, Hamiltonian]]",
    jobs: "Sequence[Jobs]",
    *,
    window_selects: bool = False,
    connect: bool | None = False,
) -> "list[Bands]":
    """Bands of the reference and of the others at the same k-points, by one solver with one window.

    Parameters
    ----------
    args : Namespace
        With the options of paths and solvers.
    reference, others : (title, data)
        See :func:`load_reference`; checked by :func:`check_reference`.
    jobs : sequence of Jobs
        One for the reference, and one for each of the others.
    window_selects : bool
        Whether a window selects levels in small cells, too.
    connect : bool or None
        None: bring what joins levels to bands, see :func:`postprocess.bands.bands.compute_bands`.

    Returns
    -------
    list of Bands
        The reference first.
    """
    from deeph.files.band_files import BandFile
    from deeph.runtime.log import telling
    from postprocess.bands.bands import compute_bands
    from postprocess.compare.like import OverlapWeight, bands_from_file, compute_bands_like

    title, data = reference
    weight: tuple[OverlapWeight, ...] = (OverlapWeight(),)
    if isinstance(data, BandFile):
        first = bands_from_file(data, others[0][1])
        if isinstance(args.fermi, float):
            first = replace(first, fermi_energy=args.fermi, fermi_origin="given")
        solver, _ = choose_solver(args, others[0][1], window_selects=window_selects, fermi=first.fermi_energy)
    else:
        solver, fermi = choose_solver(args, data, window_selects=window_selects)
        path = choose_path(args.path, data, args.points)
        with telling(f"at work on {title}"):
            first = compute_bands(data, path, fermi=fermi, solver=solver, projectors=weight, jobs=jobs[0], title=title, connect=connect)
        _check_numbers(first, jobs)
        weight = ()
    bands = [first]
    for (name, other), job in zip(others, jobs[1:], strict=True):
        like: dict[str, Any] = {"projectors": weight, "jobs": job, "title": name, "connect": connect}
        with telling(f"at work on {name}"):
            bands.append(compute_bands_like(first, other, fermi=args.fermi, solver=solver, **like))
        _check_numbers(bands[-1], jobs)
    return bands


def _check_numbers(bands: "Bands", jobs: "Sequence[Jobs]") -> None:
    """Levels without numbers end the comparison, and are not kept: the next call has other options."""
    from postprocess.compare.bands import check_counted

    if not bands.counted:
        for job in jobs:
            job.finish()
    check_counted(bands)


def compare_all(args: argparse.Namespace, bands: "Sequence[Bands]", *, molecule: bool) -> "list[BandComparison]":
    """All but the first against the first; molecules on the energy zero of H, which is the vacuum, and not from Fermi levels in gaps."""
    from postprocess.compare.bands import WINDOW, compare_bands

    window = tuple(args.window) if args.window else WINDOW
    return [compare_bands(bands[0], other, align=not molecule, window=window) for other in bands[1:]]


def is_molecule(data: "Hamiltonian") -> bool:
    """Whether bands do not disperse along any direction."""
    from postprocess.lattice.periodic import periodic_directions

    return not any(periodic_directions(data))


def describe_errors(name: str, errors: "Errors | None") -> str:
    """One row of an error table, meV."""
    if errors is None:
        return f"  {name:<24} -"
    return f"  {name:<24} {errors.mae:>11.4f} {errors.rmse:>11.4f} {errors.max:>12.4f} {errors.n:>11d}"


ERROR_HEAD = f"  {'':<24} {'MAE':>11} {'RMSE':>11} {'max (meV)':>12} {'number':>11}"


def describe_band_comparison(result: "BandComparison", *, molecule: bool) -> list[str]:
    """Band errors as lines of text: what lies near the Fermi level first."""
    low, high = result.window
    near = f"within {high:g} eV of E_F" if low == -high else f"{low:g} to {high:g} eV from E_F"
    what = "levels" if molecule else "bands"
    rows = [] if molecule and result.near_fermi is None else [(near, result.near_fermi)]  # most molecules have wide gaps
    rows.append((f"occupied {what}", result.occupied))
    if not molecule:
        rows += [("valence band", result.valence), ("conduction band", result.conduction)]
    if result.nearly_dependent is None:
        rows.append((f"all {what}", result.all_bands))
    else:
        rows += [(f"all other {what}", result.all_bands), ("nearly dependent levels", result.nearly_dependent)]
    lines = ["level errors" if molecule else "band errors", f"  aligned: {result.alignment}"]
    if result.shift is not None:
        lines.append(f"  mean difference left: {result.shift:+.4f} meV")
    lines += [ERROR_HEAD, *(describe_errors(name, errors) for name, errors in rows)]
    if result.lowest_dependent is not None:
        factor = f"errors of H appear more than {1 / result.threshold:.0f} times as large"
        lines.append(f"  nearly dependent: c^dagger S c / c^dagger c < {result.threshold:g}, so that {factor};")
        zero, of = (0.0, "energy zero of H") if result.fermi_energy is None else (result.fermi_energy, "Fermi level")
        lines.append(f"  the lowest of these levels lies {result.lowest_dependent - zero:+.1f} eV from the {of}")
    for who, n in (("the reference", result.only_reference), ("the other", result.only_other)):
        if n:
            lines.append(f"  {n} levels of {who} alone lie in the window, or are among those nearest: not compared")
    return [*lines, *([] if result.edges is None else ["", *_describe_edges(result.edges, molecule=molecule)])]


def _describe_edges(edges: "EdgeErrors", *, molecule: bool) -> list[str]:
    names = ("HOMO", "LUMO") if molecule else ("valence band maximum", "conduction band minimum")
    rows = zip((*names, "gap"), (edges.valence, edges.conduction, edges.gap), strict=True)
    head = f"  {'':<24} {'reference':>13} {'other (eV)':>13} {'error (meV)':>13}"
    return [head, *(f"  {name:<24} {level.reference:>13.6f} {level.other:>13.6f} {level.error:>+13.4f}" for name, level in rows)]
