"""Curvatures of DFT in its own non-orthogonal basis, against PYATB (doi:10.1016/j.cpc.2023.108844) on the same H, S and r."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from postprocess.geometry.geometry import Geometry
from preprocess.readers import openmx

POINTS = np.array([[1 / 3, 1 / 3, 0], [0.1, 0.23, 0], [0.41, -0.13, 0], [0.05, 0.02, 0]])


def cells(data: Hamiltonian, blocks: PairBlocks, component: int) -> dict[tuple[int, ...], np.ndarray]:
    """Matrices of all orbitals and spins for each R, spin up first; what has no spin is the same for both."""
    sizes = np.array([sum(2 * l + 1 for l in data.basis.shells[z]) for z in data.system.numbers.tolist()])
    starts, n = np.cumsum(sizes) - sizes, int(sizes.sum())
    out: dict[tuple[int, ...], np.ndarray] = {}
    for number, (*R, i, j) in enumerate(blocks.pairs.tolist()):
        block = blocks.take(np.array([number]))[component, 0]
        block = np.kron(np.eye(2), block) if len(block) == sizes[i] else block
        matrix = out.setdefault(tuple(R), np.zeros((2 * n, 2 * n), block.dtype))
        rows, columns = (
            np.concatenate([s + np.arange(m), n + s + np.arange(m)]) for s, m in ((starts[i], sizes[i]), (starts[j], sizes[j]))
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


def test_curvature_of_dft_as_in_pyatb(shared_data, tmp_path, monkeypatch):
    """MoS2 with spin-orbit coupling and OpenMX's r: all filled bands as a group, as curl and as Kubo sum."""
    monkeypatch.chdir(tmp_path)  # it writes a log
    init_tb = pytest.importorskip("pyatb.init_tb").init_tb
    data = openmx.read(shared_data / "openmx" / "mos2_soc")
    write(tmp_path / "H", [cells(data, data.hamiltonian, 0)], paired=True)
    write(tmp_path / "S", [cells(data, data.S, 0)], paired=True)
    write(tmp_path / "r", [cells(data, data.r, axis) for axis in range(3)], paired=False)
    theirs = init_tb(
        nspin=4, lattice_constant=1.0, lattice_vector=data.system.cell, HR_route="H", SR_route="S", need_rR=True, rR_route="r"
    ).tb_solver
    g, n = Geometry(data, POINTS), round(data.n_electrons)
    for number, method in enumerate(("curl", "kubo")):
        ours = g.curvature_matrix(range(n), method).trace(axis1=-2, axis2=-1).real
        assert np.abs(ours[:, 2]).max() > 17
        assert np.abs(theirs.get_total_berry_curvature_occupiedNumber(POINTS, n, number) - ours).max() < 1e-7
