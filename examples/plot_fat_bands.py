"""Fat bands by shell, and the density of states beside them on the same energy axis.

python plot_fat_bands.py data/MoS2 fat.pdf
"""

import sys

import deeph


def main(folder: str, figure: str) -> None:
    """Compute the bands and the density of states, and draw them."""
    h = deeph.read(folder)
    bands = h.bands(points=150, projections=["shell"])
    bands.save(figure, window=(-3, 3), dos=h.dos((-3, 3), projections=["shell"]))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
    except deeph.DeephError as error:
        sys.exit(str(error))
