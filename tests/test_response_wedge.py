"""Responses to light from one k-point of those that symmetry relates: what all points give, with no symmetry that H lacks."""

import numpy as np
import pytest
from symmetry_case import random_structure
from test_response import FERMI, MESH_ONLY, light
from tight_binding import haldane

from postprocess.eigen.band_symmetries import make_mesh
from postprocess.response import transitions
from postprocess.response.harmonic import second_harmonic
from postprocess.response.optics import optical_response
from postprocess.response.second_order import direct_current
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel
from postprocess.states.wedge import Wedge

KINDS = ("conductivity", "shift", "injection", "harmonic")


def response(kind, data, fermi, settings):
    """Its values and those of the mesh half as fine, the k-points computed, and the operations used."""
    if kind == "conductivity":
        found = optical_response(data, fermi, settings)
        values = np.concatenate([found.interband, found.sigma_coarse, found.drude_weight[None]])
        return values, found.integral
    found = second_harmonic(data, fermi, settings) if kind == "harmonic" else direct_current(data, kind, fermi, settings)
    return np.concatenate([found.values, found.coarse]), found.integral


def both(monkeypatch, kind, data, fermi, settings):
    """With the wedge, then from all points of the mesh."""
    few, one = response(kind, data, fermi, settings)
    monkeypatch.setattr(transitions, "tensor_wedge", lambda *_: Wedge.none())
    every, all_points = response(kind, data, fermi, settings)
    return few, one, every, all_points


def middle(data):
    """A level above about half of the levels at Gamma."""
    levels = data.eigenvalues([0.0, 0.0, 0.0])
    n = len(levels) // 2
    energy = float(levels[n - 1 : n + 1].mean())
    return FermiLevel(energy, energy, energy)


ZINCBLENDE, LAYER = ("zincblende", "none", 6, 48), ("MoS2", "spinor", (10, 10, 1), 24)


@pytest.mark.parametrize(
    ("kind", "name", "spin", "mesh", "order"),
    [("conductivity", *ZINCBLENDE), ("shift", *ZINCBLENDE), ("harmonic", *ZINCBLENDE), ("conductivity", *LAYER), ("shift", *LAYER)],
)
def test_the_same_from_a_part_of_the_points(monkeypatch, kind, name, spin, mesh, order):
    data = random_structure(name, spin, reversal=True).symmetrized()
    few, one, every, all_points = both(monkeypatch, kind, data, middle(data), light(mesh, 0, 8, 9, refinement=MESH_ONLY))
    assert one.order == order
    assert one.n_k < all_points.n_k / 3
    assert one.change == pytest.approx(all_points.change, rel=1e-8)
    assert np.abs(every).max() > 0
    assert np.abs(few - every).max() < 1e-9 * np.abs(every).max()


@pytest.mark.parametrize("kind", KINDS)
def test_magnets_keep_what_makes_no_complex_conjugates(monkeypatch, kind):
    """Haldane's model: the threefold axis and the mirror in its plane, with a Hall conductivity and an injection by linear light.

    Mirrors with time reversal keep the shift current, which has no imaginary part.
    """
    settings = light((12, 12, 1), 0, 8, 9, refinement=MESH_ONLY)
    few, one, every, all_points = both(monkeypatch, kind, haldane(0.3), FERMI, settings)
    assert one.order == (12 if kind == "shift" else 6)
    assert one.n_k < all_points.n_k / 2
    assert np.abs(every).max() > 0
    assert np.abs(few - every).max() < 1e-9 * np.abs(every).max()


def test_what_h_breaks_is_not_used():
    data = random_structure("zincblende")
    for kind in ("conductivity", "shift"):
        assert response(kind, data, middle(data), light(6, 0, 8, 9, refinement=MESH_ONLY))[1].order == 1


def test_refined_cells_keep_the_group():
    """What is refined is chosen from tensors that are carried back to every point: forbidden components stay zero."""
    data = random_structure("zincblende").symmetrized()
    settings = light(6, 2, 8, 9, width=0.5, refinement=Refinement(1, 1e-9))
    found = direct_current(data, "shift", middle(data), settings)
    assert found.integral.order == 48
    assert len(found.integral.rounds) == 1
    allowed = np.array([[[len({a, b, c}) == 3 for c in range(3)] for b in range(3)] for a in range(3)])
    assert np.abs(found.values[:, ~allowed]).max() < 1e-10 * np.abs(found.values[:, allowed]).max()
    n_mesh = len(make_mesh(data, (6, 6, 6), symmetry="reversal").points)
    assert found.integral.n_k < n_mesh


def test_photons_far_from_all_transitions_tell_nothing(monkeypatch):
    """At the two k-points where operations are judged every pair of levels is further than a Gaussian reaches, but not everywhere."""
    data = random_structure("zincblende", reversal=True).symmetrized()
    settings = light(6, 0, 0.55, 12, width=0.002, refinement=MESH_ONLY)
    few, one, every, _ = both(monkeypatch, "shift", data, FermiLevel(-0.5, -0.5, -0.5), settings)
    assert one.order == 1
    assert np.abs(few - every).max() <= 1e-9 * np.abs(every).max()
