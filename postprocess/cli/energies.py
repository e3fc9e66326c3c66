"""Energies as typed, the same for all commands: eV from the Fermi level, or from a band edge, such as vbm-0.1."""

import argparse
import re
from dataclasses import dataclass
from math import inf, isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian

OPTIONS = ("window", "energies")


@dataclass(frozen=True)
class Energy:
    """``value`` eV from ``reference``: ``fermi``, ``vbm`` or ``cbm``."""

    reference: str
    value: float

    def __str__(self) -> str:
        return f"{self.value:g}" if self.reference == "fermi" else f"{self.reference}{self.value:+g}"


def parse_energy(text: str) -> Energy:
    """A type of argparse: ``-0.5``, ``fermi+0.1`` (or ``ef``), ``vbm-0.1``, ``cbm``."""
    match = re.fullmatch(r"(?:(fermi|e_?f|vbm|cbm)(?=$|[-+]))?(.*)", text.replace(" ", "").lower())
    name, number = match.groups() if match else (None, "")
    try:
        value = float(number) if number or not name else 0.0
    except ValueError:
        value = float("nan")
    if isnan(value):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected eV from the Fermi level such as -0.5, or from a band edge such as vbm-0.1 or cbm+0.2"
        )
    return Energy(name if name in ("vbm", "cbm") else "fermi", value)


def add_window_option(parser: "argparse._ActionsContainer", text: str) -> None:
    """``--window``; ``text`` says what lies in it."""
    parser.add_argument("--window", nargs=2, type=parse_energy, metavar=("EMIN", "EMAX"), help=f"{text}, eV from E_F, or such as vbm-0.1")


def check_window(args: argparse.Namespace, *, equal: bool = False) -> None:
    """UsageError unless the lower energy comes first, as far as the text tells; both may be one with ``equal``."""
    from deeph.runtime.errors import UsageError

    if not args.window:
        return
    low, high = args.window
    if isinstance(low, Energy):
        if low.reference != high.reference:  # resolve_energies will know
            return
        low, high = low.value, high.value
    if not (-inf < low < high < inf or (equal and -inf < low == high < inf)):
        said = " ".join(str(x) if isinstance(x, Energy) else f"{x:g}" for x in args.window)
        raise UsageError(f"--window {said}: expected two energies in eV, the lower one first")


def resolve_energies(args: argparse.Namespace, data: "Hamiltonian") -> None:
    """Put numbers in the place of ``--window`` and ``--energies``, eV from the Fermi level.

    Parameters
    ----------
    args : Namespace
        Changed; its ``fermi`` is the level that the edges lie around.
    data : Hamiltonian
        Whose band edges are meant.

    Raises
    ------
    UsageError
        If a window does not ascend.
    DataError
        If an edge is asked for and there is none, or the Fermi level is not known.
    """
    from deeph.runtime.log import logger, telling
    from postprocess.bands.edges import band_edges
    from postprocess.states.fermi import find_fermi_level

    typed = {name: given for name in OPTIONS if isinstance(given := getattr(args, name, None), list)}
    zero = {"fermi": 0.0}
    if any(energy.reference != "fermi" for energies in typed.values() for energy in energies):
        with telling("looking for the band edges"):
            level = find_fermi_level(data, None if args.fermi == "auto" else args.fermi, needed=True)
            fermi = 0.0 if level is None else level.energy
            vbm, cbm, where = band_edges(data, fermi)
        zero |= {"vbm": vbm - fermi, "cbm": cbm - fermi}
        logger.info("vbm %+.6f eV and cbm %+.6f eV from the Fermi level, %s", zero["vbm"], zero["cbm"], where)
    for name, energies in typed.items():
        setattr(args, name, [zero[energy.reference] + energy.value for energy in energies])
    if len(zero) > 1:
        check_window(args, equal=True)


def names_edge(args: argparse.Namespace) -> bool:
    """Whether the window, before :func:`resolve_energies`, is counted from a band edge."""
    return bool(args.window) and any(energy.reference != "fermi" for energy in args.window)
