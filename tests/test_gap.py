"""What is read off levels: gaps, crossings of the Fermi level, splittings, and where levels are the same."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell
from lattice_models import graphene, one_orbital_model

from deeph.files.store import write_folder
from deeph.physics.units import HBAR
from postprocess.bands.bands import compute_bands
from postprocess.bands.crossings import find_crossings
from postprocess.bands.gap import find_gap
from postprocess.bands.report import make_report
from postprocess.bands.widths import spin_splittings
from postprocess.cli import bands as bands_command
from postprocess.cli import dos as dos_command
from postprocess.cli import states as states_command
from postprocess.eigen.dense import DenseSolver
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.kpath import KPath, make_kpath
from postprocess.states.charges import compute_density_matrix, density_mesh
from postprocess.states.integrate import distinct_k, evaluate
from postprocess.states.kjobs import run_tasks
from postprocess.states.projectors import make_projectors
from postprocess.states.spectrum import LevelsAndWeights, collect, compute_spectrum

K_PATH = np.array([[0.0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]])


def openmx_case(shared_data, case):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    return openmx.read(shared_data / "openmx" / case)


@pytest.mark.parametrize("path", ["K G K'", "K' G K", "K M K'"])
def test_a_gap_with_its_edges_at_k_and_minus_k_is_direct(shared_data, path):
    data = openmx_case(shared_data, "mos2")
    gap = compute_bands(data, make_kpath(data.system, path, n_points=40)).gap
    assert gap.is_direct
    assert np.array_equal(gap.vbm.k, gap.cbm.k)
    assert gap.direct.width == pytest.approx(gap.width, abs=1e-4)


def test_a_gap_with_its_edges_at_k_and_k_plus_g_is_direct():
    model = random_model(2, spin="none")
    data = replace(model, fermi_energy=0.0)
    shifted = compute_bands(data, make_kpath(data.system, "0.1,0.2,0 1.1,0.2,0", n_points=21))
    energies = np.concatenate([shifted.energies[:, :1, :], shifted.energies[:, -1:, :]], axis=1)
    energies[0, 0, 3] -= 1e-9  # rounding decides where the edge is found
    middle = float(energies[0, 0, 2:4].mean())
    assert find_gap(energies, np.array([[0.1, 0.2, 0], [1.1, 0.2, 0]]), middle).is_direct


def test_an_indirect_gap_stays_indirect():
    gap = find_gap(np.array([[[-1.0, 4], [-2, 1.5], [-3, 1]]]), K_PATH, 0.0)
    assert not gap.is_direct
    assert gap.width == pytest.approx(2.0)
    assert gap.direct.width == pytest.approx(3.5)
    assert np.array_equal(gap.direct.k, K_PATH[1])


def test_levels_on_one_side_give_a_bound():
    """At the last k only occupied bands were found, at the first k only empty ones: edges may lie closer there."""
    energies = np.array([[[np.nan, np.nan, 0.5, 0.9], [-0.6, -0.3, 0.4, np.nan], [-0.8, -0.2, np.nan, np.nan]]])
    gap = find_gap(energies, K_PATH, 0.0, first_band=4)
    assert gap.is_bound
    assert gap.width == pytest.approx(0.6)
    assert gap.direct.width == pytest.approx(0.7)
    whole = find_gap(np.array([[[-0.6, 0.5], [-0.3, 0.4], [-0.2, 0.9]]]), K_PATH, 0.0, first_band=4)
    assert not whole.is_bound
    assert find_gap(energies[:, 1:2], K_PATH[1:2], 0.0, first_band=4).is_bound is False


def test_lowest_bands_need_none_below():
    """An empty spin channel whose lowest band was computed is no bound."""
    energies = np.array([[[-1.0, 1.0]], [[0.5, 1.5]]])
    assert not find_gap(energies, K_PATH[:1], 0.0, first_band=0).is_bound
    assert find_gap(energies, K_PATH[:1], 0.0, first_band=1).is_bound


def test_a_few_bands_of_a_metal_or_insulator_print_no_gap_they_do_not_support(tmp_path, capsys):
    """Six levels near an energy above the gap: at some k all of them are empty."""
    data = supercell(random_model(3), (3, 1, 1))
    path = make_kpath(data.system, "GXS", n_points=20)
    every = compute_bands(data, path, fermi=0.0)
    middle = float((every.energies[0, :, 14].max() + every.energies[0, :, 15].min()) / 2)
    few = Eigensolver(n_bands=2, center=middle, options=SolverOptions(name="dense"))
    bands = compute_bands(data, path, fermi=middle, solver=few)
    one_sided = ~((bands.energies <= middle).any(axis=2) & (bands.energies > middle).any(axis=2)).all()
    assert bands.gap.is_bound == one_sided
    assert bands.gap.width >= compute_bands(data, path, fermi=middle).gap.width - 1e-9
    write_folder(tmp_path / "case", data)
    with pytest.raises(SystemExit):
        bands_command.main([str(tmp_path / "case"), "--path", "GXS", "--points", "20", "--fermi", str(middle), "--n-bands", "2"])
    text = capsys.readouterr().out
    assert ("gap          at most" in text) == bool(one_sided)
    assert one_sided  # else this example shows nothing


@pytest.mark.parametrize("path", ["GMK", "KGM", "GK", "GMKG"])
def test_a_dirac_point_is_found_wherever_it_lies_on_the_path(path):
    """Velocity sqrt(3)/2 a t / hbar of one orbital an atom."""
    data = replace(graphene(2.7), fermi_energy=0.0)
    found = find_crossings(data, compute_bands(data, make_kpath(data.system, path, n_points=60)))
    a = np.linalg.norm(data.system.cell[0])
    assert {tuple(np.round(c.k % 1, 4).tolist()) for c in found} == {(0.3333, 0.3333, 0.0)}
    assert [c.velocity for c in found] == pytest.approx([np.sqrt(3) / 2 * a * 2.7 / HBAR * 1e-10] * len(found), rel=1e-3)


def test_dirac_point_of_dft_data_at_the_end_of_a_path(shared_data):
    data = openmx_case(shared_data, "graphene")
    found = find_crossings(data, compute_bands(data, make_kpath(data.system, "GMK", n_points=60)))
    assert [c.velocity for c in found] == pytest.approx([0.835e6], rel=0.02)


def test_each_cone_at_one_k_has_its_velocity():
    """Two layers without coupling, one with half of the hopping: four levels touch at K."""
    data = replace(two_layers(0.5), fermi_energy=0.0)
    found = find_crossings(data, compute_bands(data, make_kpath(data.system, "GMK", n_points=60)))
    speeds = sorted(c.velocity for c in found)
    assert len(speeds) == 2
    assert speeds[1] == pytest.approx(2 * speeds[0], rel=1e-3)
    assert len({c.band for c in found}) == 2


def test_a_band_that_crosses_beside_a_cone_is_not_lost():
    """A second sheet whose cone lies 50 meV higher crosses the Fermi level within the step of the path that ends at K."""
    data = replace(two_layers(1.0), fermi_energy=0.0)
    second = (data.H.pairs[:, 3] >= 2) & (data.S.entries[0] == 1)
    data = replace(data, H=replace(data.H, entries=data.H.entries + np.where(second, 0.05, 0.0)))
    found = find_crossings(data, compute_bands(data, make_kpath(data.system, "GMK", n_points=60)))
    places = sorted(np.linalg.norm((c.k - np.array([1 / 3, 1 / 3, 0])) @ data.system.reciprocal) for c in found)
    assert places[0] < 1e-6
    assert any(0.005 < place < 0.02 for place in places)
    assert [c.velocity for c in found] == pytest.approx([found[0].velocity] * len(found), rel=0.02)


def two_layers(ratio):
    """Graphene twice, 10 Angstrom apart, the second layer with hoppings multiplied by a ratio."""
    one = graphene(2.7)
    n = one.system.n_atoms
    positions = np.concatenate([one.system.positions, one.system.positions + np.array([0, 0, 10.0])])
    system = replace(one.system, positions=positions, numbers=np.tile(one.system.numbers, 2))

    def doubled(blocks, factor):
        second = blocks.pairs + np.array([0, 0, 0, n, n])
        return replace(
            blocks,
            pairs=np.concatenate([blocks.pairs, second]),
            shapes=np.tile(blocks.shapes, (2, 1)),
            entries=np.concatenate([blocks.entries, factor * blocks.entries], axis=1),
        )

    return replace(one, system=system, H=doubled(one.H, ratio), S=doubled(one.S, 1.0))


def test_a_flat_band_below_the_fermi_level_does_not_cross_it():
    hops = [((0, 0, 0), 0, 0, -0.004), ((1, 0, 0), 0, 0, 0.0005), ((0, 0, 0), 1, 1, 1.0), ((1, 0, 0), 1, 1, 0.4)]
    data = one_orbital_model(np.diag([3.0, 20, 20]), [[0, 0, 0], [0, 0, 1.0]], hops, fermi_energy=0.0)
    assert find_crossings(data, compute_bands(data, make_kpath(data.system, "0,0,0 1/2,0,0", n_points=40))) == []


def test_an_insulator_has_no_fermi_velocity_wherever_its_level_lies(shared_data):
    data = openmx_case(shared_data, "mos2")
    path = make_kpath(data.system, "GMKG", n_points=60)
    top = compute_bands(data, path).gap.vbm.energy
    assert find_crossings(data, compute_bands(data, path, fermi=top + 0.001)) == []


def test_spin_splitting_at_k_with_spin_orbit(shared_data):
    """155.469 meV at K; nothing at the time-reversal invariant points."""
    data = openmx_case(shared_data, "mos2_soc_150")
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=30))
    split = {(s.label, s.pair): s.energy for s in spin_splittings(bands, spinor=True)}
    assert split["K", "valence"] == pytest.approx(0.155469, abs=2e-6)
    assert max(abs(split[label, pair]) for label in "GM" for pair in ("valence", "conduction")) < 2e-3
    assert "spin splitting of the valence band, meV: G 0.0" in "\n".join(make_report(data, bands).describe(bands.fermi_energy))


@pytest.mark.parametrize("low", [-3.0, -2.5, -2.0, -1.0])
def test_spin_splittings_of_a_window_are_those_of_all_bands(shared_data, low):
    """Bands below leave the window at some k: the highest filled one is not the number of levels seen there."""
    data = openmx_case(shared_data, "mos2_soc_150")
    path, fermi = make_kpath(data.system, "GMK", n_points=20), data.fermi_energy
    whole = {(s.label, s.pair): s.energy for s in spin_splittings(compute_bands(data, path), spinor=True)}
    bands = compute_bands(data, path, solver=Eigensolver(low=fermi + low, high=fermi + 3))
    found = {(s.label, s.pair): s.energy for s in spin_splittings(bands, spinor=True)}
    assert found == pytest.approx({key: whole[key] for key in found}, abs=1e-7)
    assert ("K", "conduction") in found
    assert len(found) == 6 or low > -2.5


@pytest.mark.parametrize("low", [-12.0, -8.0, -4.0])
def test_a_dirac_point_of_a_window_is_that_of_all_bands(shared_data, low):
    data = openmx_case(shared_data, "graphene")
    path = make_kpath(data.system, "GMKG", n_points=60)
    fermi = float(compute_bands(data, make_kpath(data.system, "K G", n_points=2)).energies[0, 0, 3:5].mean())
    whole, bands = (compute_bands(data, path, fermi=fermi, solver=s) for s in (None, Eigensolver(low=fermi + low, high=fermi + 5)))
    assert np.isnan(bands.energies).any()
    expected, found = find_crossings(data, whole), find_crossings(data, bands)
    assert [(c.band, round(c.velocity)) for c in found] == [(c.band, round(c.velocity)) for c in expected]
    assert found[0].velocity == pytest.approx(0.835e6, rel=0.02)


@pytest.mark.parametrize(("case", "path"), [("mos2_soc_150", "GMKG"), ("fe_nc_soc", "GHN")])
def test_a_report_of_connected_bands_is_that_of_ascending_ones(shared_data, case, path):
    """The column of a connected band is not the number of a level: other edges, and velocities of other bands."""
    data = openmx_case(shared_data, case)
    one, other = (
        make_report(data, compute_bands(data, make_kpath(data.system, path, n_points=40), connect=connect)) for connect in (False, True)
    )
    assert other.gap == (None if one.gap is None else pytest.approx(one.gap, abs=1e-6))
    assert [(c.band, round(c.velocity, -2)) for c in other.crossings] == [(c.band, round(c.velocity, -2)) for c in one.crossings]
    assert [s.energy for s in other.splittings] == pytest.approx([s.energy for s in one.splittings], abs=1e-6)


def test_a_crossing_exactly_at_a_point_of_the_path_counts_once():
    data = one_orbital_model(np.diag([3.0, 20, 20]), [[0, 0, 0]], [((1, 0, 0), 0, 0, -1.0)], fermi_energy=0.0)
    bands = compute_bands(data, make_kpath(data.system, "0,0,0 1/2,0,0", n_points=21))
    bands.energies[0, 10, 0] = 0.0  # k = 1/4, without the rounding
    found = find_crossings(data, bands)
    assert [c.k[0] for c in found] == pytest.approx([0.25], abs=1e-5)


def test_spin_splitting_at_a_single_point(shared_data):
    """What molecules are computed at: pairs where H keeps time reversal; in a magnet (oxygen) two neighbouring bands are none."""
    path = KPath(np.zeros((1, 3)), np.zeros(1), np.zeros(1), ("G",), np.array([0, 1]))
    data = openmx_case(shared_data, "mos2_soc_150")
    assert [s.label for s in make_report(data, compute_bands(data, path)).splittings] == ["G", "G"]
    data = openmx_case(shared_data, "o2_nc")
    report = make_report(data, compute_bands(data, path))
    assert report.splittings == []
    assert report.gap > 0


def test_levels_of_a_molecule_cross_nowhere():
    hops = [((0, 0, 0), 0, 0, 0.002), ((0, 0, 0), 1, 1, -0.002)]
    data = one_orbital_model(np.diag([20.0] * 3), [[0, 0, 0], [0, 0, 1.0]], hops, fermi_energy=0.0)
    assert find_crossings(data, compute_bands(data, make_kpath(data, "0,0,0 1/2,0,0", n_points=3))) == []


def test_the_edges_of_a_molecule_have_no_masses(shared_data):
    data = openmx_case(shared_data, "h2o")
    bands = compute_bands(data, make_kpath(data, "0,0,0 1/2,0,0", n_points=3))
    report = make_report(data, bands)
    assert report.gap == pytest.approx(bands.gap.width, abs=1e-6)
    assert "mass" not in "\n".join(report.describe(bands.fermi_energy))


def test_spin_splitting_of_collinear_bands_has_a_sign():
    hops = [((0, 0, 0), 0, 0, 0.5), ((0, 0, 0), 1, 1, -0.5), ((0, 0, 0), 0, 1, 1.0), ((-1, 0, 0), 0, 1, 1.0), ((-1, -1, 0), 0, 1, 1.0)]
    up = one_orbital_model(graphene().system.cell, graphene().system.positions, hops)
    data = replace(
        up,
        basis=replace(up.basis, spin="collinear"),
        H=replace(up.H, entries=np.concatenate([up.H.entries, up.H.entries + 0.1 * up.S.entries])),
        fermi_energy=0.0,
    )
    split = spin_splittings(compute_bands(data, make_kpath(data.system, "GMK", n_points=30)), spinor=False)
    assert len(split) == 6
    assert [s.energy for s in split] == pytest.approx([-0.1] * 6, abs=1e-9)


def test_equivalent_k_are_solved_once():
    k = np.array([[1 / 3, 1 / 3, 0], [0.1, 0, 0], [-1 / 3, -1 / 3, 0], [1.1, 0, -1], [-0.1, 2, 0], [0.1, 0, 0]])
    for same_at, n in (("k", 5), ("k+G", 4), ("-k", 2)):
        first, which = distinct_k(k, same_at)
        assert len(first) == n
        assert np.array_equal(first, np.sort(first))
        turned = k[first][which]
        assert np.allclose(np.cos(2 * np.pi * turned).prod(axis=1), np.cos(2 * np.pi * k).prod(axis=1))


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("kinds", [["element", "atom"], ["spin"]])
def test_levels_and_weights_of_equivalent_k_are_those_of_each(spin, kinds, monkeypatch):
    if kinds == ["spin"] and spin != "spinor":
        pytest.skip("spins of spinors")
    data = random_model(3, spin=spin)
    k = np.array([[0.2, 0.3, 0], [-0.2, -0.3, 0], [1.2, -0.7, 0], [0.5, 0, 0]])
    solved = []

    def watched(work, tasks, jobs=None, **options):
        solved.extend(tasks)
        return run_tasks(work, tasks, jobs, **options)

    monkeypatch.setattr("postprocess.states.integrate.run_tasks", watched)
    projectors = make_projectors(data, kinds)
    together = compute_spectrum(data, k, projectors=projectors)
    assert len(solved) == data.basis.n_spin * (3 if spin == "spinor" else 2)
    for n, one in enumerate(k):
        alone = compute_spectrum(data, one[None], projectors=projectors)
        assert np.allclose(alone.energies[:, 0], together.energies[:, n], atol=1e-10)
        for label, weight in alone.weights.items():
            assert np.allclose(weight[:, 0], together.weights[label][:, n], atol=1e-8)


def test_a_function_of_the_users_is_asked_at_every_k():
    data = random_model(1)
    k = np.array([[0.2, 0.3, 0], [-0.2, -0.3, 0]])

    def own(states):
        return {"k1": np.full(len(states.energies), states.k[0])}

    results, place = evaluate(data, k, LevelsAndWeights((own,)))
    assert [results[int(n)]["weight:k1"][0] for n in place[0]] == [0.2, -0.2]


def test_charges_diagonalize_each_k_once_and_none_at_minus_k(monkeypatch):
    """A 3 x 3 mesh has 5 points up to the sign; a spinor H needs all 9."""
    for spin, n in (("none", 5), ("collinear", 10), ("spinor", 9)):
        calls = []
        solved = DenseSolver.__call__
        monkeypatch.setattr(DenseSolver, "__call__", lambda self, k, *a, _=solved, calls=calls, **b: calls.append(k) or _(self, k, *a, **b))
        data = random_model(5, spin=spin)
        compute_density_matrix(data, density_mesh(data, (3, 3, 1)))
        monkeypatch.setattr(DenseSolver, "__call__", solved)
        assert len(calls) == n


def test_spins_of_spinor_states_are_printed(shared_data, tmp_path, capsys):
    """The two topmost valence states of MoS2 at K have opposite spins along z."""
    data = openmx_case(shared_data, "mos2_soc")
    write_folder(tmp_path / "case", data)
    text = printed(states_command, capsys, tmp_path / "case", "--k", "K", "--n-bands", "4")
    spins = [[float(x) for x in line.split("spin")[1].split()] for line in text.splitlines() if "eV " in line and "spin" in line]
    assert len(spins) == 4
    assert abs(spins[0][2] + spins[1][2]) < 0.02
    assert abs(spins[0][2]) > 0.9


def printed(command, capsys, *words):
    with pytest.raises(SystemExit) as ended:
        command.main([str(w) for w in words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_bands_and_densities_of_states_find_the_same_fermi_level(shared_data, tmp_path, capsys):
    for case in ("mos2", "fe_bcc_spin"):
        write_folder(tmp_path / case, openmx_case(shared_data, case))
        levels = []
        for command, words in ((bands_command, ["--points", "40"]), (dos_command, ["--points", "11"])):
            text = printed(command, capsys, tmp_path / case, "--fermi", "count", *words)
            levels.append(float(text.split("Fermi level")[1].split()[0]))
        assert levels[0] == pytest.approx(levels[1], abs=2e-6)


def test_moment_of_a_collinear_metal_is_printed_with_its_mesh(shared_data, tmp_path, capsys):
    write_folder(tmp_path / "fe", openmx_case(shared_data, "fe_bcc_spin"))
    text = printed(dos_command, capsys, tmp_path / "fe", "--mesh", "12", "12", "12", "--fermi", "count", "--points", "11")
    moment = float(next(line for line in text.splitlines() if "moment" in line).split()[1])
    assert moment == pytest.approx(2.23, abs=0.03)
    assert "Bohr magneton a cell below this Fermi level, on this 12 x 12 x 12 mesh" in text
    assert "electrons below the Fermi level, spin up and down" in text


def test_a_k_without_levels_in_the_window_does_not_widen_the_table():
    """Its count of the levels below says nothing about the bands that were found elsewhere."""

    def one(energies, first):
        energies = np.array(energies)
        return {"energies": energies, "residuals": 0 * energies, "first": np.array(first), "complete": np.array(True)}

    for empty in (0, 9):
        found = collect([one([], empty), one([1.0, 2.0], 3), one([1.5], 4)])
        assert found.first_band == 3
        assert found.energies[0] == pytest.approx([np.nan, np.nan], nan_ok=True)
        assert found.energies[1].tolist() == [1.0, 2.0]
        assert found.energies[2] == pytest.approx([np.nan, 1.5], nan_ok=True)
