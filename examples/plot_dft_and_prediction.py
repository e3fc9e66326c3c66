"""Bands of DFT as lines and of a prediction as dots, with the band errors.

python plot_dft_and_prediction.py data/000 predicted/000 bands.pdf
"""

import sys
from pathlib import Path

from deeph import read_folder
from deeph.files.figures import save_figure
from deeph.runtime.errors import DeephError
from postprocess.bands.bands import compute_bands
from postprocess.compare.bands import compare_bands
from postprocess.compare.like import compute_bands_like
from postprocess.lattice.kpath import make_kpath
from postprocess.output.plot import plot_bands


def main(dft_folder: str, predicted_folder: str, figure: str) -> None:
    """Compute both, compare them, and draw them."""
    dft, predicted = read_folder(dft_folder), read_folder(predicted_folder)

    reference = compute_bands(dft, make_kpath(dft.system, n_points=120), title="DFT")
    bands = compute_bands_like(reference, predicted, title="network")

    errors = compare_bands(reference, bands)
    print(f"mean absolute error within 2 eV of the Fermi level: {errors.near_fermi.mae:.3f} meV")

    save_figure(plot_bands([reference, bands], window=(-3, 3), dots=[False, True]), Path(figure))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except DeephError as error:
        sys.exit(str(error))
