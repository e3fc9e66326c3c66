"""Sparse routes on DFT, where orbitals are nearly dependent: MoS2 with spin-orbit coupling, a twisted bilayer with 13 orbitals an atom."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_large_group import path_of
from test_large_kubo import FRAME, by_levels

import deeph
from deeph.files.store import read_folder
from postprocess.density.kpm import KPMOperator
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.solver import Eigensolver
from postprocess.geometry.curvature import compute_curvature
from postprocess.geometry.positions import find_positions
from postprocess.large import kubo_work
from postprocess.large.find_group import Bands
from postprocess.large.group_curvature import group_curvature
from postprocess.large.kubo import NEAR, WARM_NEAR, PairFunctions, sums_over_pairs
from postprocess.large.kubo_moments import Velocity, double_moments
from postprocess.large.kubo_work import KuboWork, VectorTask
from postprocess.large.level_work import LevelWork
from postprocess.large.sparse_basis import SparseBasis
from postprocess.states.kjobs import KTask
from preprocess.cli import overlap
from preprocess.readers import openmx

K = np.array([[1 / 3, 1 / 3, 0], [-1 / 3, -1 / 3, 0], [0.21, 0.13, 0.0]])


@pytest.fixture(scope="module")
def mos2(shared_data):
    return hermitian(openmx.read(shared_data / "openmx" / "mos2_soc"))


def test_valence_pair_by_linear_solves(mos2):
    dense = compute_curvature(mos2, path_of(K), None, group=(24, 25))
    found, _ = group_curvature(mos2, path_of(K), Bands(24, 26, mos2.fermi_energy))
    for name in ("curl", "kubo", "separation"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name), atol=1e-6)
    for name in ("levels", "kubo_levels", "metric", "orbital_moment"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name)[..., 24:26], atol=1e-6)
    assert found.difference > 0.01  # r leads out of the basis
    np.testing.assert_allclose(found.curl[0, 0], -found.curl[0, 1], atol=1e-6)


def test_pairs_of_levels_by_polynomials(mos2):
    """With the exact trace, in a spectrum that is 170 eV wide."""
    functions = PairFunctions(mos2.fermi_energy, 12000.0, np.array([3.0, 6.0]), 1.6, 2.0)
    absorption, hall = by_levels(mos2, K[2], functions)
    operator = KPMOperator(BlochPencils(mos2).at(K[2]))
    velocity = Velocity.along(SparseBasis(mos2, find_positions(mos2)), K[2], 0, FRAME, operator.dtype)
    n = functions.moments(operator.half_width, hall=True)
    moments = double_moments(operator, velocity, n, np.eye(operator.n, dtype=operator.dtype)).sum(axis=0)
    found = sums_over_pairs(functions, moments, operator.center, operator.half_width, hall=True)
    np.testing.assert_allclose(found["absorption"], absorption, atol=3e-3 * np.abs(absorption).max())
    np.testing.assert_allclose((found["hall"] - found["hall"].T) / 2, (hall - hall.T) / 2, atol=3e-3 * np.abs(hall).max())


TWIST = (0.30, 0.62, 0.0)
"""Near K of the twisted bilayer, whose levels there absorb infrared light."""


@pytest.fixture(scope="module")
def twisted(shared_data):
    """28 atoms with 13 orbitals each, levels from -20 to 210 eV about the Fermi energy."""
    return hermitian(openmx.read(shared_data / "openmx" / "tbg28"))


@pytest.fixture(params=["OpenMX", "overlap engine"])
def placed(request, twisted, shared_data, tmp_path):
    """With the position matrix of OpenMX, or of the overlap engine."""
    if request.param == "OpenMX":
        return twisted
    run, basis = shared_data / "openmx" / "tbg28" / "tbg28.dat", f"{shared_data}/openmx/PAO/C6.0.pao:s2p2d1"
    with pytest.raises(SystemExit, match="0"):
        overlap.main([str(run), str(tmp_path / "S"), "--basis", basis, "--positions"])
    deeph.write_folder(tmp_path / "H", replace(twisted, r=None))
    shutil.copy(tmp_path / "S" / "position_matrix.h5", tmp_path / "H")
    return hermitian(read_folder(tmp_path / "H", positions=True))


def test_group_of_a_twisted_bilayer(placed):
    data = placed
    k = np.array([TWIST, np.negative(TWIST)])
    dense = compute_curvature(data, path_of(k), None, group=(54, 55, 56, 57))
    found, _ = group_curvature(data, path_of(k), Bands(54, 58, -3.6))
    for name in ("curl", "kubo", "separation"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name), atol=1e-8)
    for name in ("levels", "kubo_levels", "metric", "orbital_moment"):
        other = getattr(dense, name)[..., 54:58]
        np.testing.assert_allclose(getattr(found, name), other, rtol=1e-8, atol=1e-8 * np.abs(other).max())
    assert np.abs(found.levels).max() > 1
    np.testing.assert_allclose(found.curl[0, 0], -found.curl[0, 1], atol=1e-8)


def test_levels_of_a_twisted_bilayer_absorb_as_all_levels_do(twisted):
    functions = PairFunctions(twisted.fermi_energy, 300.0, np.array([0.2, 0.5, 1.0, 2.0]), 0.1, 0.5)
    exact, _ = by_levels(twisted, np.array(TWIST), functions)
    reach = functions.reach(NEAR, WARM_NEAR)
    solver = Eigensolver(low=twisted.fermi_energy - reach, high=twisted.fermi_energy + reach, options=SolverOptions(name="superlu"))
    frame = tuple(map(tuple, FRAME.tolist()))
    found = LevelWork(twisted, solver, find_positions(twisted), frame, functions)(KTask(0, TWIST))
    np.testing.assert_allclose(found["absorption"], exact, atol=1e-8 * np.abs(exact).max())
    assert np.abs(exact).max() > 10


@pytest.mark.slow
def test_polynomials_of_a_nearly_dependent_basis_fit_into_memory(twisted, monkeypatch):
    """Thousands of moments, whose sums are made as they come."""
    monkeypatch.setattr(kubo_work, "available_memory", lambda: 0.2 * 2**30)
    functions = PairFunctions(twisted.fermi_energy, 1200.0, np.array([0.5, 1.0, 2.0, 3.0]), 0.2, 0.5)
    frame = tuple(map(tuple, FRAME.tolist()))
    work = KuboWork(twisted, find_positions(twisted), frame, functions, hall=False, seed=0, single=False, n_tasks=4)
    samples = np.array([work(VectorTask(0, TWIST, n))["absorption"][[0, 1], [0, 1]].real.sum(axis=0) for n in range(4)])
    exact = np.einsum("aam->m", by_levels(twisted, np.array(TWIST), functions)[0]).real
    error = samples.std(axis=0, ddof=1) / 2
    assert (np.abs(samples.mean(axis=0) - exact) < 6 * error + 1e-3 * exact).all()
    assert error[0] < 0.5 * exact[0]
