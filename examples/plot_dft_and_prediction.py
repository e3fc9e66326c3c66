"""Bands of DFT as lines and of a prediction as dots, with the mean error near the Fermi level.

python plot_dft_and_prediction.py data/000 predicted/000 bands.pdf
"""

import sys

import deeph
from postprocess.compare.bands import compare_bands


def main(dft: str, predicted: str, figure: str) -> None:
    """Compute both on one path and energy zero, compare them, and draw them."""
    reference = deeph.read(dft).bands(points=120)
    bands = deeph.read(predicted).bands(reference.path, fermi=reference.fermi_energy)
    print(f"mean absolute error within 2 eV of the Fermi level: {compare_bands(reference, bands).near_fermi.mae:.3f} meV")
    reference.save(figure, bands, window=(-3, 3), dots=[False, True])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:]) if len(sys.argv) == 4 else sys.exit(__doc__)
    except deeph.DeephError as error:
        sys.exit(str(error))
