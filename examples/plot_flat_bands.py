"""Flat bands of a moire cell: the levels nearest the Fermi energy only, coloured by the layer, and the widths of the flat ones.

python plot_flat_bands.py predicted/moire flat.pdf

deeph-bands does the same with MPI, resumably.
"""

import sys

import deeph
from postprocess.bands.widths import bandwidths


def main(folder: str, figure: str) -> None:
    """Compute the bands, print the widths of the flat ones, and draw all of them."""
    h = deeph.read(folder)
    bands = h.bands("KGMK", n_bands=min(20, h.n_orbitals), points=21, projections=["layer"])
    for width in bandwidths(bands):
        if abs(width.center - bands.fermi_energy) < 0.05:
            print(f"band {width.band + 1}: {1000 * width.width:.2f} meV wide")
    bands.save(figure)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
    except deeph.DeephError as error:
        sys.exit(str(error))
