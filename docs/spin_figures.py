"""Bands of predicted magnets and of spin-orbit coupling over those of DFT, dots in the colour of their spin, for the page on spin.

python docs/spin_figures.py FOLDER MOS2 RUN CRI3 STRUCTURE

MOS2 and CRI3 are model files, or the word dft: DFT's own H as its prediction. RUN is the relaxed MoS2 cell, STRUCTURE a nearly
ferromagnetic CrI3, each as DFT run or structure folder with H. FOLDER gets spin_mos2.png and spin_cri3.png.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image

import deeph
from deeph import Hamiltonian
from deeph.files.figures import LIGHT_BLUE, legend_above, save_figure, styled
from postprocess.bands.bands import Bands
from postprocess.compare.like import compute_bands_like
from postprocess.output.fat_dots import LARGEST, NEGATIVE, POSITIVE, RESOLUTION, average_degenerate, draw_dots
from postprocess.output.plot import plot_bands
from postprocess.states.projectors import SpinComponents

MOS2_PATH = "GMKG"
CRI3_PATH = "G=0,0,0 M=1/2,0,0 K=1/3,1/3,0 G=0,0,0"
"""By coordinates, because the cells of the set are strained."""
SMALL = 0.3
"""Area of the dots of levels without spin, as part of those of full spin."""
Z = np.array([0.0, 0.0, 1.0])
Array = npt.NDArray[np.float64]


def predicted(model: str, h: Hamiltonian) -> Hamiltonian:
    """By a model, or DFT's own H."""
    return replace(h, predicted=True, fermi_energy=None) if model == "dft" else deeph.load_model(model).predict(h)


def mean_direction(h: Hamiltonian) -> Array:
    """Unit vector along the total moment."""
    if h.moments is None:
        raise deeph.DataError(f"{h.system} has no magnetic moments")
    total = h.moments.sum(axis=0)
    return np.asarray(total / np.linalg.norm(total))


def spin_bands(dft: Bands, other: Hamiltonian, axis: Array, name: str, window: tuple[float, float]) -> Axes:
    """Lines of DFT, and a dot for each predicted level: its colour is the sign of the spin along an axis, its area the size.

    Degenerate levels show the mean of their spins.

    Parameters
    ----------
    dft : Bands
        Of the DFT H.
    other : Hamiltonian
        The predicted one, with spinors.
    axis : (3,) array
        Unit vector.
    name : str
        Of the axis, for the legend.
    window : (low, high)
        eV from the Fermi level.
    """
    own = compute_bands_like(dft, other, projectors=(SpinComponents(),))
    energies = own.energies - (own.fermi_energy or 0.0)
    spin = sum(x * own.weights[s] for x, s in zip(axis, ("sx", "sy", "sz"), strict=True))
    spin = average_degenerate(energies, spin, within=RESOLUTION * (window[1] - window[0]))
    with styled():
        ax = plot_bands([dft], window=window, label=["DFT (lines)"])
        draw_dots(ax, own.path, energies, np.full(spin.shape, SMALL), top=1.0, window=window, colour=LIGHT_BLUE)
        draw_dots(ax, own.path, energies, spin, top=1.0, window=window, colour=None)
        for sign, colour in (("> 0", POSITIVE), ("< 0", NEGATIVE), ("= 0", LIGHT_BLUE)):
            ax.plot([], [], "o", mew=0, ms=LARGEST**0.5 / 2, color=colour, label=f"{name} {sign}")
        legend_above(ax)
    return ax


def save(ax: Axes, path: Path) -> None:
    """As wide as the text of a page, in few colours."""
    save_figure(ax, path)
    with Image.open(path) as image:
        size = (image.width * 2 // 3, image.height * 2 // 3)
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(96).save(path, optimize=True)


def main(folder: Path, mos2: str, run: str, cri3: str, structure: str) -> None:
    for name, model, source, path, window in (
        ("spin_mos2", mos2, run, MOS2_PATH, (-2.0, 3.0)),
        ("spin_cri3", cri3, structure, CRI3_PATH, (-1.5, 2.5)),
    ):
        h = deeph.read(source)
        if not isinstance(h, Hamiltonian):
            raise deeph.DataError(f"{source} holds no Hamiltonian")
        dft = h.bands(path, points=180)
        axis, axis_name = (Z, r"$s_z$") if name == "spin_mos2" else (mean_direction(h), r"$s_m$")
        save(spin_bands(dft, predicted(model, h), axis, axis_name, window), folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *sys.argv[2:])
