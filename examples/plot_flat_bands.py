"""Flat bands of a moire cell: the levels nearest the Fermi energy only, coloured by the layer, resumable.

Call it again after an interruption; under ``mpirun -n N`` the k-points are shared.

    python plot_flat_bands.py predicted/moire flat.pdf
"""

import os
import sys
from pathlib import Path

import numpy as np

from deeph import read_folder
from deeph.files.figures import save_figure
from deeph.runtime.errors import DeephError
from deeph.runtime.processes import find_group
from postprocess.bands.bands import compute_bands
from postprocess.bands.widths import bandwidths
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.kpath import make_kpath
from postprocess.output.plot_fat import plot_fat_bands
from postprocess.states.fermi import find_fermi_level
from postprocess.states.kjobs import Jobs
from postprocess.states.projectors import make_projectors


def main(folder: str, figure: str) -> None:
    """Compute the bands, print the widths of the flat ones, and draw all of them."""
    data = read_folder(folder)
    fermi = find_fermi_level(data, needed=True).energy  # that of the folder, else by counting the electrons
    n_bands = min(20, data.H_bloch.n_orbitals)

    bands = compute_bands(
        data,
        make_kpath(data.system, "KGMK", n_points=21),
        fermi=fermi,
        solver=Eigensolver(n_bands=n_bands, center=fermi),
        projectors=make_projectors(data, ["layer"]),
        jobs=(jobs := Jobs(group=find_group(os.environ), scratch=Path(figure).with_suffix(".kpoints"))),
    )
    if jobs.group.rank == 0:
        for width in bandwidths(bands):
            if abs(width.center - fermi) < 0.05:
                print(f"band {width.band + 1}: {1000 * width.width:.2f} meV wide")
        low, high = np.nanmin(bands.energies) - fermi, np.nanmax(bands.energies) - fermi
        save_figure(plot_fat_bands(bands, window=(low, high))[0], Path(figure))
        jobs.finish()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except DeephError as error:
        sys.exit(str(error))
