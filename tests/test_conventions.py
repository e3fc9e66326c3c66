"""Orbital orders against explicit formulas and against PySCF's own functions."""

import numpy as np
import pytest
from harmonics import FORMULAS, rotation_of_shell, rotation_to_z
from hypothesis import given
from hypothesis import strategies as st

from deeph.physics.conventions import atom_order, shell_order
from deeph.runtime.errors import DataError

POINTS = np.random.default_rng(1).normal(size=(30, 3))

# OpenMX manual, "Ordering of basis functions": each code's functions up to one positive constant a shell
OPENMX = {
    0: lambda x, y, z: [np.ones_like(x + y + z)],
    1: lambda x, y, z: [x, y, z],
    2: lambda x, y, z: [(2 * z**2 - x**2 - y**2) / 12**0.5, (x**2 - y**2) / 2, x * y, x * z, y * z],
    3: lambda x, y, z: [
        z * (2 * z**2 - 3 * x**2 - 3 * y**2) / 60**0.5,
        x * (4 * z**2 - x**2 - y**2) / 40**0.5,
        y * (4 * z**2 - x**2 - y**2) / 40**0.5,
        z * (x**2 - y**2) / 2,
        x * y * z,
        x * (x**2 - 3 * y**2) / 24**0.5,
        y * (3 * x**2 - y**2) / 24**0.5,
    ],
}


def ratio(theirs, ours):
    """The one positive constant between two sets of functions, or None."""
    factor = np.sqrt((theirs**2).sum() / (ours**2).sum())
    return factor if np.allclose(theirs, factor * ours, atol=1e-10 * factor) else None


@pytest.mark.parametrize("l", range(4))
def test_openmx_order(l):
    theirs, ours = (np.array(f[l](*POINTS.T)) for f in (OPENMX, FORMULAS))
    assert ratio(theirs[shell_order("openmx", l)], ours) is not None
    assert np.array_equal(shell_order("openmx", l), shell_order("legacy", l))
    if l:  # the check can fail: any other order is noticed
        assert ratio(theirs, ours) is None
        assert ratio(theirs[shell_order("openmx", l)][::-1], ours) is None


@pytest.mark.parametrize("l", range(5))
def test_pyscf_order(l):
    """PySCF evaluates its functions itself; the g shell is checked through its rotation."""
    gto = pytest.importorskip("pyscf.gto")
    mol = gto.M(atom="He 0 0 0", basis={"He": [[l, [1.0, 1.0]]]}, verbose=0)
    bohr_points = POINTS
    theirs = mol.eval_gto("GTOval_sph", bohr_points).T * np.exp((bohr_points**2).sum(1))
    ordered = theirs[shell_order("pyscf", l)]
    if l in FORMULAS:
        assert ratio(ordered, np.array(FORMULAS[l](*POINTS.T))) is not None
        assert l != 1 or ratio(theirs, np.array(FORMULAS[l](*POINTS.T))) is None
    else:  # m = -4..4: the functions of m and -m are mixed by cos and sin of m times the angle of a rotation about z
        angle = 0.3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        turned = (mol.eval_gto("GTOval_sph", POINTS @ turn.T).T * np.exp((POINTS**2).sum(1)))[shell_order("pyscf", l)]
        for m in range(1, l + 1):
            sine, cosine = ordered[l - m], ordered[l + m]
            assert np.allclose(turned[l + m], np.cos(m * angle) * cosine - np.sin(m * angle) * sine)
            assert np.allclose(turned[l - m], np.cos(m * angle) * sine + np.sin(m * angle) * cosine)


def test_legacy_rule_beyond_f():
    """F shells and above are listed as m = 0, +1, -1, +2, -2, ..."""
    for l in (3, 4, 5):
        listed = [0, *[sign * m for m in range(1, l + 1) for sign in (1, -1)]]
        assert [listed[n] for n in shell_order("legacy", l)] == list(range(-l, l + 1))


def test_unknown_shell_is_refused():
    with pytest.raises(DataError, match="l = 4"):
        shell_order("openmx", 4)


@given(st.lists(st.integers(0, 3), max_size=6), st.sampled_from(["deeph", "openmx", "legacy", "pyscf"]))
def test_atom_order_is_a_permutation_shell_by_shell(shells, order):
    index = atom_order(order, shells)
    size = sum(2 * l + 1 for l in shells)
    assert sorted(index.tolist()) == list(range(size))
    start = 0
    for l in shells:
        assert np.array_equal(index[start : start + 2 * l + 1] - start, shell_order(order, l))
        start += 2 * l + 1


@pytest.mark.parametrize("l", range(4))
def test_rotations_of_the_tests_are_representations(l):
    """The helper the physics tests lean on: orthogonal, and D(AB) = D(A) D(B)."""
    A, B = rotation_to_z(np.array([1.0, 2, 3])), rotation_to_z(np.array([-2.0, 0.3, 1]))
    assert np.allclose(rotation_of_shell(A, l) @ rotation_of_shell(A, l).T, np.eye(2 * l + 1))
    assert np.allclose(rotation_of_shell(A @ B, l), rotation_of_shell(A, l) @ rotation_of_shell(B, l))
