"""Kernel polynomial method on a large cell at Gamma: memory, cost of the factor of S, cost of a step, local densities.

    python benchmarks/kpm.py FOLDER [--moments 300] [--vectors 4] [--atoms 1 2 3] [--out ldos.csv]

FOLDER: a structure folder, e.g. one that ``benchmarks/moire.py --keep`` left. Everything in single precision, and matrices are dropped as
soon as they are not needed. With --atoms, the local densities of the p_z orbitals of these atoms (from 1) are written.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph import read_folder
from postprocess.density.kpm import KPMOperator
from postprocess.density.kpm_moments import exact_moments, random_moments
from postprocess.eigen.pencil import BlochPencils, Pencil


def report(text: str, start: float) -> None:
    """CPU time since ``start`` and peak memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"{text:<42} {time.process_time() - start:9.2f} CPU s, peak {peak:6.2f} GiB\n")
    sys.stdout.flush()


def read_pencil(folder: Path) -> tuple[Pencil, np.ndarray, np.ndarray]:
    """H and S at Gamma in single precision, first p_z orbital of each atom, and the positions."""
    data = read_folder(folder)
    z = np.array([_first_pz(data.basis.shells[n]) for n in data.system.numbers.tolist()])
    data = replace(data, S=replace(data.S, entries=data.S.entries.astype(np.float32)))
    orbitals, positions = data.H_bloch.pattern.orbital_start[:-1] + z, data.system.positions
    pencils = BlochPencils(data, single=True)
    del data
    pencil = pencils.at(np.zeros(3))
    half = Pencil(pencil.H.astype(np.float32), pencil.S.astype(np.float32), pencil.factorization)
    return half, orbitals, positions


def _first_pz(shells: tuple[int, ...]) -> int:
    """Place of p_z (m = 0) of the first p shell among the orbitals of an atom."""
    return sum(2 * l + 1 for l in shells[: shells.index(1)]) + 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=300)
    parser.add_argument("--vectors", type=int, default=4)
    parser.add_argument("--atoms", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("ldos.csv"))
    args = parser.parse_args()
    start = time.process_time()
    pencil, orbitals, positions = read_pencil(args.folder)
    report(f"{pencil.n} orbitals, {pencil.H.nnz / 1e6:.1f} M elements read", start)
    start = time.process_time()
    operator = KPMOperator(pencil, single=True)
    low, high = operator.center - operator.half_width, operator.center + operator.half_width
    report(f"factor of S, bounds {low:.2f} to {high:.2f} eV", start)
    for name, count in (("product with H, one vector", 1), (f"product with H, {args.vectors} vectors", args.vectors)):
        x, y = operator.half_solve(operator.random_phases(count, np.random.default_rng(1)))
        start = time.process_time()
        operator.step(x, y)
        report(name, start)
        start = time.process_time()
        operator.solve(y)
        report(name.replace("product with H", "solution with S"), start)
    if args.atoms:
        chosen = orbitals[np.array(args.atoms) - 1]
        groups = np.zeros((len(chosen), pencil.n), bool)
        groups[np.arange(len(chosen)), chosen] = True
        start = time.process_time()
        local = exact_moments(operator, args.moments, groups)
        cost = (time.process_time() - start) / (args.moments * len(chosen))
        report(f"{args.moments} local moments of {len(chosen)} orbitals, {cost:.3f} a moment", start)
        energies = np.linspace(low, high, 2001)
        density = np.gradient(local.counts(energies)[0], energies, axis=1)
        head = f"kernel width {local.width:.3f} eV; columns: energy (eV), " + ", ".join(
            f"p_z of atom {a} at ({', '.join(f'{p:.3f}' for p in positions[a - 1])})" for a in args.atoms
        )
        np.savetxt(args.out, np.column_stack([energies, density.T]), delimiter=",", header=head, fmt="%.7g")
    start = time.process_time()
    moments = random_moments(operator, args.moments, args.vectors, np.random.default_rng(0))
    cost = (time.process_time() - start) / (args.moments * args.vectors)
    report(f"{args.moments} moments of {args.vectors} random vectors, {cost:.3f} a moment", start)
    counts = moments.counts(np.linspace(low, high, 9))[:, 0]
    scatter = counts.std(axis=0, ddof=1).round(2).tolist() if args.vectors > 1 else "one vector"
    sys.stdout.write(
        f"states below {np.linspace(low, high, 9).round(2).tolist()} eV: {counts.mean(axis=0).round(1).tolist()} +- {scatter}\n"
    )


if __name__ == "__main__":
    main()
