"""What the post-processing commands share: reading folders, and paths typed by the user. Nothing heavy is imported here."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeph.physics.difference import Errors
    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.system import System
    from postprocess.bands.bands import Bands
    from postprocess.compare.bands import BandComparison
    from postprocess.lattice.kpath import KPath


def add_path_options(parser: argparse.ArgumentParser, path_help: str) -> None:
    """``--path``, ``--points`` and ``--fermi``."""
    parser.add_argument("--path", metavar="LABELS|FILE", help=path_help)
    parser.add_argument(
        "--points", type=int, metavar="N", help="k-points of the whole path, not of a file (default: every 0.02 1/Angstrom, 100 to 600)"
    )
    parser.add_argument(
        "--fermi", type=parse_fermi, metavar="EV|count", help="Fermi level in eV, or 'count' to fill levels with the number of electrons"
    )


def parse_fermi(text: str) -> float | str:
    """A Fermi level as typed: a number in eV, or the word count."""
    from math import isfinite

    if text == "count":
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number in eV or 'count'")
    return value


def load(folder: Path, *, predicted: bool | None = None) -> "tuple[Hamiltonian, bool]":
    """A structure folder with H, and whether that H is a prediction.

    Raises
    ------
    DataError
        If the folder is missing, damaged, or holds only the overlap.
    """
    from deeph.files.store import HAMILTONIAN, read_folder
    from deeph.runtime.errors import DataError

    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    data = read_folder(folder, predicted=predicted)
    if data.H is None:
        raise DataError(f"{folder} holds only the overlap; run deeph-infer on it, or point to a folder with hamiltonian.h5")
    return data, bool(predicted) or not (folder / HAMILTONIAN).is_file()


def choose_path(text: str | None, structure: "System | Hamiltonian", n_points: int | None) -> "KPath":
    """A path from a file if there is one of that name, else from labels."""
    from deeph.runtime.errors import UsageError
    from postprocess.lattice.kpath import make_kpath, read_kpath

    if text is not None and Path(text).is_file():
        return read_kpath(text, structure)
    if text is not None and re.fullmatch(r"[^\s,=]*[_./\\][^\s,=]*", text):
        raise UsageError(f"--path {text}: there is no such file, and it is not a list of labels such as GMKG")
    return make_kpath(structure, text, n_points=n_points)


def folder_titles(folders: list[Path]) -> list[str]:
    """Short names of folders, the whole path where the last part is not enough."""
    names = [folder.resolve().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def describe_bands(bands: "Bands", n_orbitals: int) -> list[str]:
    """Solver, Fermi level, gap and band edges as lines of text; ``n_orbitals`` is the number of all bands."""
    first, last = bands.first_band + 1, bands.first_band + bands.n_bands
    numbers = f"levels of bands {first} to {last}" if bands.counted else f"{bands.n_bands} levels at a k"
    partial = f"only {numbers} of {n_orbitals} were computed" if bands.n_bands < n_orbitals else ""
    lines = [f"solver       {bands.solver}"] if bands.solver else []
    if bands.fermi_energy is None:
        return [*lines, "Fermi level  not known (no fermi_energy_eV, no occupation in info.json): energies are absolute"]
    lines.append(f"Fermi level  {bands.fermi_energy:.6f} eV ({bands.fermi_origin})")
    gap = bands.gap
    if not bands.counted:
        return [*lines, f"gap          not known: {partial}, and the levels below them were not counted"]
    if gap is None:
        side = "below" if (bands.energies <= bands.fermi_energy).any() else "above"
        if partial:
            return [*lines, f"gap          not known: {partial}; they lie {side} the Fermi level, which says nothing about a gap"]
        return [*lines, f"gap          none: all bands lie {side} the Fermi level"]
    if gap.is_metal:
        lines.append("gap          none: bands cross the Fermi level on this path")
    else:
        kind = "direct" if gap.is_direct else "indirect"
        if gap.is_bound:
            lines.append(f"gap          at most {gap.width:.6f} eV on this path: {partial}, at some k all on one side of the Fermi level")
        else:
            lines.append(f"gap          {gap.width:.6f} eV, {kind}, on this path" + f" ({partial})" * bool(partial))
        if not gap.is_direct and (direct := gap.direct):
            most = " or less" * gap.is_bound
            where = ", ".join(f"{x:.4f}" for x in direct.k + 0.0)
            lines.append(f"  smallest direct gap      {direct.width:.6f} eV{most}  at k = ({where})")
    of = f" of {n_orbitals}"
    for name, edge in (("highest level below E_F", gap.vbm), ("lowest level above E_F ", gap.cbm)):
        k = ", ".join(f"{x:.4f}" for x in edge.k + 0.0)
        spin = f", spin {('up', 'down')[edge.spin]}" if len(bands.energies) > 1 else ""
        lines.append(f"  {name}  {edge.energy - bands.fermi_energy:+.6f} eV  at k = ({k}), band {edge.band + 1}{of}{spin}")
    return lines


def describe_errors(name: str, errors: "Errors | None") -> str:
    """One row of an error table, meV."""
    if errors is None:
        return f"  {name:<22} -"
    return f"  {name:<22} {errors.mae:>11.4f} {errors.rmse:>11.4f} {errors.max:>12.4f} {errors.n:>11d}"


ERROR_HEAD = f"  {'':<22} {'MAE':>11} {'RMSE':>11} {'max (meV)':>12} {'number':>11}"


def describe_band_comparison(result: "BandComparison") -> list[str]:
    """Band errors as lines of text."""
    rows = (
        ("all bands", result.all_bands),
        ("within 2 eV of E_F", result.near_fermi),
        ("valence band", result.valence),
        ("conduction band", result.conduction),
    )
    return [
        "band errors",
        f"  aligned: {result.alignment}",
        f"  mean difference left: {result.shift:+.4f} meV",
        ERROR_HEAD,
        *(describe_errors(name, errors) for name, errors in rows),
    ]


def from_one(value: Any) -> Any:
    """What :func:`to_plain` gives, with bands counted from 1 as in the text."""
    if isinstance(value, dict):
        return {key: item + 1 if key in ("band", "first_band") else from_one(item) for key, item in value.items()}
    return [from_one(item) for item in value] if isinstance(value, list) else value


def to_plain(value: Any) -> Any:
    """Result objects as what JSON can hold: dictionaries, lists, numbers and text."""
    from dataclasses import fields, is_dataclass

    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
