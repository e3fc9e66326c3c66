"""DFT data without any other program: monolayer boron nitride with PySCF.

    python examples/pyscf_quickstart.py quickstart/runs

makes, in a few minutes on two cores, one run folder for each structure:

    quickstart/runs/train/000 ... 011    2 x 2 cells (8 atoms), every atom displaced at random
    quickstart/runs/test/hbn             the perfect 2-atom cell, never trained on

The runs are resumed where they were interrupted. README.md goes on from here to a trained model and its bands.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from deeph.system import System
from preprocess.readers.pyscf_run import RUN_FILE, save_run

LATTICE_CONSTANT = 2.50  # Angstrom
VACUUM = 12.0  # cell height, Angstrom: more than the reach of boron's orbitals, 11.2
DISPLACEMENT = 0.06  # standard deviation along each axis, Angstrom


def boron_nitride(repeats: int, displacement: float, seed: int) -> System:
    """A monolayer of ``repeats x repeats`` cells with Gaussian displacements (Angstrom)."""
    a = LATTICE_CONSTANT
    primitive = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, VACUUM]])
    shifts = [(i, j, 0) for i in range(repeats) for j in range(repeats)]
    fractional = [np.add(shift, site) for site in ((0, 0, 0.5), (2 / 3, 1 / 3, 0.5)) for shift in shifts]
    positions = np.array(fractional) @ primitive
    positions += np.random.default_rng(seed).normal(scale=displacement, size=positions.shape) if displacement else 0.0
    return System(primitive * [[repeats], [repeats], [1]], positions, np.repeat([5, 7], len(shifts)))


def calculate(folder: Path, system: System, mesh: int, cutoff: float = 100.0) -> str:
    """Converge PBE in the basis gth-szv and save the run; ``mesh x mesh x 1`` k points, plane waves up to ``cutoff`` Hartree."""
    if (folder / RUN_FILE).is_file():
        return f"{folder} is there already"
    from pyscf.pbc import dft, gto

    atoms = list(zip(system.symbols, system.positions.tolist(), strict=True))
    cell = gto.M(a=system.cell, atom=atoms, unit="A", basis="gth-szv", pseudo="gth-pbe", ke_cutoff=cutoff, precision=1e-6, verbose=0)
    mf = dft.KRKS(cell, cell.make_kpts([mesh, mesh, 1]), xc="pbe").multigrid_numint()
    mf.conv_tol = 1e-9
    energy = mf.kernel()
    save_run(mf, folder)
    return f"{folder}: {energy:.6f} Hartree"


def main() -> None:
    """Calculate all structures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the run folders")
    parser.add_argument("--structures", type=int, default=12, help="training structures (default 12)")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="calculations at the same time (default 2)")
    args = parser.parse_args()
    work = [(args.out / "test" / "hbn", boron_nitride(1, 0.0, 0), 6)]
    work += [(args.out / "train" / f"{n:03d}", boron_nitride(2, DISPLACEMENT, n), 3) for n in range(args.structures)]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(calculate, *item) for item in work]:
            print(future.result())
            sys.stdout.flush()


if __name__ == "__main__":
    main()
