"""Prediction of a magic-angle bilayer: 11,164 atoms, about 900,000 blocks, one process.

    python benchmarks/moire.py MODEL OVERLAP_FOLDER [--index 30] [--structure CELL.vasp] [--threads 1]

The cell is the commensurate bilayer (m, m+1) with 4 (3 m^2 + 3 m + 1) atoms (m = 30: 11,164 atoms, 1.08 degrees), or any structure
file. Its overlap is the two-centre fit to the S of OVERLAP_FOLDER (a structure folder with the same basis), so the figure is about
deeph-infer, not about S.
Prints time and memory of the command, as the operating system accounts for them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from deeph import Hamiltonian, PairBlocks, System, write_folder
from deeph.files.store import read_folder
from deeph.nn.baseline import PairBaseline
from deeph.nn.frames import bond_matrices
from deeph.nn.graph import frame_coefficients, select_bonds
from deeph.nn.model import HamiltonianModel
from deeph.nn.spin import spin_parts
from deeph.physics.blocks import block_shapes
from deeph.physics.pairs import find_pairs, is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import read_structure
from deeph.training.checkpoint import load_model
from preprocess.structures.monolayer import graphene
from preprocess.structures.twist import twisted

VACUUM = 12.65  # Angstrom: a cell of 16


def fitted_overlap(system: System, reference: Hamiltonian, model: HamiltonianModel) -> Hamiltonian:
    """S from the two-centre functions of a reference structure of the same (single) element."""
    kind = (6, 6)
    cutoff = model.cutoffs[kind]
    tables, (part,) = model.tables("A0"), spin_parts("none", ["A0"])
    bonds = select_bonds(reference, model.cutoffs)
    coefficients, onsite = frame_coefficients(reference, model, bonds, "S")["A0"]
    r = torch.as_tensor(np.linalg.norm(pair_vectors(reference.system, reference.S.pairs[bonds]), axis=1))
    c = coefficients.view(len(r), -1)
    functions = PairBaseline(part, tables.pairs[kind], cutoff, 30)
    functions.shortest.fill_(float(r.min()))
    F = functions.functions(r)
    functions.series.copy_(torch.linalg.lstsq(F, c[:, functions.sigma_plus]).solution)
    residual = float((c - two_centre(functions, r)[:, 0]).abs().max())
    sys.stdout.write(f"two-centre fit of S: largest error {residual:.1e}\n")

    pairs = neighbour_pairs(system, {6: cutoff / 2})
    S = PairBlocks.zeros(pairs, block_shapes(reference.basis, system.numbers, pairs, spin=False))
    own = np.flatnonzero(is_onsite(pairs))
    block = tables.atom_blocks(6, onsite.view(reference.system.n_atoms, 1, -1).mean(0, keepdim=True))[:, 0].numpy()
    S.put(own, np.repeat(block, len(own), axis=0))
    half = np.flatnonzero(find_pairs(pairs, pairs) >= 0)
    half = half[(S.partners > np.arange(len(pairs)))[half] & ~is_onsite(pairs)[half]]
    for run in np.array_split(half, max(1, len(half) // 20000)):
        v = torch.as_tensor(pair_vectors(system, pairs[run]))
        blocks = tables.pair_blocks(kind, two_centre(functions, v.norm(dim=1)), bond_matrices(v, model.largest_shell))[:, 0].numpy()
        S.put(run, blocks)
        S.put(S.partners[run], np.ascontiguousarray(blocks.swapaxes(1, 2)))
    return Hamiltonian(system, reference.basis, S)


def two_centre(functions: PairBaseline, r: torch.Tensor) -> torch.Tensor:
    """(n, 1, size) coefficients at the lengths r; S knows no moments."""
    return functions.two_centre(r, r.new_zeros(len(r), 2, 1))


def main() -> None:
    """Build, predict, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--index", type=int, default=30)
    parser.add_argument("--structure", type=Path)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--keep", type=Path, help="keep the folders here")
    args = parser.parse_args()
    magic = twisted([graphene()] * 2, indices=(args.index, args.index + 1), vacuum=VACUUM).system
    system = read_structure(args.structure) if args.structure else magic
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        start = time.monotonic()
        data = fitted_overlap(system, read_folder(args.reference), load_model(args.model))
        write_folder(work / "overlap" / "moire", data, overwrite=True)
        n_pairs, n_atoms = data.S.n_pairs, system.n_atoms
        sys.stdout.write(f"{n_atoms} atoms, {n_pairs} blocks; overlap written in {time.monotonic() - start:.1f} s\n")
        del data
        command = [sys.executable, "-m", "deeph.cli.infer", args.model, work / "overlap" / "moire", work / "predicted", "--overwrite"]
        start = time.monotonic()
        subprocess.run([*command, "--threads", args.threads], check=True, env={**os.environ, "OMP_NUM_THREADS": args.threads})  # noqa: S603 - our own command
        wall = time.monotonic() - start
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        sys.stdout.write(
            f"deeph-infer: {usage.ru_utime + usage.ru_stime:.1f} CPU s, {wall:.1f} s wall, peak {usage.ru_maxrss / 1024**2:.2f} GiB, "
            f"{1e6 * (usage.ru_utime + usage.ru_stime) / (n_pairs - n_atoms):.1f} us per directed edge all in\n"
        )


if __name__ == "__main__":
    main()
