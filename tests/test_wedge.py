"""One k-point of those that symmetry relates: the same integrals, with no symmetry that H lacks; and errors that are no hope."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tight_binding import changed_basis, haldane, tight_binding

from deeph.physics.symmetrize import symmetrize
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry import hall
from postprocess.geometry.against_fermi import FermiScan
from postprocess.geometry.hall import hall_conductivity
from postprocess.geometry.symmetries import OF_LEVELS, OfLevels, Turning, curvatures, tensor_wedge
from postprocess.response import anomalous, scan
from postprocess.response.scan import Settings
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel
from postprocess.states.wedge import Wedge
from preprocess.readers import openmx

FERMI = FermiLevel(0.0, 0.0, 0.0)
NORMAL = np.array([[0, 0, 1.0]])
MANY = (40, 40, 1)


def without_symmetry(monkeypatch):
    monkeypatch.setattr(hall, "tensor_wedge", lambda *_: Wedge.none())


@pytest.mark.parametrize(("flux", "order"), [(True, 12), (False, 24)])
def test_operations_are_those_of_the_curvature(flux, order):
    """Without a flux time reversal is one more; in a layer both sides of it are one operation each."""
    data = changed_basis(haldane(0.2 if flux else 0.5, **({} if flux else {"t2": 0.0})))
    turning = Turning(("axial",), (NORMAL,), "odd", OF_LEVELS)
    assert tensor_wedge(hermitian(data), OfLevels(curvatures), ("values",), turning, math.prod(MANY)).order == order


def test_what_h_breaks_is_not_used(monkeypatch):
    """Bonds of one direction are weaker: the integral on the mesh is that of all its points."""
    hops = [((0, 0, 0), 0, 1, 0.7), ((-1, 0, 0), 0, 1, 1.0), ((0, -1, 0), 0, 1, 1.0)]
    hops += [(R, i, i, s * 0.15j) for R in ((1, 0, 0), (-1, 1, 0), (0, -1, 0)) for i, s in ((0, 1), (1, -1))]
    cell = np.array([[2.5, 0, 0], [1.25, 2.5 * np.sqrt(0.75), 0], [0, 0, 20]])
    data = tight_binding(cell, [[0, 0, 0], (cell[0] + cell[1]) / 3], [0.1, -0.1], hops)
    few = hall_conductivity(data, FERMI, MANY, refinement=Refinement(0))
    assert few.integral.order < 12
    without_symmetry(monkeypatch)
    every = hall_conductivity(data, FERMI, MANY, refinement=Refinement(0))
    assert np.allclose(few.on_meshes, every.on_meshes, atol=1e-9)


def test_the_same_integral_from_a_part_of_the_points(monkeypatch):
    data = changed_basis(haldane(0.4))
    few = hall_conductivity(data, FERMI, (24, 24, 1), refinement=Refinement(2, 1e-9))
    without_symmetry(monkeypatch)
    every = hall_conductivity(data, FERMI, (24, 24, 1), refinement=Refinement(2, 1e-9))
    assert few.integral.order == 12
    assert few.integral.n_k < every.integral.n_k / 5
    assert np.allclose(few.on_meshes, every.on_meshes, atol=1e-9)
    assert few.chern == pytest.approx(every.chern, rel=2e-3)


def test_vectors_of_iron_are_turned(shared_data, monkeypatch):
    """16 operations, half of them with time reversal: from one point of each star the vector on all points."""
    iron = symmetrize(openmx.read(shared_data / "openmx" / "fe_soc_z")).hamiltonian
    fermi = FermiLevel(iron.fermi_energy, iron.fermi_energy, iron.fermi_energy)
    few = hall_conductivity(iron, fermi, (6, 6, 6), refinement=Refinement(0))
    assert few.integral.order == 16
    monkeypatch.setattr(hall, "tensor_wedge", lambda *_: Wedge.none())
    every = hall_conductivity(iron, fermi, (6, 6, 6), refinement=Refinement(0))
    assert np.allclose(few.on_meshes, every.on_meshes, rtol=1e-9, atol=1e-6)
    assert few.integral.n_k < every.integral.n_k / 6
    assert few.describe_convergence() == ["zero by symmetry: yz zx"]
    as_it_is = hall_conductivity(openmx.read(shared_data / "openmx" / "fe_soc_z"), fermi, (4, 4, 4), refinement=Refinement(0))
    assert as_it_is.forbidden.tolist() == [True, True, False]
    assert as_it_is.describe_convergence()[0].startswith("zero if H kept the symmetry of the structure: yz zx; up to ")


def same_from_a_part(monkeypatch, data, level, mesh, responses, order):
    """The same tensors from one point of each star as from all points, to 1e-10."""
    fermi, settings = FermiLevel(level, level, level), Settings(mesh, FermiScan(temperature=300.0), refinement=Refinement(0))
    few = [getattr(anomalous, name)(data, fermi, settings) for name in responses]
    monkeypatch.setattr(scan, "tensor_wedge", lambda *_: Wedge.none())
    for name, one in zip(responses, few, strict=True):
        every = getattr(anomalous, name)(data, fermi, settings)
        size = np.abs(every.at_fermi).max()
        assert np.abs(one.on_meshes - every.on_meshes).max() < 1e-10 * size
        assert one.integral.order == order
        assert one.integral.n_k < 0.6 * every.integral.n_k  # of which time reversal spares half already
    return few


def test_tensors_of_a_magnet_are_turned(shared_data, monkeypatch):
    """Spin Hall conductivity (rank 3) and Nernst coefficient of iron: half of the operations come with time reversal."""
    iron = symmetrize(openmx.read(shared_data / "openmx" / "fe_soc_z")).hamiltonian
    found = same_from_a_part(monkeypatch, iron, iron.fermi_energy, (6, 6, 6), ["spin_hall_conductivity", "nernst_coefficient"], 16)
    for one in found:
        assert np.abs(one.at_fermi[one.forbidden]).max() < 1e-10 * np.abs(one.at_fermi).max()
        assert one.describe_convergence()[0].startswith("zero by symmetry: ")


def test_spin_hall_tensor_of_a_layer_is_turned(shared_data, monkeypatch):
    mos2 = symmetrize(openmx.read(shared_data / "openmx" / "mos2_soc")).hamiltonian
    same_from_a_part(monkeypatch, mos2, mos2.fermi_energy - 1.0, (8, 8, 1), ["spin_hall_conductivity"], 24)


def test_curvature_dipole_is_turned(monkeypatch):
    """Gapped graphene with bonds of one direction weaker: a mirror is left, the dipole is normal to it."""
    hops = [((0, 0, 0), 0, 1, 0.7), ((-1, 0, 0), 0, 1, 1.0), ((0, -1, 0), 0, 1, 1.0)]
    cell = np.array([[2.5, 0, 0], [1.25, 2.5 * np.sqrt(0.75), 0], [0, 0, 20]])
    data = tight_binding(cell, [[0, 0, 0], (cell[0] + cell[1]) / 3], [0.3, -0.3], hops)
    same_from_a_part(monkeypatch, data, 0.5, (24, 24, 1), ["curvature_dipole"], 8)


def test_the_last_change_is_no_bound_but_the_error_is():
    """A peak of 1/500 of the zone: the last round changes less than what is missing, two meshes differ by more."""
    found = hall_conductivity(haldane(0.5), FERMI, (20, 20, 1), refinement=Refinement(4, 1e-6))
    missing = abs(found.chern - 1)
    assert found.integral.rounds[-1].change < missing < found.integral.error
    lines = found.integral.describe()
    assert lines[-2].startswith("error about ")
    assert lines[-2].endswith("difference to 10 x 10 x 1 refined")
    assert lines[-1].endswith("one of those that 12 operations relate")
    assert found.from_coarse[0] != found.at_fermi[0]


def test_orbits_keep_every_point_once():
    """Values are carried back to every point, and sums over orbits are sums over the points."""
    angle = np.arange(6) * np.pi / 3
    turns = np.array([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angle])
    reciprocal = np.array([[1, 1 / np.sqrt(3), 0], [0, 2 / np.sqrt(3), 0], [0, 0, 1.0]])
    on_k = np.rint(np.linalg.inv(reciprocal.T) @ turns @ reciprocal.T).astype(int)
    wedge = Wedge(on_k, turns)
    assert wedge.keeping((6, 6, 1)).order == 6
    assert wedge.keeping((6, 4, 1)).order == 2
    rng = np.random.default_rng(0)
    seeds = rng.uniform(size=(5, 3)) * [1, 1, 0]
    k = np.concatenate([seeds @ W.T for W in on_k])
    orbits = wedge.orbits(k)
    assert len(orbits.k) == 5

    def field(k):
        """An axial vector that turns with the operations: a sum over all of them of any function."""
        return np.mean([np.sin(2 * np.pi * (k @ W.T)) @ turn for W, turn in zip(on_k, turns, strict=True)], axis=0)

    values = wedge.at_points(field(orbits.k)[None, :, None], orbits)[0, :, 0]
    assert np.allclose(values, field(k), atol=1e-12)
    weights = np.repeat(rng.uniform(size=(1, 5)), 6, axis=0).reshape(1, -1)
    sums = {"v": (orbits.added(weights) @ field(orbits.k))[None]}
    assert np.allclose(wedge.mean(sums, {"v": -1})["v"][0], weights @ field(k), atol=1e-12)
    assert replace(wedge, on_k=on_k[:1], turns=turns[:1]).order == 1
