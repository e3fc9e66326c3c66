"""Integrals over the zone: meshes, refinement, the anomalous Hall conductivity."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from lattice_models import hypercubic
from tight_binding import changed_basis, enlarged, haldane, moved_origin, tight_binding, with_spinors

from deeph.runtime.errors import DataError, UsageError
from postprocess.geometry.against_fermi import FermiScan
from postprocess.geometry.curvature import compute_curvature
from postprocess.geometry.geometry import Geometry, prepared
from postprocess.geometry.hall import hall_conductivity
from postprocess.lattice.kpath import make_kpath
from postprocess.states.adaptive import Refinement, integrate_adaptively
from postprocess.states.batches import evaluate_batches, sum_batches
from postprocess.states.cells import cell_points
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs

FERMI = FermiLevel(0.0, 0.0, 0.0, "given")
MESH_ONLY = Refinement(rounds=0)


@dataclass(frozen=True)
class Metric:
    """The trace of the quantum metric of the lowest level: a scalar that every symmetry keeps."""

    symmetry: str = "all"

    def of(self, hamiltonian):
        basis = prepared(hamiltonian)
        return lambda k, spin: {"metric": np.einsum("kaan->kn", Geometry(basis, k, spin=spin).metric())[:, :1]}


@pytest.mark.parametrize(
    ("mass", "phi", "chern"), [(0.2, np.pi / 2, 1), (0.2, -np.pi / 2, -1), (0.2, 1.0, 1), (0.9, np.pi / 2, 0), (-0.9, -1.0, 0)]
)
def test_hall_conductivity_of_haldanes_model_is_quantized(mass, phi, chern):
    """In a random basis, with the origin moved; sigma_xy = -C e^2/h, of two spins."""
    data = moved_origin(changed_basis(haldane(mass, phi)))
    lower, upper = Geometry(data, mesh_of_layer(12)).energies.T
    fermi = FermiLevel(float((lower.max() + upper.min()) / 2), 0, 0, "")
    found = hall_conductivity(data, fermi, (72, 72, 1), refinement=MESH_ONLY)
    assert (found.components, found.unit) == (("xy",), "e^2/h")
    assert found.at_fermi[0] == pytest.approx(-2 * chern, abs=1e-6)
    assert found.chern == pytest.approx(chern, abs=1e-6)
    assert found.difference < 1e-10


def test_a_warm_insulator_has_no_chern_number():
    """Its sigma is no whole number: holes and electrons take part."""
    found = hall_conductivity(haldane(0.2, np.pi / 2), FERMI, (12, 12, 1), scan=FermiScan(temperature=3000.0), refinement=MESH_ONLY)
    assert abs(found.at_fermi[0] + 2) > 1e-2
    assert found.chern is None


def mesh_of_layer(n):
    return np.stack(np.meshgrid(np.arange(n) / n, np.arange(n) / n, [0.0], indexing="ij"), axis=-1).reshape(-1, 3)


def test_a_whole_number_needs_no_position_matrix():
    """``curl`` is the curvature of a connection for any Hermitian positions; the result says that they are approximated."""
    found = hall_conductivity(replace(changed_basis(haldane(0.2)), r=None), FERMI, (60, 60, 1), refinement=MESH_ONLY)
    assert found.chern == pytest.approx(1, abs=1e-6)
    assert "approximated" in found.positions


def test_spins_cells_and_vacuum_change_no_conductivity():
    """One filled spin has half of two; a supercell the same; the cell may be tilted along the vacuum, or lie in another plane."""
    data = haldane(0.2)
    one = hall_conductivity(with_spinors(data, 0, 30), FERMI, (48, 48, 1), refinement=MESH_ONLY)
    assert one.at_fermi[0] == pytest.approx(-1, abs=1e-4)
    big = hall_conductivity(enlarged(changed_basis(data), (2, 1, 1)), FERMI, (24, 48, 1), refinement=MESH_ONLY)
    assert big.chern == pytest.approx(1, abs=1e-4)
    tilted = replace(data, system=replace(data.system, cell=data.system.cell + np.outer([0, 0, 1], [0.7, -1.1, 0])))
    assert hall_conductivity(tilted, FERMI, (48, 48, 1), refinement=MESH_ONLY).chern == pytest.approx(1, abs=1e-4)
    turn = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # z -> x
    system = replace(data.system, cell=data.system.cell @ turn, positions=data.system.positions @ turn)
    other = hall_conductivity(replace(data, system=system, r=replace(data.r, entries=turn.T @ data.r.entries)), FERMI, (48, 48, 1))
    assert other.components == ("yz",)
    assert other.chern == pytest.approx(1, abs=1e-2)


def test_layers_stacked_in_a_crystal_have_their_number_a_length():
    """sigma_xy of a crystal of Chern insulators is that of one over the distance of the layers."""
    data = haldane(0.2)
    cell = data.system.cell.copy()
    cell[2, 2] = 4.0
    pairs = np.concatenate([data.S.pairs, [[0, 0, 1, 0, 0], [0, 0, -1, 0, 0]]])
    weak = replace(data.S, pairs=pairs, shapes=np.ones((len(pairs), 2), int), entries=np.append(data.S.entries[0], [0, 0]))
    H = replace(weak, entries=np.append(data.H.entries[0], [0.05, 0.05]))
    r = replace(weak, entries=np.pad(data.r.entries, ((0, 0), (0, 2))))
    crystal = replace(data, system=replace(data.system, cell=cell), S=weak, H=H, r=r)
    found = hall_conductivity(crystal, FERMI, (36, 36, 2), refinement=MESH_ONLY)
    assert found.unit == "S/cm"
    assert found.at_fermi == pytest.approx([0, 0, -2 * 3.8740458652e-5 / 4e-8], abs=0.5)
    assert found.chern is None


def test_a_metal_against_the_fermi_level():
    """Below, within and above the lower band; the whole scan has the value at the Fermi energy; a temperature smooths."""
    data = haldane(0.2)
    fermi = FermiLevel(-1.2, -1.2, -1.2, "given")
    found = hall_conductivity(data, fermi, (24, 24, 1), scan=FermiScan(-3, 1.2, 8), refinement=Refinement(2, 1e-3))
    assert found.energies[0] == pytest.approx(-4.2)
    assert found.sigma[0, 0] == 0
    assert found.sigma[-1, 0] == pytest.approx(-2, abs=0.02)
    assert found.sigma[5, 0] == pytest.approx(found.at_fermi[0], abs=1e-10)  # -3 + 5 * 0.6 = 0
    assert found.at_fermi[0] == pytest.approx(-0.243, abs=0.004)
    assert found.chern is None
    assert len(found.integral.rounds) == 2
    warm = hall_conductivity(data, fermi, (24, 24, 1), scan=FermiScan(temperature=3000.0), refinement=MESH_ONLY)
    cold = hall_conductivity(data, fermi, (24, 24, 1), scan=FermiScan(-5, 5, 1001), refinement=MESH_ONLY)
    x = (cold.energies - fermi.energy) / (2 * 8.617333262e-5 * 3000)
    weight = 1 / np.cosh(x) ** 2  # -df/dE
    assert warm.at_fermi[0] == pytest.approx((weight @ cold.sigma[:, 0]) / weight.sum(), rel=0.01)


def test_refinement_finds_peaks_that_the_mesh_misses():
    """A gap of 39 meV: the peak at K is 1/500 of the zone across."""
    data = haldane(0.5)
    mesh = hall_conductivity(data, FERMI, (24, 24, 1), refinement=MESH_ONLY)
    fine = hall_conductivity(data, FERMI, (24, 24, 1), refinement=Refinement(4, 1e-4))
    assert abs(mesh.chern - 1) > 0.5
    assert mesh.integral.change > 0.5  # which n against n/2 says
    assert fine.chern == pytest.approx(1, abs=0.01)
    assert fine.integral.rounds[-1].change < 0.01
    assert fine.integral.n_k < 24**2 * 8


def test_real_hamiltonians_have_none():
    found = hall_conductivity(changed_basis(haldane(0.2, t2=0.0)), FERMI, (20, 20, 1), refinement=MESH_ONLY)
    assert abs(found.at_fermi[0]) < 1e-10
    with pytest.raises(UsageError, match="two or three periodic"):
        hall_conductivity(hypercubic(1), FERMI)
    with pytest.raises(UsageError, match="lower"):
        FermiScan(1, 0, 3)
    with pytest.raises(UsageError, match="refinement"):
        Refinement(-1)


@pytest.mark.parametrize("lattice", ["cubic", "hexagonal", "bcc", "skewed"])
@pytest.mark.parametrize("finer", [2, 3])
def test_a_finer_mesh_in_a_cell_fills_it_and_keeps_its_symmetry(lattice, finer):
    reciprocal = {
        "cubic": np.eye(3),
        "hexagonal": np.array([[1, 1 / np.sqrt(3), 0], [0, 2 / np.sqrt(3), 0], [0, 0, 0.3]]),
        "bcc": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]]),
        "skewed": np.array([[1, 0, 0], [2.9, 1, 0], [0, 0, 1]]),
    }[lattice]
    divisions = (4, 4, 1 if lattice in ("hexagonal", "skewed") else 4)
    offsets, shares = cell_points(reciprocal, divisions, finer)
    assert shares.sum() == pytest.approx(1)
    assert not offsets[0].any()
    points = offsets @ reciprocal
    turns = [-np.eye(3)]
    if lattice == "hexagonal":
        turns.append(np.array([[0.5, np.sqrt(0.75), 0], [-np.sqrt(0.75), 0.5, 0], [0, 0, 1]]))
    if lattice in ("cubic", "bcc"):
        turns.append(np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]))
    for turn in turns:
        distance = np.linalg.norm((points @ turn)[:, None] - points[None], axis=-1)
        assert distance.min(axis=1).max() < 1e-9
        assert np.allclose(shares[distance.argmin(axis=1)], shares)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_scalar_may_use_the_symmetry_of_the_mesh(rounds):
    """Fewer than half of the points, the same integral, refined or not."""
    data = haldane(0.6, t2=0.05)
    options = {"watched": "metric", "refinement": Refinement(rounds, 1e-6)}
    some = integrate_adaptively(data, Metric("all"), (12, 12, 1), **options)
    every = integrate_adaptively(data, Metric("none"), (12, 12, 1), **options)
    assert some.fine["metric"] == pytest.approx(every.fine["metric"], rel=1e-10)
    assert some.coarse["metric"] == pytest.approx(every.coarse["metric"], rel=1e-10)
    assert some.n_k < every.n_k / 2
    assert some.value["metric"] == pytest.approx(every.value["metric"], rel=1e-10 if rounds == 0 else 0.02)


def test_sums_are_those_of_the_values(tmp_path):
    """In both spins; kept and picked up again."""
    data = haldane(0.2)
    k, weights = np.random.default_rng(0).random((600, 3)), np.random.default_rng(1).random((2, 600))
    jobs = Jobs(scratch=tmp_path / "parts")
    sums = sum_batches(data, k, weights, Metric("none"), "metric", jobs=jobs)
    again = sum_batches(data, k, weights, Metric("none"), "metric", jobs=jobs)
    values = evaluate_batches(data, k, Metric("none"))["metric"]
    assert np.allclose(sums["metric"], np.einsum("sk,nkm->nsm", weights, values), rtol=1e-12)
    assert np.allclose(sums["kept"], values)
    assert all((sums[name] == again[name]).all() for name in sums)
    assert len(list((tmp_path / "parts").glob("*.npz"))) == 3


def test_results_with_other_positions_are_not_mixed_in(tmp_path):
    data, jobs = haldane(0.2), Jobs(scratch=tmp_path / "parts")
    evaluate_batches(data, mesh_of_layer(3), Metric("none"), jobs=jobs)
    with pytest.raises(DataError, match="unfinished computation with other data"):
        evaluate_batches(replace(data, r=None), mesh_of_layer(3), Metric("none"), jobs=jobs)


def test_refinement_leaves_no_folders(tmp_path):
    jobs = Jobs(scratch=tmp_path / "parts")
    kept = hall_conductivity(haldane(0.5), FERMI, (8, 8, 1), refinement=Refinement(2, 1e-6), jobs=jobs)
    plain = hall_conductivity(haldane(0.5), FERMI, (8, 8, 1), refinement=Refinement(2, 1e-6))
    assert kept.at_fermi == plain.at_fermi
    assert [p.name for p in tmp_path.iterdir()] == ["parts"]
    jobs.finish()
    assert not list(tmp_path.iterdir())


def test_curvature_along_a_path():
    """Of the occupied levels and of a group; K and K' have opposite signs without a flux."""
    data = changed_basis(haldane(0.2, t2=0.0))
    path = make_kpath(data, "KGK'", n_points=21)
    found = compute_curvature(data, path, FERMI)
    assert found.curl[0, 0, 2] == pytest.approx(-found.curl[0, -1, 2], abs=1e-8)
    assert np.abs(found.curl[0, :, 2]).argmax() in (0, 20)
    group = compute_curvature(data, path, None, group=[0])
    assert np.allclose(group.curl, found.curl, atol=1e-10)
    assert group.separation.min() == pytest.approx(0.4)
    assert np.allclose(found.levels.sum(axis=-1), 0, atol=1e-8)
    on_mesh = compute_curvature(data, (6, 6, 1), FERMI)
    assert on_mesh.curl.shape == (1, 36, 3)
    with pytest.raises(UsageError, match="bands 1 to 2"):
        compute_curvature(data, path, None, group=[2])


def test_weyl_points_are_sources_of_curvature():
    """The flux through a small sphere, here a cube of squares, is 2 pi times the charge; the other one has the other sign."""
    sx, sy, sz = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1])
    hops = [
        ((1, 0, 0), 0, 0, -0.5 * sz - 0.5j * sx),
        ((0, 1, 0), 0, 0, -0.5 * sz - 0.5j * sy),
        ((0, 0, 1), 0, 0, -0.5 * sz),
    ]
    data = tight_binding(np.eye(3) * 2.0, [[0.3, 0.2, 0.1]], [2 * sz], hops, n_orbitals=[2])
    charges = []
    for kz in (0.25, -0.25):
        n, half = 16, 0.05
        x = (np.arange(n) + 0.5) / n * 2 * half - half
        flux = 0.0
        for axis in range(3):
            for side in (1, -1):
                k = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
                k = np.insert(k, axis, side * half, axis=1) + np.array([0, 0, kz])
                omega = Geometry(changed_basis(data), k).curvature()[:, axis, 0]
                flux += side * omega.sum() * (2 * half / n) ** 2 * np.pi**2
        charges.append(flux / (2 * np.pi))
    assert np.abs(charges) == pytest.approx([1, 1], abs=0.02)
    assert sum(charges) == pytest.approx(0, abs=1e-6)
