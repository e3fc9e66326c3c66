"""PYATB (doi:10.1016/j.cpc.2023.108844) on the H, S and r of a structure: the files that it reads, and its solver."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian


def solver_of(data: Hamiltonian, folder: Path) -> Any:
    """Its object with H, S and r of a structure without spin or with spinors; skips where the library is not installed."""
    init_tb = pytest.importorskip("pyatb.init_tb").init_tb
    spinor = data.basis.spin == "spinor"
    write(folder / "H", [cells(data, data.hamiltonian, 0)], paired=spinor)
    write(folder / "S", [cells(data, data.S, 0)], paired=spinor)
    write(folder / "r", [cells(data, data.r, axis) for axis in range(3)], paired=False)
    routes = {"HR_route": str(folder / "H"), "SR_route": str(folder / "S"), "rR_route": str(folder / "r")}
    return init_tb(nspin=4 if spinor else 1, lattice_constant=1.0, lattice_vector=data.system.cell, need_rR=True, **routes)


def cells(data: Hamiltonian, blocks: PairBlocks, component: int) -> dict[tuple[int, ...], np.ndarray]:
    """Matrices of all orbitals for each R; of spinors spin up first, and what has no spin is the same for both."""
    spins = 2 if data.basis.spin == "spinor" else 1
    sizes = np.array([sum(2 * l + 1 for l in data.basis.shells[z]) for z in data.system.numbers.tolist()])
    starts, n = np.cumsum(sizes) - sizes, int(sizes.sum())
    out: dict[tuple[int, ...], np.ndarray] = {}
    for number, (*R, i, j) in enumerate(blocks.pairs.tolist()):
        block = blocks.take(np.array([number]))[component, 0]
        block = np.kron(np.eye(spins), block) if len(block) == sizes[i] else block
        matrix = out.setdefault(tuple(R), np.zeros((spins * n, spins * n), block.dtype))
        rows, columns = (
            np.concatenate([start + np.arange(m) + spin * n for spin in range(spins)])
            for start, m in ((starts[i], sizes[i]), (starts[j], sizes[j]))
        )
        matrix[np.ix_(rows, columns)] = block
    return out


def sparse_lines(matrix: np.ndarray, *, paired: bool) -> Iterator[str]:
    """Values, columns and row pointers of a matrix as ABACUS writes them; complex numbers in brackets."""
    rows, columns = np.nonzero(matrix)
    values = matrix[rows, columns]
    yield " ".join(f"({x.real:.17e},{x.imag:.17e})" if paired else f"{x:.17e}" for x in values.tolist())
    yield " ".join(map(str, columns))
    yield " ".join(map(str, np.searchsorted(rows, np.arange(len(matrix) + 1))))


def write(path: Path, parts: list[dict[tuple[int, ...], np.ndarray]], *, paired: bool) -> None:
    """H or S, one part with its number of values beside R; or r, three parts with theirs in lines of their own."""
    lattice, n = sorted(parts[0]), len(next(iter(parts[0].values())))
    lines = [f"Matrix Dimension of X(R): {n}", f"Matrix number of X(R): {len(lattice)}"]
    for R in lattice:
        where = " ".join(map(str, R))
        lines += [where] if len(parts) > 1 else []
        for part in parts:
            count = str(np.count_nonzero(part[R]))
            lines.append(count if len(parts) > 1 else f"{where} {count}")
            lines += sparse_lines(part[R], paired=paired) if count != "0" else []
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
