"""Structures to export, and small readers of the written files that follow the formats' descriptions and share no code with the writers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from openmx_files import unpack_run
from scipy.linalg import eigh

from deeph.physics.blocks import PairBlocks
from preprocess.readers import openmx

K_POINTS = np.array([[0.0, 0.0, 0.0], [0.13, 0.21, 0.37], [0.5, 0.0, 0.0], [-0.31, 0.44, 0.05]])


def te_chain(folder: Path):
    """A tellurium chain with spin-orbit coupling (OpenMX, s1p2d... small basis), spinors, with r."""
    return openmx.read(unpack_run("mini_te_chain_soc", folder))


def magnet(h, field=0.3):
    """The same structure with collinear spins: H -+ field S on the two spins."""
    up, down = (h.H.entries[0] + s * field * h.S.entries[0] for s in (-1, 1))
    return replace(h, basis=replace(h.basis, spin="collinear"), H=PairBlocks(h.H.pairs, h.H.shapes, np.stack([up, down])), extra={})


def levels(H, S=None):
    """Eigenvalues of dense matrices."""
    return eigh(H, S, eigvals_only=True)


def bloch(matrices, k):
    """Sum exp(2 pi i k.R) M(R) of {R: M}."""
    return sum(np.exp(2j * np.pi * np.dot(R, k)) * M for R, M in matrices.items())


def read_hr(path):
    """{R: H} of a ``_hr.dat``, elements over the degeneracies."""
    lines = path.read_text().splitlines()
    n, n_R = int(lines[1]), int(lines[2])
    row = 3 + -(-n_R // 15)
    degeneracy = [int(x) for line in lines[3:row] for x in line.split()]
    out = {}
    for line in lines[row:]:
        R1, R2, R3, i, j, re, im = line.split()
        R = int(R1), int(R2), int(R3)
        out.setdefault(R, np.zeros((n, n), complex))[int(i) - 1, int(j) - 1] = float(re) + 1j * float(im)
    assert len(out) == n_R
    return {R: H / d for (R, H), d in zip(out.items(), degeneracy, strict=True)}


def read_tb(path):
    """(cell, {R: H}, {R: r}) of a ``_tb.dat``."""
    head, *parts = path.read_text().split("\n\n")
    words = head.splitlines()
    cell = np.array([[float(x) for x in line.split()] for line in words[1:4]])
    n, n_R = int(words[4]), int(words[5])
    degeneracy = [int(x) for line in words[6:] for x in line.split()]
    assert len(degeneracy) == n_R
    assert len(parts) == 2 * n_R
    H, r = {}, {}
    for d, part in zip(degeneracy * 2, parts, strict=True):
        first, *rows = part.strip().splitlines()
        R = tuple(int(x) for x in first.split())
        table = np.array([[float(x) for x in line.split()] for line in rows])
        into = r if R in H else H
        into[R] = np.zeros(((table.shape[1] - 2) // 2, n, n), complex)
        i, j = table[:, :2].astype(int).T - 1
        into[R][:, i, j] = (table[:, 2::2] + 1j * table[:, 3::2]).T / d
    return cell, {R: one[0] for R, one in H.items()}, r


def read_sparse(path):
    """{R: M} of WannierTools' sparse form."""
    _, count, n, *rows = path.read_text().splitlines()
    assert len(rows) == int(count)
    out = {}
    for line in rows:
        R1, R2, R3, i, j, re, im = line.split()
        R = int(R1), int(R2), int(R3)
        out.setdefault(R, np.zeros((int(n), int(n)), complex))[int(i) - 1, int(j) - 1] = float(re) + 1j * float(im)
    return out


def read_petsc(path):
    """All matrices of a PETSc binary file."""
    data, out = path.read_bytes(), []
    while data:
        kind, rows, columns, n = np.frombuffer(data, ">i4", 4)
        assert kind == 1211216
        lengths = np.frombuffer(data, ">i4", rows, 16)
        index = np.frombuffer(data, ">i4", n, 16 + 4 * rows)
        values = np.frombuffer(data, ">c16", n, 16 + 4 * rows + 4 * n)
        matrix = np.zeros((rows, columns), complex)
        matrix[np.repeat(np.arange(rows), lengths), index] = values
        out.append(matrix)
        data = data[16 + 4 * rows + 20 * n :]
    return out


def read_hamgnn(path, places):
    """(H(k) of k, S(k) of k) as HamGNN builds them: edges in atomic units, orbitals padded; which places hold one is given per element."""
    graph = np.load(path, allow_pickle=True)["graph"].item()[0]
    z = graph.z.numpy()
    width = round(np.sqrt(graph.Son.shape[1]))
    spins = round(np.sqrt(graph.Hon.shape[1])) // width
    used = np.concatenate([width * atom + np.array(places[n]) for atom, n in enumerate(z.tolist())])
    cell = graph.cell.numpy()[0].astype(float)
    edge, shift = graph.edge_index.numpy(), graph.nbr_shift.numpy()
    turned = graph.inv_edge_idx.numpy()
    assert np.array_equal(edge[::-1], edge[:, turned])
    assert np.array_equal(graph.cell_shift.numpy(), -graph.cell_shift.numpy()[turned])
    assert np.allclose(graph.cell_shift.numpy() @ cell, shift, atol=1e-5)

    def matrix(on, off, s, t):
        n = len(z)

        def at(k):
            phase = np.exp(2j * np.pi * shift @ np.linalg.inv(cell) @ k)
            out = np.zeros((n, width, n, width), complex)
            for atom in range(n):
                out[atom, :, atom] += _part(on[atom], width, s, t)
            for e in range(edge.shape[1]):
                out[edge[0, e], :, edge[1, e]] += phase[e] * _part(off[e], width, s, t)
            return out.reshape(n * width, n * width)[np.ix_(used, used)]

        return at

    S = matrix(graph.Son.numpy(), graph.Soff.numpy(), 0, 0)
    on, off = graph.Hon.numpy().astype(complex), graph.Hoff.numpy().astype(complex)
    if spins == 2:
        on, off = on + 1j * graph.iHon.numpy(), off + 1j * graph.iHoff.numpy()
    H = [[matrix(on, off, s, t) for t in range(spins)] for s in range(spins)]
    return (lambda k: np.block([[one(k) for one in row] for row in H])), (lambda k: np.kron(np.eye(spins), S(k)))


def _part(flat, width, s, t):
    """One spin of a padded block."""
    size = round(np.sqrt(len(flat)))
    return flat.reshape(size, size)[s * width : (s + 1) * width, t * width : (t + 1) * width]
