"""Scaling of the eigensolvers with the size of the cell: 30 levels nearest an energy at Gamma.

    OMP_NUM_THREADS=1 python benchmarks/eigen.py FOLDER... [--center -3.6] [--n-bands 30] [--k 0 0 0] [--limit eigsh=12000 ...]

The folders are structure folders with H of growing size, e.g. twisted bilayers that moire.py --keep leaves behind. For each of them
and each solver up to its limit of orbitals: CPU seconds of a factorization and of everything else, the largest residual, and in
the end the fitted exponents. "eigsh" is scipy's shift-invert Lanczos with SuperLU as one would write it first. All solve the same
matrices, in one process.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import eigsh

from deeph import Hamiltonian
from deeph.files.store import read_folder
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.pencil import BlochPencils, Pencil
from postprocess.eigen.search import levels_near
from postprocess.eigen.solver import Eigensolver, compute_levels

LIMITS = {"dense": 5000, "eigsh": 12000, "superlu": 12000, "pardiso": 10**9}


class Watch:
    """CPU seconds spent in the factorizations of a pencil."""

    def __init__(self, pencil: Pencil) -> None:
        self.seconds, factor = 0.0, pencil.factor

        def timed(sigma: float) -> None:
            start = time.process_time()
            factor(sigma)
            self.seconds += time.process_time() - start

        pencil.factor = timed


def own_solver(data: Hamiltonian, backend: str, args: argparse.Namespace) -> dict[str, float]:
    """Shift-invert block Lanczos of this project; "prove" is the price of two counts."""
    start = time.process_time()
    pencil = BlochPencils(data, backend=backend).at(args.k)
    ready = time.process_time()
    watch = Watch(pencil)
    levels = levels_near(pencil, args.center, args.n_bands, verify=False)
    found = time.process_time()
    low, high = levels.energies[0] - 1e-3, levels.energies[-1] + 1e-3
    for end in (low, high):
        pencil.count_below(end)
    done = time.process_time()
    steps = {"assemble": ready - start, "factor": watch.seconds, "iterate": found - ready - watch.seconds, "prove": done - found}
    return steps | {"residual": levels.residuals.max(), "middle": levels.energies[len(levels.energies) // 2]}


def dense_solver(data: Hamiltonian, args: argparse.Namespace) -> dict[str, float]:
    start = time.process_time()
    levels = compute_levels(data, args.k, Eigensolver(n_bands=args.n_bands, center=args.center, options=SolverOptions(name="dense")))
    middle = levels.energies[len(levels.energies) // 2]
    return {"iterate": time.process_time() - start, "residual": levels.residuals.max(), "middle": middle}


def plain_eigsh(data: Hamiltonian, args: argparse.Namespace) -> dict[str, float]:
    H, S = data.H_bloch.csr(args.k).tocsc().astype(float if not np.any(args.k) else complex), data.S_bloch.csr(args.k).tocsc()
    start = time.process_time()
    energies, C = eigsh(H, args.n_bands, S, sigma=args.center)
    seconds = time.process_time() - start
    SC = S @ C
    residual = (np.linalg.norm(H @ C - SC * energies, axis=0) / np.linalg.norm(SC, axis=0)).max()
    return {"iterate": seconds, "residual": residual, "middle": np.sort(energies)[len(energies) // 2]}


def main() -> None:
    """Measure and fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--center", type=float, default=-3.6)
    parser.add_argument("--n-bands", type=int, default=30)
    parser.add_argument("--k", nargs=3, type=float, default=[0.0, 0.0, 0.0])
    parser.add_argument("--limit", nargs="*", default=[], metavar="SOLVER=ORBITALS")
    args = parser.parse_args()
    limits = LIMITS | {name: int(n) for name, n in (text.split("=") for text in args.limit)}
    if not is_installed():
        limits.pop("pardiso")
    rows: dict[str, list[tuple[int, float, float]]] = {}
    print(
        f"{'solver':<9}{'atoms':>7}{'orbitals':>10}{'assemble':>10}{'factor':>10}{'iterate':>10}{'prove':>10}{'residual':>10}{'middle':>12}"
    )
    for folder in args.folders:
        data = hermitian(read_folder(folder))
        n = data.H_bloch.n_orbitals
        for solver, limit in limits.items():
            if n > limit:
                continue
            if solver in ("pardiso", "superlu"):
                result = own_solver(data, solver, args)
            else:
                result = dense_solver(data, args) if solver == "dense" else plain_eigsh(data, args)
            numbers = "".join(f"{result[s]:>10.2f}" if s in result else f"{'-':>10}" for s in ("assemble", "factor", "iterate", "prove"))
            print(f"{solver:<9}{data.system.n_atoms:>7}{n:>10}{numbers}{result['residual']:>10.1e}{result['middle']:>12.7f}", flush=True)
            rows.setdefault(solver, []).append((n, result.get("factor", 0.0), result.get("factor", 0.0) + result["iterate"]))
    print()
    for solver, points in rows.items():
        large = np.array([p for p in points if p[0] > 2000 and p[2] > 0])
        if len(large) > 1:
            total = np.polyfit(np.log(large[:, 0]), np.log(large[:, 2]), 1)[0]
            factor = np.polyfit(np.log(large[:, 0]), np.log(large[:, 1]), 1)[0] if large[:, 1].all() else np.nan
            print(f"{solver:<9} exponent of all {total:.2f}, of the factorization {factor:.2f} (above 2,000 orbitals)")
    for solver in ("eigsh", "dense", "superlu"):
        both = [(n, t, p) for n, _, t in rows.get(solver, []) for m, _, p in rows.get("pardiso", []) if m == n]
        if both:
            n, t, p = both[-1]
            print(f"{solver} against pardiso at {n} orbitals: {t / p:.1f} times the CPU time")


if __name__ == "__main__":
    main()
