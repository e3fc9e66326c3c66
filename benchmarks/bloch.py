"""Assembly of sparse H(k), S(k): the precomputed pattern against summing one sparse matrix per lattice vector.

    python benchmarks/bloch.py FOLDER [--k 3] [--no-peer]

FOLDER: a structure folder, e.g. one that ``benchmarks/moire.py --keep`` left. The peer sums scipy CSR matrices over R, as
tight-binding codes commonly do; it is measured in the same run on the same data.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from deeph import BlochMatrix, PairBlocks, read_folder
from deeph.physics.bloch import BlochPattern


def matrices_by_R(blocks: PairBlocks, pattern: BlochPattern) -> list[tuple[np.ndarray, sparse.csr_array]]:
    """One CSR matrix for each lattice vector."""
    start, n = pattern.orbital_start, pattern.n_orbitals
    out = []
    R, which = np.unique(blocks.pairs[:, :3], axis=0, return_inverse=True)
    for number, vector in enumerate(R):
        part = blocks.selected(np.flatnonzero(which.reshape(-1) == number))
        rows, columns = [], []
        for (a, b), index in part.groups():
            i, j = part.pairs[index, 3], part.pairs[index, 4]
            rows.append(np.broadcast_to((start[i][:, None] + np.arange(a))[:, :, None], (len(index), a, b)).ravel())
            columns.append(np.broadcast_to((start[j][:, None] + np.arange(b))[:, None, :], (len(index), a, b)).ravel())
        values = np.concatenate([part.take(index)[0].ravel() for _, index in part.groups()])
        out.append((vector, sparse.csr_array((values, (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))))
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--k", type=int, default=3, help="number of k points")
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    data = read_folder(args.folder)
    clock = time.process_time
    t = clock()
    pattern = BlochPattern(data.S.pairs, data.S.shapes, data.system.n_atoms)
    S = BlochMatrix(data.system, data.S, pattern)
    H = BlochMatrix(data.system, data.hamiltonian, pattern) if data.H is not None else S
    sys.stdout.write(
        f"{data.system.n_atoms} atoms, {pattern.n_orbitals} orbitals, {len(pattern.indices) / 1e6:.1f} M nonzeros; "
        f"pattern and order: {clock() - t:.2f} CPU s\n"
    )
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (args.k, 3))
    times = []
    for k in points:
        t = clock()
        H.csr(k)
        Sk = S.csr(k)
        times.append(clock() - t)
    sys.stdout.write(f"H(k) and S(k): {np.median(times):.3f} CPU s a k point (min {min(times):.3f}, max {max(times):.3f})\n")
    sys.stdout.write(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.2f} GiB\n")
    if args.no_peer:
        return
    t = clock()
    by_R = matrices_by_R(data.S, pattern)
    prepared = clock() - t
    peer = []
    for k in points:
        t = clock()
        total = sparse.csr_array((pattern.n_orbitals, pattern.n_orbitals), dtype=complex)
        for R, matrix in by_R:
            total = total + np.exp(2j * np.pi * (R @ k)) * matrix
        peer.append(2 * (clock() - t))  # H and S
    difference = abs(total - Sk).max()
    sys.stdout.write(
        f"sum of {len(by_R)} sparse matrices: {np.median(peer):.3f} CPU s a k point for both (prepared in {prepared:.2f}), "
        f"ratio {np.median(peer) / np.median(times):.1f}; results differ by {difference:.1e}\n"
    )


if __name__ == "__main__":
    main()
