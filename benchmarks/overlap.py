"""Overlap of twisted bilayer graphene from 28 to 11,164 atoms with deeph-overlap: time, memory, and whether both are linear in N.

    python benchmarks/overlap.py C6.0.pao [--contraction s2p2d1] [--structure MATBG.dat] [--threads 1]

Each structure is one run of the command in a process of its own, files included. The last line is the slope of log(time) against log(N)
of the work beyond the smallest cell (whose time is the start of Python and the tables).
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from preprocess.structures.monolayer import graphene
from preprocess.structures.twist import twisted

SIZES = (1, 3, 6, 12, 20, 30)
"""The commensurate cells (m, m + 1): 28, 148, 508, 1,876, 5,044 and 11,164 atoms."""


def run(structure: Path, basis: str, out: Path, threads: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in GiB of one command."""
    command = [sys.executable, "-m", "preprocess.cli.overlap", str(structure), "--basis", basis, str(out), "--threads", threads]
    start = time.monotonic()
    process = os.posix_spawn(sys.executable, command, {**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss / 1024**2


def main() -> None:
    """Run all sizes and fit the exponent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pao", type=Path)
    parser.add_argument("--contraction", default="s2p2d1")
    parser.add_argument("--structure", type=Path, help="one more structure, e.g. an OpenMX input")
    parser.add_argument("--threads", default="1")
    args = parser.parse_args()
    basis = f"{args.pao}:{args.contraction}"
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for m in SIZES:
            system = twisted([graphene(), graphene()], indices=(m, m + 1), shifts=np.zeros((2, 2))).system
            structure = work / f"{m}.vasp"
            system.to_ase().write(structure, format="vasp", direct=True)
            figures.append((system.n_atoms, *run(structure, basis, work / str(m), args.threads)))
        if args.structure:
            name, given = args.structure.name, run(args.structure, basis, work / "given", args.threads)
    for n_atoms, cpu, wall, memory in figures:
        sys.stdout.write(f"{n_atoms:6d} atoms  {cpu:7.2f} CPU s  {wall:7.2f} s  {memory:5.2f} GiB\n")
    if args.structure:
        sys.stdout.write("{}: {:.2f} CPU s  {:.2f} s  {:.2f} GiB\n".format(name, *given))
    N, cpu = np.array(figures)[:, :2].T
    slope = np.polyfit(np.log(N[-3:]), np.log(cpu[-3:] - cpu[0]), 1)[0]
    sys.stdout.write(f"time of the three largest ~ N^{slope:.2f}\n")


if __name__ == "__main__":
    main()
