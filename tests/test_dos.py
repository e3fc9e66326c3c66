"""Densities of states against exact models, the convergence of the methods, and what must not change them."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import random_model, supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_models import changed_basis, graphene, hypercubic
from scipy.special import ellipk

from deeph import read_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.dos import Window, compute_dos
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.lattice.mesh import mesh_divisions, simplices
from postprocess.output.dos_tables import read_dos
from postprocess.states.mesh_levels import compute_mesh_levels
from postprocess.states.orbital_groups import make_projections, usable_symmetry
from postprocess.states.smearing import SmearedCount
from postprocess.states.tetrahedra import TetrahedronCount, below, occupations


def test_no_symmetry_of_a_large_cell_is_tried(monkeypatch):
    """It would take dense matrices of the whole cell, for hours."""

    def never(*_):
        raise AssertionError

    monkeypatch.setattr("postprocess.eigen.band_symmetries.compute_energies", never)
    monkeypatch.setattr("postprocess.eigen.band_symmetries.DENSE_LIMIT", 1)
    data = random_model(0)
    mesh = make_mesh(data)
    n = int(np.prod(mesh.divisions))
    assert n > 4
    assert len(mesh.points) <= n // 2 + 2  # -k has the levels of k
    H = replace(data.H, entries=data.H.entries + 0j)
    assert len(make_mesh(replace(data, H=H)).points) == n


def tetrahedra(data, divisions, **options):
    return TetrahedronCount(compute_mesh_levels(data, make_mesh(data, divisions, **options)))


def test_fraction_of_a_tetrahedron():
    """Against a million random points, also where corners coincide."""
    points = np.random.default_rng(0).dirichlet(np.ones(4), 1_000_000)
    for corner in ([0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]):
        energy = np.array([0.3, 0.7, 0.99])
        exact = [(points @ corner < e).mean() for e in energy]
        assert below(np.tile(corner, (3, 1)), energy) == pytest.approx(exact, abs=2e-3)
    assert below(np.full((1, 4), 2.0), np.array([2.0])) == 1
    assert below(np.full((1, 4), 2.0), np.array([1.9])) == 0


def test_chain_has_the_van_hove_density():
    """N(E) = 2 arccos(-E/2)/pi; between mesh points linear interpolation, error ~ 1/n^2."""
    E = np.linspace(-1.9, 1.9, 39)
    errors = [np.abs(tetrahedra(hypercubic(1), (n, 1, 1))(E)[0, 0] - 2 * np.arccos(-E / 2) / np.pi).max() for n in (50, 200)]
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] > 14
    dos = compute_dos(hypercubic(1), make_mesh(hypercubic(1), (2000, 1, 1)), window=Window(-1.8, 1.8, 181))
    assert dos.density[0, 0] == pytest.approx(2 / np.pi / np.sqrt(4 - dos.energies**2), rel=3e-3)


def test_square_lattice_has_its_logarithm():
    """D(E) = K(1 - (E/4)^2)/pi^2 for both spins."""
    data = hypercubic(2)
    dos = compute_dos(data, make_mesh(data, (200, 200, 1)), window=Window(-3.9, 3.9, 79))
    far = np.abs(dos.energies) > 0.2
    assert dos.density[0, 0][far] == pytest.approx(ellipk(1 - (dos.energies[far] / 4) ** 2) / np.pi**2, rel=4e-3)
    assert dos.density[0, 0, 39] > 1.5 * dos.density[0, 0, 60]  # the singularity


def test_graphene_is_linear_at_the_dirac_point():
    """D(E) = 4 |E| / (sqrt(3) pi t^2) for both spins, E << t; the mesh holds K."""
    data = graphene(2.7, n_electrons=2)
    dos = compute_dos(data, make_mesh(data, (300, 300, 1)), window=Window(-0.5, 0.5, 41))
    exact = 4 * np.abs(dos.energies) / (np.sqrt(3) * np.pi * 2.7**2)
    away = np.abs(dos.energies) > 0.2
    assert dos.density[0, 0][away] == pytest.approx(exact[away], rel=0.03)
    assert dos.counted.energy == pytest.approx(0, abs=1e-6)


def exact_count(E, d, n=300):
    """States of -2 sum cos(k), both spins: exact in one direction, n midpoints in each other one, where the integrand is smooth."""
    k = 2 * np.pi * (np.arange(n) + 0.5) / n
    rest = sum(np.meshgrid(*[-2 * np.cos(k)] * (d - 1))) if d > 1 else np.zeros(1)
    return np.array([2 * np.mean(np.arccos(np.clip(-(e - rest) / 2, -1, 1))) / np.pi for e in E])


@pytest.mark.parametrize("d", [1, 2, 3])
def test_tetrahedra_converge_faster_than_gaussians(d):
    """Mean density in intervals of 0.1 eV over the whole band, whatever the width of the Gaussians."""
    data, E = hypercubic(d), np.arange(-2 * d - 0.55, 2 * d + 0.5, 0.1)
    exact = np.diff(exact_count(E, d)) / 0.1
    errors = []
    for n in (12, 24):
        levels = compute_mesh_levels(data, make_mesh(data, tuple([n] * d + [1] * (3 - d))))
        counts = [TetrahedronCount(levels), *(SmearedCount(levels, w) for w in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4))]
        found = [np.sqrt(np.mean((np.diff(c(E)[0, 0]) / 0.1 - exact) ** 2)) for c in counts]
        errors.append((found[0], min(found[1:])))
    assert errors[0][0] < errors[0][1]
    assert errors[1][0] < 0.6 * errors[1][1]
    assert errors[0][0] / errors[1][0] > errors[0][1] / errors[1][1]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_bloechl_correction_of_the_band_energy(d):
    """The corrected occupations integrate E far better than the linear ones."""
    data, fermi = hypercubic(d), -0.7
    E = np.linspace(-2 * d, fermi, 4001)
    exact = -np.trapezoid(exact_count(E, d, 120), E) / 2  # of E - E_F, one spin
    levels = compute_mesh_levels(data, make_mesh(data, tuple([16] * d + [1] * (3 - d))))
    errors = []
    for corrected in (False, True):
        filled = occupations(levels, fermi, corrected=corrected)
        assert filled.sum() == pytest.approx(TetrahedronCount(levels)(np.array([fermi]))[0, 0, 0] / 2, abs=1e-12)
        errors.append(abs((filled * (levels.energies - fermi)).sum() - exact))
    assert errors[1] < errors[0] / 5


@given(seed=st.integers(0, 50), spin=st.sampled_from(["none", "collinear", "spinor"]))
@settings(max_examples=12, deadline=None)
def test_states_are_counted_and_no_basis_is_preferred(seed, spin):
    """All states are found; atoms, but not orbitals, have the same Mulliken shares in any basis of their orbitals."""
    data = random_model(seed, spin=spin)
    mesh = make_mesh(data, (4, 3, 1), symmetry="none")
    projections = make_projections(data, ["atom", "element", "shell"])
    dos = compute_dos(data, mesh, projections=projections)
    assert dos.counts[:, 0, -1].sum() == pytest.approx(2 * data.S_bloch.n_orbitals / data.basis.spin_factor)
    step = dos.energies[1] - dos.energies[0]
    assert dos.density.sum(axis=2) * step == pytest.approx(dos.counts[..., -1], abs=1e-6)
    atoms = [n for n, name in enumerate(dos.names) if name[-1].isdigit()]
    assert dos.density[:, atoms].sum(axis=1) == pytest.approx(dos.density[:, 0], abs=1e-8)
    other = compute_dos(changed_basis(data, seed), mesh, projections=projections)
    assert (other.counted.low, other.counted.high) == pytest.approx((dos.counted.low, dos.counted.high), abs=1e-5)
    same = [0, *atoms]
    E = np.linspace(dos.energies[0], dos.energies[-1], 50)
    counts = [np.stack([[np.interp(E, d.energies, c) for c in s[same]] for s in d.counts]) for d in (dos, other)]
    assert counts[0] == pytest.approx(counts[1], abs=2e-3)


def test_supercell_has_the_same_density():
    data = random_model(3)
    big = supercell(data, (2, 1, 1))
    E = np.linspace(-3, 3, 61)
    assert tetrahedra(big, (2, 4, 1), symmetry="none")(E).shape == (1, 1, 61)
    small = SmearedCount(compute_mesh_levels(data, make_mesh(data, (4, 4, 1))), 0.1)(E)
    assert SmearedCount(compute_mesh_levels(big, make_mesh(big, (2, 4, 1))), 0.1)(E) == pytest.approx(2 * small, abs=1e-9)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_symmetry_leaves_out_only_equal_points(spin):
    """With and without; the random spinor model has no time reversal, so that nothing may be left out."""
    data = random_model(5, spin=spin)
    reduced, full = make_mesh(data, (4, 4, 1)), make_mesh(data, (4, 4, 1), symmetry="none")
    assert len(reduced.points) == (16 if spin == "spinor" else 10)
    E = np.linspace(-3, 3, 31)
    counts = [TetrahedronCount(compute_mesh_levels(data, mesh))(E) for mesh in (reduced, full)]
    assert counts[0] == pytest.approx(counts[1], abs=1e-9)


def test_point_group_of_graphene_is_found_by_its_levels():
    data = graphene()
    assert len(make_mesh(data, (24, 24, 1)).points) == 61  # the irreducible points of p6mm
    assert make_mesh(data, (24, 24, 1)).weights.sum() == pytest.approx(1)
    distorted = hypercubic(2)
    distorted.H.entries[0, 0] *= 1.2  # hopping along x
    assert len(make_mesh(hypercubic(2), (24, 24, 1)).points) == 91
    assert len(make_mesh(distorted, (24, 24, 1)).points) == 169


def test_which_symmetry_projections_allow():
    data = random_model(0)
    assert usable_symmetry(data, make_projections(data, ["element", "shell"])) == "all"
    assert usable_symmetry(data, make_projections(data, ["atom"])) == "reversal"
    assert usable_symmetry(random_model(0, spin="spinor"), make_projections(random_model(0, spin="spinor"), ["spin"])) == "none"


def test_dimension_follows_the_blocks():
    assert [tuple(n > 1 for n in mesh_divisions(hypercubic(d))) for d in (1, 2, 3)] == [
        (True, False, False),
        (True, True, False),
        (True,) * 3,
    ]
    for d in (0, 1, 2, 3):
        mesh = make_mesh(hypercubic(max(d, 1)), tuple([4] * d + [1] * (3 - d)), symmetry="none")
        corners, size = simplices(mesh, np.eye(3))
        assert corners.shape[1] == d + 1
        assert size.sum() == pytest.approx(1)


def test_dock_density_of_mote2(shared_data):
    """Dos.h5 of DeepH-dock: Gaussians of 0.04 eV on a 68 x 68 x 1 mesh (0.03 1/Angstrom), both spins, energies from E_F."""
    folder = shared_data / "peers" / "deeph-bands" / "MoTe2"
    data = read_folder(folder)
    with h5py.File(folder / "dos.h5") as file:
        energies, theirs, fermi = (file[name][()] for name in ("energy", "dos_data", "fermi_energy_before_shift"))
    levels = compute_mesh_levels(data, make_mesh(data, (68, 68, 1), symmetry="reversal"))
    count, h = SmearedCount(levels, 0.04), 1e-4
    ours = (count(energies + fermi + h) - count(energies + fermi - h))[0, 0] / (2 * h)
    assert np.abs(ours - theirs).max() < 1e-4  # of 7.3 states/eV
    other = SmearedCount(levels, 0.041)
    assert np.abs((other(energies + fermi + h) - other(energies + fermi - h))[0, 0] / (2 * h) - theirs).max() > 0.02


def test_files_are_read_back(tmp_path):
    data = random_model(1, spin="collinear")
    dos = compute_dos(data, make_mesh(data, (3, 3, 1)), projections=make_projections(data, ["element"]), window=Window(-1, 1, 11))
    for suffix in (".h5", ".json"):
        dos.save(tmp_path / f"dos{suffix}")
        again = read_dos(tmp_path / f"dos{suffix}")
        assert again.names == dos.names
        assert again.density == pytest.approx(dos.density)
        assert again.counted == pytest.approx(dos.counted)
    dos.save(tmp_path / "dos.csv")
    rows = (tmp_path / "dos.csv").read_text().splitlines()
    assert rows[1].startswith("energy,total up,total up states below,C up")
    assert len(rows) == 13
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(DataError, match="not a density of states"):
        read_dos(tmp_path / "bad.h5")


def test_wrong_questions_get_clear_answers():
    data = random_model(0)
    mesh = make_mesh(data, (2, 2, 1))
    with pytest.raises(DataError, match=r"no states between .* the levels span"):
        compute_dos(data, mesh, window=Window(200, 300))
    with pytest.raises(UsageError, match="k mesh 0 2 1: expected three positive"):
        make_mesh(data, (0, 2, 1))
    with pytest.raises(UsageError, match="k-density -1"):
        mesh_divisions(data, -1)
    with pytest.raises(UsageError, match="lower end first"):
        Window(2, 1)
    with pytest.raises(UsageError, match="method 'lorentz'"):
        compute_dos(data, mesh, method="lorentz")
    with pytest.raises(UsageError, match="width 0 eV"):
        compute_dos(data, mesh, method="gaussian", width=0.0)
    with pytest.raises(UsageError, match="numbers from 1 to 3"):
        make_projections(data, (), {"tip": [7]})


def test_default_mesh_holds_the_special_points(shared_data):
    """Band edges often lie there: the gap of MoS2 at K, the Dirac point of graphene."""
    from postprocess.lattice.special_points import special_points
    from preprocess.readers import openmx

    data = openmx.read(shared_data / "openmx" / "mos2")
    divisions = np.array(mesh_divisions(data))
    assert divisions.tolist() == [24, 24, 1]
    for k in special_points(data.system)[0].points.values():
        assert k * divisions == pytest.approx((k * divisions).round(), abs=1e-9)
    counted = compute_dos(data, make_mesh(data), fermi="count").counted
    assert counted.high - counted.low == pytest.approx(1.7654, abs=1e-4)  # Newton's method from the path finds 1.765399
    assert mesh_divisions(data, 10.0)[0] == 23  # what is asked for is not changed
    square = random_model(3)
    assert max(mesh_divisions(square)) >= max(mesh_divisions(square, 10.0))


def test_gap_between_gaussians_is_that_of_the_levels(shared_data):
    """Not the space that their tails leave."""
    data = read_folder(shared_data / "peers" / "deeph-bands" / "MoTe2")
    mesh = make_mesh(data, (12, 12, 1))
    sharp, wide = (compute_dos(data, mesh, method=m, width=0.04, fermi="count").counted for m in ("tetrahedron", "gaussian"))
    assert (wide.low, wide.high) == pytest.approx((sharp.low, sharp.high), abs=1e-4)
    assert wide.low < wide.energy < wide.high
    chain = replace(hypercubic(1), n_electrons=1.0)
    metal = compute_dos(chain, make_mesh(chain, (30, 1, 1)), method="gaussian", width=0.1, fermi="count").counted
    assert metal.low == metal.energy == metal.high
