"""The figures of the pages on contours, edges, tunnelling microscopes and Wannier centres, by the commands of these pages.

python docs/picture_figures.py FOLDER RUNS PAO

FOLDER gets the pictures (docs/images); RUNS are OpenMX runs: fe_soc_z, bi_bilayer_soc, mos2, mos2_soc; PAO are the basis files of Mo and S.
Takes five minutes.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from deeph.files.orbitals_file import write_orbitals
from deeph.files.store import write_folder
from postprocess.cli import bands, contours, stm, topology
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
}
"""Name of the picture: commands whose figures stand side by side."""


def main(folder: Path, runs: Path, pao: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for run in ("fe_soc_z", "bi_bilayer_soc", "mos2", "mos2_soc"):
            write_folder(work / run, openmx.read(runs / run))
        write_orbitals(work / "mos2" / "orbitals.h5", read_basis([42, 16], [f"{pao}/Mo7.0.pao:s3p2d2", f"{pao}/S7.0.pao:s2p2d1"]))
        bismuth = openmx.read(runs / "bi_bilayer_soc")
        z = bismuth.system.positions[:, 2]
        gated = bismuth.with_potential(lambda r: 0.3 * (r[:, 2] - z.mean()))
        write_folder(work / "gated", replace(gated, fermi_energy=bismuth.fermi_energy))
        for picture, commands in PICTURES.items():
            files = [work / f"{picture}_{n}.png" for n in range(len(commands))]
            for (command, words), file in zip(commands, files, strict=True):
                try:
                    command([str(work / words[0]), *words[1:], "--out", str(file)])
                except SystemExit as end:
                    if end.code:
                        raise
            small(files).save(folder / f"{picture}.png", optimize=True)


def small(files: Sequence[Path]) -> Image.Image:
    """Side by side, as wide as the text of a page, in few colours."""
    images = [Image.open(file).convert("RGB") for file in files]
    sheet = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    for n, image in enumerate(images):
        sheet.paste(image, (sum(i.width for i in images[:n]), 0))
    return sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS).quantize(256)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
