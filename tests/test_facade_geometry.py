"""Berry curvature and responses by the methods of a Hamiltonian, from what ``deeph.read`` gives."""

from dataclasses import replace

import numpy as np
import pytest
from tight_binding import changed_basis, haldane, with_spinors

import deeph
from deeph import DeephError
from postprocess.geometry.curvature import compute_curvature
from postprocess.lattice.kpath import make_kpath
from postprocess.states.fermi import find_fermi_level


@pytest.fixture
def h(tmp_path):
    """A Chern insulator in a basis that is not orthogonal, written and read."""
    data = replace(changed_basis(with_spinors(haldane(0.2), 0, 30)), n_electrons=1.0)
    deeph.write_folder(tmp_path / "haldane", data)
    return deeph.read(tmp_path / "haldane")


def test_position_matrices_are_read_with_the_folder(h, tmp_path):
    assert h.r is not None
    assert h.berry_curvature("GK", points=3).positions == "position matrix of the data"
    (tmp_path / "haldane" / "position_matrix.h5").unlink()
    assert deeph.read(tmp_path / "haldane").r is None


def test_curvature_along_a_path_of_a_group_and_on_a_mesh(h):
    found = h.berry_curvature("GKM", points=11)
    expected = compute_curvature(h, make_kpath(h, "GKM", n_points=11), find_fermi_level(h))
    assert np.array_equal(found.curl, expected.curl)
    assert h.berry_curvature("GKM", [0], points=11).what == "band 1"
    mesh = h.berry_curvature(mesh=(4, 4, 1))
    assert mesh.divisions == (4, 4, 1)
    assert h.berry_curvature("GK", points=3, positions="atoms").positions.startswith("approximated")


def test_hall_conductivity_is_quantized(h):
    found = h.hall_conductivity((24, 24, 1), rounds=0)
    assert found.at_fermi[0] == pytest.approx(-1, abs=1e-3)
    assert h.hall_conductivity((6, 6, 1), window=(-1, 1), points=5, rounds=0).sigma.shape == (5, 1)


def test_optics(h):
    found = h.optics((6, 6, 1), photons=(0, 8), points=5, broadening=0.1, scissor=0.5)
    assert found.interband.shape == (5, 2, 2)
    assert np.abs(found.interband).max() > 0
    for kind in ("shift", "harmonic"):
        assert h.optics((6, 6, 1), kind, points=5).kind == kind


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda h: h.berry_curvature("GK", mesh=(4, 4, 1)), "expected one of them"),
        (lambda h: h.berry_curvature(mesh=(4, 4)), "three positive numbers"),
        (lambda h: h.hall_conductivity((4, 4, 0)), "three positive numbers"),
        (lambda h: h.hall_conductivity(fermi="fermi"), "'count'"),
        (lambda h: h.optics((4, 4, 1), "magic"), "conductivity, shift, injection, harmonic"),
        (lambda h: h.optics((4, 4, 1), scissors=1), "scissors"),
        (lambda h: replace(h, H=None).optics((4, 4, 1)), "only the overlap"),
    ],
)
def test_wrong_calls_are_explained(h, call, said):
    with pytest.raises(DeephError, match=said):
        call(h)
