"""Fat bands by shell, and the density of states beside them on the same energy axis.

python plot_fat_bands.py data/MoS2 fat.pdf
"""

import sys
from pathlib import Path

from deeph import read_folder
from deeph.files.figures import save_figure
from deeph.runtime.errors import DeephError
from postprocess.bands.bands import compute_bands
from postprocess.density.dos import Window, compute_dos
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.lattice.kpath import make_kpath
from postprocess.output.plot_fat import plot_fat_bands
from postprocess.states.orbital_groups import make_projections
from postprocess.states.projectors import make_projectors


def main(folder: str, figure: str) -> None:
    """Compute the bands and the density of states, and draw them."""
    data = read_folder(folder)

    bands = compute_bands(data, make_kpath(data.system, n_points=150), projectors=make_projectors(data, ["shell"]))
    dos = compute_dos(data, make_mesh(data), window=Window(-3, 3), projections=make_projections(data, ["shell"]))

    save_figure(plot_fat_bands(bands, window=(-3, 3), dos=dos)[0], Path(figure))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except DeephError as error:
        sys.exit(str(error))
