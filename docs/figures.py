"""Every kind of figure on one page, to be looked at.

python docs/figures.py FOLDER RUNS

FOLDER gets a png of each kind, and page.png with all of them at the size of print; RUNS are OpenMX runs: graphene, mos2, mos2_soc,
fe_bcc_spin, h2o, bilayer_ab, tbg28. With docs/images as FOLDER, the pictures of these pages are made (bands.png, dos.png, fat.png,
gate.png).
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from deeph.files.figures import save_figure
from deeph.physics.hamiltonian import Hamiltonian
from postprocess.bands.bands import Bands, compute_bands
from postprocess.bands.unfold import folded_path, make_unfolding, primitive_system
from postprocess.compare.like import compute_bands_like
from postprocess.density.dos import DOS, Window, compute_dos
from postprocess.density.kpm_dos import compute_kpm_dos
from postprocess.density.kpm_work import KPMSettings
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.kpath import make_kpath
from postprocess.output.plot import plot_bands
from postprocess.states.orbital_groups import make_projections
from postprocess.states.projectors import make_projectors
from preprocess.readers import openmx

NEAR = (-3.0, 3.0)


def bands_of(data: Hamiltonian, path: str | None = None, *kinds: str, n_points: int | None = None, **options: Any) -> Bands:
    options |= {"projectors": make_projectors(data, kinds)} if kinds else {}
    return compute_bands(data, make_kpath(data.system, path, n_points=n_points), **options)


def dos_of(data: Hamiltonian, *kinds: str, mesh: tuple[int, int, int] | None = None, low: float = -6.0, high: float = 4.0) -> DOS:
    projections = make_projections(data, kinds) if kinds else None
    return compute_dos(data, make_mesh(data, mesh) if mesh else make_mesh(data), window=Window(low, high, 501), projections=projections)


def perturbed(data: Hamiltonian, size: float = 0.03) -> Hamiltonian:
    """The same with errors of some meV, in the place of a prediction."""
    if data.H is None:
        raise ValueError("a run without H")
    noise = np.random.default_rng(0).normal(scale=size, size=data.H.entries.shape)
    return replace(data, H=replace(data.H, entries=data.H.entries + noise * np.abs(data.S.entries)).hermitized())


def comparison(data: Hamiltonian, path: str, **options: Any) -> Axes:
    dft = bands_of(data, path, **options)
    predicted = compute_bands_like(dft, perturbed(data))
    return plot_bands([dft, predicted], dots=[False, True], window=NEAR, label=_names(data))


def _names(data: Hamiltonian) -> list[str]:
    spins = (" up", " down") if data.basis.spin == "collinear" else ("",)
    return [f"{name}{spin}" for name in ("DFT", "perturbed") for spin in spins]


def unfolded(data: Hamiltonian, n_points: int = 90) -> Axes:
    unfolding = make_unfolding(data.system, np.array([[1, 2, 0], [-2, 3, 0], [0, 0, 1.0]]), atoms=range(14))
    path = make_kpath(primitive_system(data.system, unfolding), "GMKG", n_points=n_points)
    bands = compute_bands(data, folded_path(path, unfolding, data.system), projectors=(unfolding,))
    return bands.plot(window=NEAR)


def flat(data: Hamiltonian) -> Axes:
    level = data.fermi_energy or 0.0
    bands = bands_of(data, "KGMK", "layer", n_points=60, fermi=level, solver=Eigensolver(n_bands=12, center=level))
    return bands.plot(window=(-2, 2))


def kpm(data: Hamiltonian) -> Axes:
    mesh, layers = make_mesh(data, (2, 2, 1)), make_projections(data, ["layer"])
    settings = KPMSettings(0.2, 12, single=True)
    return compute_kpm_dos(data, mesh, settings, window=Window(-5, 5, 301), projections=layers).plot()


def side_by_side(data: Hamiltonian) -> Axes:
    dos = dos_of(data, "element", mesh=(48, 48, 1))
    return bands_of(data, "GMKG").plot(dos=dos, window=NEAR, zero="vbm")


def gate(data: Hamiltonian) -> Axes:
    z = data.system.positions[:, 2]
    gated = data.with_potential(lambda r: 0.1 * (r[:, 2] - z.mean()))
    path = "←M=0.4,0.2,0 K=1/3,1/3,0 Γ→=0.27,0.27,0"
    return plot_bands([bands_of(h, path, n_points=200) for h in (data, gated)], label=["no field", "0.1 V/Å"], window=(-1, 1))


KINDS: dict[str, tuple[str, Callable[[Hamiltonian], Axes]]] = {
    "bands": ("mos2", lambda d: bands_of(d, "GMKG").plot(window=NEAR)),
    "crossings": ("graphene", lambda d: bands_of(d, "GMKG", n_points=30).plot(window=(-20, 10))),
    "few": ("graphene", lambda d: bands_of(d, "GMK", n_points=4).plot(window=(-10, 10))),
    "spin": ("fe_bcc_spin", lambda d: bands_of(d).plot()),
    "molecule": ("h2o", lambda d: bands_of(d, title="H2O").plot()),
    "comparison": ("tbg28", lambda d: comparison(d, "GMKG", n_points=60)),
    "comparison_spin": ("fe_bcc_spin", lambda d: comparison(d, "GHNG")),
    "dos": ("mos2", lambda d: dos_of(d, "element", "shell", mesh=(48, 48, 1)).plot()),
    "dos_total": ("graphene", lambda d: dos_of(d, mesh=(60, 60, 1), low=-20, high=10).plot()),
    "dos_spin": ("fe_bcc_spin", lambda d: dos_of(d, "shell", low=-6, high=6).plot()),
    "dos_kpm": ("tbg28", kpm),
    "side_by_side": ("mos2", side_by_side),
    "fat": ("mos2", lambda d: bands_of(d, "GMKG", "element").plot(window=NEAR)),
    "fat_spin_orbit": ("mos2_soc", lambda d: bands_of(d, "GMKG", "spin").plot(window=NEAR)),
    "gate": ("bilayer_ab", gate),
    "unfolded": ("tbg28", unfolded),
    "flat": ("tbg28", flat),
    "fat_shells": ("mos2", lambda d: bands_of(d, "GMKG", "shell").plot(dos=dos_of(d, "element", "shell"), window=NEAR)),
    "fat_collinear": ("fe_bcc_spin", lambda d: bands_of(d, None, "shell").plot(window=NEAR)),
    "fat_atoms": ("bilayer_ab", lambda d: bands_of(d, "GMKG", "atom", "layer").plot(window=NEAR)),
}
"""Name of the figure: the run, and what is drawn of it."""
SMALL = {"bands", "dos", "fat", "gate"}


def main(folder: Path, runs: Path) -> None:
    images = folder.resolve().name == "images"
    for name, (run, draw) in KINDS.items():
        if images and name not in SMALL:
            continue
        save_figure(draw(openmx.read(runs / run)), folder / f"{name}.png")
        if images:  # as wide as the text of a page, in few colours
            with Image.open(folder / f"{name}.png") as image:
                size = (image.width * 2 // 3, image.height * 2 // 3)
                image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(96).save(folder / f"{name}.png", optimize=True)
    if not images:
        page([folder / f"{name}.png" for name in KINDS]).save(folder / "page.png")


def page(files: list[Path], width: int = 2150, gap: int = 20) -> Image.Image:
    """Pictures in lines from the left, on a page two columns wide."""
    pictures = [Image.open(file).convert("RGB") for file in files]
    x, y, tall, places = 0, 0, 0, []
    for picture in pictures:
        if x and x + picture.width > width:
            x, y, tall = 0, y + tall + gap, 0
        places.append((x, y))
        x, tall = x + picture.width + gap, max(tall, picture.height)
    sheet = Image.new("RGB", (width, y + tall), "#c8dcc8")
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
