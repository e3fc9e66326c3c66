"""Sparse routes on DFT with spin-orbit coupling and the position matrix of the code: MoS2, where orbitals are nearly dependent."""

import numpy as np
import pytest
from test_large_group import path_of
from test_large_kubo import FRAME, by_levels

from postprocess.density.kpm import KPMOperator
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.geometry.curvature import compute_curvature
from postprocess.geometry.positions import find_positions
from postprocess.large.find_group import Bands
from postprocess.large.group_curvature import group_curvature
from postprocess.large.kubo import PairFunctions, sums_over_pairs
from postprocess.large.kubo_moments import Velocity, double_moments
from postprocess.large.sparse_basis import SparseBasis
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
