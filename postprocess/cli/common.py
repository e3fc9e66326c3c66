"""What the post-processing commands share: reading folders, and paths typed by the user. Nothing heavy is imported here."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.system import System
    from postprocess.bands.bands import Bands
    from postprocess.bands.gap import Gap
    from postprocess.lattice.kpath import KPath


NEAR_FERMI = 1.0
"""eV; levels so far from the Fermi level are those whose error bars are told."""


MOSTLY = 0.5
"""Share of the mean square error bar from which on the constant of the calibration is most of it."""


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


def add_symmetrize_option(parser: argparse.ArgumentParser) -> None:
    """``--symmetrize``."""
    parser.add_argument(
        "--symmetrize", action="store_true", help="average H and S over the symmetry of structure and moments first, and say what changed"
    )


def load(
    folder: Path,
    *,
    predicted: bool | None = None,
    modes: bool = False,
    positions: bool = False,
    extra: tuple[str, ...] = (),
    symmetrize: bool = False,
) -> "tuple[Hamiltonian, bool]":
    """A structure folder with H, and whether that H is a prediction.

    ``modes``: with what error bars of levels are made of; ``positions``, ``extra``: with the position matrices, with further matrices of
    these names, if there are any; ``symmetrize``: averaged over its group, which leaves no error bars.

    Raises
    ------
    DataError
        If the folder is missing, damaged, or holds only the overlap; if it holds structure folders, which are listed, or the run of a DFT
        code.
    """
    from deeph.files.store import HAMILTONIAN, read_folder
    from deeph.runtime.errors import DataError
    from deeph.runtime.log import telling
    from postprocess.cli.folders import what_instead

    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder" + ", but a file" * folder.is_file())
    if (error := what_instead(folder)) is not None:
        raise error
    with telling(f"reading {folder}"):
        data = read_folder(folder, predicted=predicted, modes=modes, positions=positions, extra=extra)
    if data.H is None:
        raise DataError(f"{folder} holds only the overlap; run deeph-infer on it, or point to a folder with hamiltonian.h5")
    if symmetrize:
        data = data.symmetrized()
    return data, bool(predicted) or not (folder / HAMILTONIAN).is_file()


def title_of(name: str, args: argparse.Namespace, *, predicted: bool) -> str:
    """The name of a folder for headings and legends, with what was done to its H."""
    return name + " (predicted)" * predicted + " (symmetrized)" * bool(args.symmetrize)


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


def describe_bands(bands: "Bands", n_orbitals: int, *, molecule: bool = False) -> list[str]:
    """Solver, Fermi level, gap and band edges (of a molecule HOMO and LUMO) as lines of text; ``n_orbitals`` is the number of all bands."""
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
    lines += [_describe_gap(gap, partial, molecule=molecule)]
    if not (molecule or gap.is_metal or gap.is_direct) and (direct := gap.direct):
        most = " or less" * gap.is_bound
        where = ", ".join(f"{x:.4f}" for x in direct.k + 0.0)
        lines.append(f"  smallest direct gap      {direct.width:.6f} eV{most}  at k = ({where})")
    return [*lines, *_describe_edges(bands, gap, n_orbitals, molecule=molecule)]


def _describe_gap(gap: "Gap", partial: str, *, molecule: bool) -> str:
    """The width, and what it means; ``partial`` says which levels were computed, if not all."""
    if molecule:
        return f"gap          {gap.width:.6f} eV between HOMO and LUMO" + f" ({partial})" * bool(partial)
    if gap.is_metal:
        return "gap          none: bands cross the Fermi level on this path"
    if gap.is_bound:
        return f"gap          at most {gap.width:.6f} eV on this path: {partial}, at some k all on one side of the Fermi level"
    return f"gap          {gap.width:.6f} eV, {'direct' if gap.is_direct else 'indirect'}, on this path" + f" ({partial})" * bool(partial)


def _describe_edges(bands: "Bands", gap: "Gap", n_orbitals: int, *, molecule: bool) -> list[str]:
    """The levels next to the Fermi level: of a molecule on the energy zero of H, else from the Fermi level."""
    lines = []
    names = ("HOMO", "LUMO") if molecule else ("highest level below E_F", "lowest level above E_F ")
    for name, edge in zip(names, (gap.vbm, gap.cbm), strict=True):
        number = f"{edge.band + 1} of {n_orbitals}" + f", spin {('up', 'down')[edge.spin]}" * (len(bands.energies) > 1)
        if molecule:
            lines.append(f"  {name}       {edge.energy:+.6f} eV  level {number}")
        else:
            k = ", ".join(f"{x:.4f}" for x in edge.k + 0.0)
            lines.append(f"  {name}  {edge.energy - (bands.fermi_energy or 0.0):+.6f} eV  at k = ({k}), band {number}")
    return lines


def from_one(value: Any) -> Any:
    """What :func:`to_plain` gives, with bands counted from 1 as in the text."""
    if isinstance(value, dict):
        return {key: item + 1 if key in ("band", "first_band") else from_one(item) for key, item in value.items()}
    return [from_one(item) for item in value] if isinstance(value, list) else value


def describe_level_errors(bands: "Bands", data: "Hamiltonian") -> list[str]:
    """One line about the error bars of levels near the Fermi level, or why there are none; nothing of an H without error bars."""
    import numpy as np

    if bands.errors is None:
        if data.error_bars is None or data.has_modes:
            return []
        rms = 1e3 * float(np.sqrt((data.error_bars.sigma**2).mean()))
        return [f"error bars   of H {rms:.3g} meV (rms of its blocks); those of levels need its modes: deeph-infer --modes"]
    found = level_error_summary(bands, data)
    k = ", ".join(f"{x:.4f}" for x in np.array(found["k"]) + 0.0)
    size = f"{1e3 * found['rms']:.3g} meV (rms) of {found['n']} levels {found['which']}, at most {1e3 * found['max']:.3g} meV"
    lines = [f"error bars   {size}  at k = ({k}), band {found['band'] + 1}"]
    common = found["constant"]
    if common**2 > MOSTLY * found["rms"] ** 2:
        where = "that the validation structures gave: it does not depend on this structure"
        lines.append(f"  mostly the constant {1e3 * common:.3g} meV {where}")
    return lines


def _common_error(data: "Hamiltonian") -> float:
    """The part of the error bars of levels that is the same for every structure, eV."""
    from deeph.physics.error_bars import common_error

    bars = data.error_bars
    if bars is None or bars.modes is None:
        return 0.0
    return common_error(bars.modes, data.S.to_spinor() if data.basis.spin == "spinor" else data.S)


def level_error_summary(bands: "Bands", data: "Hamiltonian") -> dict[str, Any]:
    """Root mean square and largest error bar, eV, of the levels within 1 eV of the Fermi level, of all where there are none.

    ``constant`` is the part of the calibration that is the same for every structure.
    """
    import numpy as np

    if bands.errors is None:
        return {}
    known = np.isfinite(bands.energies) & np.isfinite(bands.errors)
    near = known & (np.abs(bands.energies - (np.nan if bands.fermi_energy is None else bands.fermi_energy)) <= NEAR_FERMI)
    which = f"within {NEAR_FERMI:g} eV of E_F" if near.any() else "in all"
    chosen = near if near.any() else known
    spin, n, band = np.unravel_index(int(np.argmax(np.where(chosen, bands.errors, -1.0))), chosen.shape)
    rms = float(np.sqrt((bands.errors[chosen] ** 2).mean()))
    sizes = {"rms": rms, "max": float(bands.errors[spin, n, band]), "constant": _common_error(data)}
    return {"n": int(chosen.sum()), "which": which, **sizes, "k": bands.path.k[n].tolist(), "band": int(band) + bands.first_band}


def describe_path(bands: "Bands", *, molecule: bool = False) -> str:
    """Where the levels were computed."""
    n_k = len(bands.path.k)
    if molecule:
        return "Gamma alone, for a molecule has no bands" if n_k == 1 else f"{n_k} k-points of a molecule, whose levels depend on none"
    if not bands.path.labels:
        return f"{n_k} k-points of a mesh or list"
    return f"{'-'.join(bands.path.labels)}, {n_k} k-points, {bands.path.ticks[-1]:.4f} 1/Angstrom"


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
