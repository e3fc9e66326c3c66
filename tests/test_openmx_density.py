"""Density matrices and magnetic moments of OpenMX runs against the output files and against the occupied states."""

import re
from dataclasses import replace

import numpy as np
import pytest
from openmx_files import Layout, scfout_bytes, unpack_run
from scipy.linalg import eigh

from deeph.physics.blocks import PairBlocks
from deeph.physics.conventions import atom_order
from deeph.physics.units import KELVIN
from preprocess.readers.kmesh import k_mesh
from preprocess.readers.openmx import reader as openmx
from preprocess.readers.openmx.scfout import read_scfout


def printed_moments(text: str) -> np.ndarray:
    """The Mulliken moments in an .out file as vectors, Bohr magneton."""
    table = text[text.index("Total spin moment (muB)") : text.index("Sum of MulP")]
    rows = [[float(x) for x in line.split()[2:]] for line in table.splitlines() if re.match(r"\s+\d+\s+[A-Z]", line)]
    out = []
    for _up, _down, _sum, size, *angles in rows:
        theta, phi = np.radians(angles or [0.0, 0.0])
        out.append(size * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]))
    return np.array(out)


@pytest.mark.parametrize(("case", "accuracy"), [("fe_bcc_spin", 1e-8), ("fe_nc_soc", 1e-5), ("o2_nc", 1e-5), ("mos2_soc", 1e-5)])
def test_moments_are_those_of_the_output(shared_data, case, accuracy):
    folder = shared_data / "openmx" / case
    moments = openmx.read(folder).moments
    np.testing.assert_allclose(moments, printed_moments((folder / f"{case}.out").read_text()), atol=accuracy)


def test_no_spin_no_moments(mini_graphene):
    assert mini_graphene.moments is None


def occupied(data, pairs) -> PairBlocks:
    """Sum over the k mesh of f c c^dagger exp(-2 pi i k.R), on given pairs."""
    k, weights = k_mesh(data.source["k_grid"], data.source["k_shift"], fold=False)
    out = PairBlocks.zeros(pairs, data.H.shapes, 1, complex)
    start = data.H_bloch.pattern.orbital_start
    for one, weight in zip(k, weights, strict=True):
        e, c = eigh(data.H_bloch.dense(one), data.S_bloch.dense(one))
        f = 0.5 * (1 - np.tanh((e - data.fermi_energy) / (2 * KELVIN * data.source["electronic_temperature_K"])))
        rho = (c * f) @ c.conj().T * weight
        for n, (R, i, j) in enumerate(zip(pairs[:, :3], pairs[:, 3], pairs[:, 4], strict=True)):
            block = rho[start[i] : start[i + 1], start[j] : start[j + 1]] * np.exp(-2j * np.pi * one @ R)
            out.entries[0, out.offsets[n] : out.offsets[n + 1]] += block.ravel()
    return out


def test_density_of_a_run_without_spin_is_that_of_one_spin(mini_graphene):
    rho = mini_graphene.extra["density_matrix"]
    np.testing.assert_allclose(rho.entries, occupied(mini_graphene, rho.pairs).entries.real, atol=1e-5)


def test_spinor_density_of_39(tmp_path):
    """3.8 leaves out two imaginary parts: they are added to a file of 3.9 here, the others are OpenMX's own numbers."""
    run = unpack_run("mini_te_chain_soc", tmp_path / "old")
    data = openmx.read(run)
    assert "density_matrix" not in data.extra
    expected = occupied(data, data.H.pairs)
    raw = read_scfout(run / "mini_te_chain_soc.scfout")
    one_atom = {52: np.argsort(atom_order("openmx", data.basis.shells[52]))}  # back to OpenMX's order
    native = expected.reordered(data.system.numbers, one_atom, 2)
    blocks = native.entries.reshape(-1, 2, 9, 2, 9)
    imaginary = np.stack([-blocks[:, s, :, s].imag.ravel() for s in (0, 1)])
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "te.scfout").write_bytes(scfout_bytes(replace(raw, density_imaginary=imaginary), Layout(version=3)))
    read = openmx.read(tmp_path / "new").extra["density_matrix"]
    assert np.abs(imaginary).max() > 1e-3
    np.testing.assert_allclose(read.entries, expected.entries, atol=1e-5)
    assert read.hermiticity_error() < 1e-12
