"""Options of the commands that draw."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from postprocess.output.look import Look


def add_figure_options(parser: argparse.ArgumentParser) -> None:
    """``--label``, ``--title``, ``--size``, ``--zero`` and ``--style``."""
    group = parser.add_argument_group("figures")
    group.add_argument("--label", nargs="+", metavar="TEXT", help="names in the legend (of fat bands: above the panels), in their order")
    group.add_argument("--title", metavar="TEXT", help="above the figure")
    group.add_argument("--size", nargs=2, type=float, metavar=("W", "H"), help="cm (default: 8.5 or 17.5 wide, one or two columns)")
    group.add_argument("--zero", choices=("fermi", "vbm", "none"), help="zero of energy: E_F (default), valence band maximum, that of H")
    group.add_argument("--style", metavar="NAME|FILE", help="a matplotlib style, whose settings go before")


def is_figure(file: Path) -> bool:
    """Whether an output is a figure."""
    from deeph.files.figures import SUFFIXES

    return file.suffix in SUFFIXES


def figure_look(args: argparse.Namespace) -> "Look":
    """What the options say, checked before anything is computed.

    Raises
    ------
    UsageError
        If there is no figure, no such style, or the size is none.
    """
    from deeph.files.figures import new_figure, styled
    from deeph.runtime.errors import UsageError

    names = ("label", "title", "size", "zero", "style")
    look = cast("Look", {name: getattr(args, name) for name in names if getattr(args, name) is not None})
    if look and not any(is_figure(file) for file in args.out):
        raise UsageError(f"--{next(iter(look))} belongs to figures: add --out with a name ending in .pdf, .png or .svg")
    if look:
        with styled(look.get("style")):
            new_figure(size=look.get("size"))
    return look
