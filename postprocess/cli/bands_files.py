"""Figures and tables of ``deeph-bands``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from postprocess.cli.figures import figure_look, is_figure

if TYPE_CHECKING:
    from postprocess.bands.bands import Bands
    from postprocess.density.dos import DOS


def write_bands(args: argparse.Namespace, bands: "list[Bands]", predicted: list[bool], window: tuple[float, float] | None) -> None:
    """The figures of all band structures together, and the table of the one there is."""
    from deeph.files.figures import save_figure
    from deeph.runtime.log import logger
    from postprocess.output.plot import plot_bands
    from postprocess.output.plot_fat import plot_fat_bands

    dots = [p and len(bands) > 1 for p in predicted]
    if args.compare:
        dots = [False] + [True] * (len(bands) - 1)
    look = figure_look(args)
    lines = any(map(is_figure, args.out)) and not (args.connect or args.unfold)
    if lines and any(b.order is None and b.counted and len(b.path.k) > 1 for b in bands):
        logger.info("figures join the n-th levels: crossings are followed only where all levels of a small cell are computed")
    for file in args.out:
        if is_figure(file) and (bands[-1].weights or args.dos):
            save_figure(plot_fat_bands(bands[-1], window=window, dos=_read_dos(args.dos), **look)[0], file, look.get("style"))
        elif is_figure(file):
            save_figure(plot_bands(bands, window=window, dots=dots, **look), file, look.get("style"))
        else:
            bands[-1].save(file)
        logger.info("wrote %s", file)


def figure_window(args: argparse.Namespace, bands: "list[Bands]", *, named: bool) -> tuple[float, float] | None:
    """Numbers count from --zero; what is named by a band edge is where it is, whatever the zero."""
    from postprocess.output.look import choose_zero

    if not args.window:
        return None
    moved = (bands[0].fermi_energy or 0.0) - choose_zero(bands, args.zero or "fermi").zeros[0] if named else 0.0
    return args.window[0] + moved, args.window[1] + moved


def _read_dos(path: Path | None) -> "DOS | None":
    if path is None:
        return None
    from postprocess.output.dos_tables import read_dos

    return read_dos(path)
