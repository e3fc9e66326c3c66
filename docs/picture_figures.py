"""The figures of the pages on contours, edges, tunnelling microscopes, Wannier centres, states and Hall conductivities, by their commands.

python docs/picture_figures.py FOLDER RUNS PAO [NAME ...]

FOLDER gets the pictures (docs/images); RUNS are OpenMX runs: fe_soc_z, bi_bilayer_soc, mos2, mos2_soc; PAO are the basis files of Mo and S.
Takes ten minutes, half of them for the Hall conductivity of iron; names of pictures after PAO make only these.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

import deeph
from deeph.files.figures import new_figure, save_figure, styled
from deeph.files.orbitals_file import write_orbitals
from deeph.files.store import write_folder
from postprocess.cli import bands, berry, contours, stm, topology
from preprocess.orbitals.basis_files import read_basis
from preprocess.readers import openmx

Main = Callable[[list[str]], None]
STM = ["mos2", "--bias", "-1.2", "--mesh", "6", "6", "1", "--spacing", "0.1"]
PICTURES: dict[str, list[tuple[Main, list[str]]]] = {
    "contours_iron": [(contours.main, ["fe_soc_z", "--plane", "1,1,0=0", "--mesh", "36", "36"])],
    "contours_spin": [(contours.main, ["gated", "--energies", "0.8", "--mesh", "24", "24", "--colour", "spin-z", "--arrows"])],
    "contours_map": [(contours.main, ["mos2_soc", "--map", "curvature", "--bands", "26", "--mesh", "36", "36"])],
    "edges": [(bands.main, ["bi_bilayer_soc", "--ribbon", "b", "12", "--window", "-1", "1", "--points", "25"])],
    "stm": [
        (stm.main, [*STM, "--height", "2"]),
        (stm.main, [*STM, "--mode", "current", "--height", "5", "--vacuum", "5.9"]),
    ],
    "wannier_flow": [(topology.main, ["bi_bilayer_soc"])],
    "hall_iron": [
        (
            berry.main,
            ["fe_soc_z", "--hall", "--symmetrize", "--mesh", "48", "48", "48", "--rounds", "6", "--window", "-1", "1", "--levels", "81"],
        )
    ],
}
"""Name of the picture: commands whose figures stand side by side."""


def main(folder: Path, runs: Path, pao: Path, names: Sequence[str] = ()) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for run in ("fe_soc_z", "bi_bilayer_soc", "mos2", "mos2_soc"):
            write_folder(work / run, openmx.read(runs / run))
        write_orbitals(work / "mos2" / "orbitals.h5", read_basis([42, 16], [f"{pao}/Mo7.0.pao:s3p2d2", f"{pao}/S7.0.pao:s2p2d1"]))
        bismuth = openmx.read(runs / "bi_bilayer_soc")
        z = bismuth.system.positions[:, 2]
        gated = bismuth.with_potential(lambda r: 0.3 * (r[:, 2] - z.mean()))
        write_folder(work / "gated", replace(gated, fermi_energy=bismuth.fermi_energy))
        if not names or "states" in names:
            save_figure(densities(work / "mos2")[0], work / "states.png")
            small([work / "states.png"]).save(folder / "states.png", optimize=True)
        for picture, commands in PICTURES.items():
            if names and picture not in names:
                continue
            files = [work / f"{picture}_{n}.png" for n in range(len(commands))]
            for (command, words), file in zip(commands, files, strict=True):
                try:
                    command([str(work / words[0]), *words[1:], "--out", str(file)])
                except SystemExit as end:
                    if end.code:
                        raise
            small(files).save(folder / f"{picture}.png", optimize=True)


def densities(structure: Path) -> list[Axes]:
    """|psi|^2 of the valence and the conduction band of MoS2 at K, integrated along the normal, 2 x 2 cells, each with its scale."""
    found = deeph.read(structure).wave_functions("K", structure / "orbitals.h5", (12, 13), signed=False, spacing=0.1)
    with styled():
        axes = list(new_figure(size=(17.5, 4.8)).subplots(1, 2, sharey=True))
        for ax, volume in zip(axes, found, strict=True):
            cell, n = volume.grid.system.cell, volume.grid.shape
            flat = np.tile(volume.values.sum(axis=2) * cell[2, 2] / n[2], (2, 2))
            a, b = (np.arange(2 * m + 1) / m - 0.5 / m for m in n[:2])
            corners = a[:, None, None] * cell[0, :2] + b[:, None] * cell[1, :2]
            drawn = ax.pcolormesh(corners[..., 0], corners[..., 1], flat, cmap="cividis", vmin=0.0, rasterized=True)
            ax.set_aspect("equal")
            ax.set_xlabel(r"$x$ ($\mathrm{\AA}$)")
            ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.045, 1)), label=r"$\int|\psi|^2 dz$ ($\mathrm{\AA}^{-2}$)")
        axes[0].set_ylabel(r"$y$ ($\mathrm{\AA}$)")
    return axes


def small(files: Sequence[Path]) -> Image.Image:
    """Side by side, as wide as the text of a page, in few colours."""
    images = [Image.open(file).convert("RGB") for file in files]
    sheet = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    for n, image in enumerate(images):
        sheet.paste(image, (sum(i.width for i in images[:n]), 0))
    return sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS).quantize(256)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:4]), sys.argv[4:])
