"""Fermi levels against those of DFT codes, and by every method on the same structure."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from lattice_models import graphene, hypercubic

from deeph import read_folder
from deeph.physics.units import KELVIN
from deeph.runtime import log
from deeph.runtime.errors import DataError
from postprocess.bands.bands import compute_bands
from postprocess.density.dos import compute_dos
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.lattice.kpath import make_kpath
from postprocess.states.fermi import FermiLevel, fermi_by_inertia, fermi_from_count, fermi_on_mesh, find_fermi_level, gap_around
from postprocess.states.mesh_levels import compute_mesh_levels
from postprocess.states.smearing import SmearedCount
from postprocess.states.tetrahedra import TetrahedronCount
from preprocess.readers import abacus, openmx, siesta

METALS = {"fe_bcc_spin": 0.01, "fe_nc_soc": 0.001, "mini_te_chain_soc": 0.001, "tbg28": 0.01}
"""OpenMX cases whose level is sharp, and the largest deviation that is found, meV."""
INSULATORS = ["graphene", "graphene_f", "mos2", "mos2_soc", "bilayer_ab", "si2", "si2_frac_wrap", "h2o", "o2_nc"]
"""Also semimetals whose mesh misses the touching point: any level between the bands of the mesh is right."""


def test_a_level_counted_at_gamma_is_refined_where_bands_touch():
    """Cones at K: the level half way between those at Gamma, here far from symmetric ones, is off."""
    data = graphene()
    at_gamma = FermiLevel(2.0, -3.0, 7.0, "counted at Gamma", sampled=True)
    path = make_kpath(data, "GMKG", n_points=60)
    found = compute_bands(replace(data, n_electrons=2.0), path, fermi=at_gamma)
    assert found.fermi_energy == pytest.approx(0, abs=1e-9)  # the energy of an atom
    assert "at Gamma and at these k-points, " in found.fermi_origin
    given = replace(at_gamma, sampled=False)
    assert compute_bands(replace(data, n_electrons=2.0), path, fermi=given).fermi_energy == 2.0
    # a metal, whose bands leave more open than the levels at Gamma
    assert FermiLevel(0.0, -0.1, 0.1, sampled=True).refined(np.array([[-0.1, 0.1], [0.3, 0.5], [-2.0, -1.0]]), 1).energy == 0.0


def test_the_search_on_a_mesh_says_what_it_is_and_how_to_avoid_it(monkeypatch):
    """Else the k-points of the mesh look like more of those that were asked for."""
    said = []

    def watched(*args, **options):
        said.extend(piece.describe() for piece in log._told.pieces)
        return compute_mesh_levels(*args, **options)

    monkeypatch.setattr("postprocess.states.fermi.compute_mesh_levels", watched)
    monkeypatch.setattr(
        "postprocess.states.fermi.make_mesh", lambda data: watched(data, make_mesh(data, (2, 2, 1))) and make_mesh(data, (3, 3, 1))
    )
    find_fermi_level(replace(graphene(), n_electrons=2.0))
    assert said == 2 * [
        "searching the Fermi level on a mesh (--fermi EV gives it instead)"
    ]  # the symmetries of the mesh take k-points, too


def test_the_level_of_a_molecule_is_counted_in_densities_too(shared_data):
    """OpenMX stores 0 for it; half way between HOMO and LUMO is what the bands say."""
    data = openmx.read(shared_data / "openmx" / "h2o")
    assert data.fermi_energy == 0
    dos, level = compute_dos(data, make_mesh(data)), find_fermi_level(data)
    assert dos.fermi_energy == pytest.approx(level.energy, abs=1e-3)
    assert dos.fermi_energy == pytest.approx((-7.11925 + 1.03191) / 2, abs=1e-3)  # of its output


def as_the_code(data):
    """Count and bracket with the mesh and smearing of the run."""
    source = data.source
    mesh = make_mesh(
        data, tuple(source["k_grid"]), shift=tuple(source["k_shift"]), symmetry="none" if data.basis.spin == "spinor" else "reversal"
    )
    levels = compute_mesh_levels(data, mesh)
    if "electronic_temperature_K" in source:
        count = SmearedCount(levels, source["electronic_temperature_K"] * KELVIN, "fermi-dirac")
    else:  # erfc((E - E_F)/width): a standard deviation of width/sqrt(2)
        count = SmearedCount(levels, source["smearing_width_eV"] / np.sqrt(2), "gaussian")
    return count, (levels.energies.min() - 5, levels.energies.max() + 5)


@pytest.mark.parametrize("case", METALS)
def test_metals_of_openmx(shared_data, case):
    data = openmx.read(shared_data / "openmx" / case)
    found = fermi_from_count(*_arguments(data))
    assert found.energy == pytest.approx(data.fermi_energy, abs=1e-3 * METALS[case])


def _arguments(data):
    count, bracket = as_the_code(data)
    return count, data.n_electrons, bracket


@pytest.mark.parametrize("case", INSULATORS)
def test_insulators_of_openmx(shared_data, case):
    """The stored level is in the gap that is found, and holds all electrons."""
    data = openmx.read(shared_data / "openmx" / case)
    count, bracket = as_the_code(data)
    found = fermi_from_count(count, data.n_electrons, bracket)
    assert found.low < data.fermi_energy < found.high
    assert count(np.array([data.fermi_energy]))[:, 0].sum() == pytest.approx(data.n_electrons, abs=1e-8)


@pytest.mark.parametrize(("reader", "folder", "deviation"), [(abacus, "abacus/MoS2", 5e-3), (siesta, "siesta/Si", 1e-5)])
def test_abacus_and_siesta(shared_data, reader, folder, deviation):
    data = reader.read(shared_data / "peers" / folder)
    found = fermi_from_count(*_arguments(data))
    assert found.low < data.fermi_energy < found.high
    assert found.energy == pytest.approx(data.fermi_energy, abs=deviation)


def test_dock_level_of_mote2(shared_data):
    """Fermi_energy.json of DeepH-dock: half way between the band edges on a mesh that holds K."""
    data = read_folder(shared_data / "peers" / "deeph-bands" / "MoTe2")
    gap = gap_around(compute_mesh_levels(data, make_mesh(data, (9, 9, 1), symmetry="none")), data.fermi_energy)
    assert (gap.low + gap.high) / 2 == pytest.approx(data.fermi_energy, abs=1e-9)
    assert fermi_on_mesh(data, make_mesh(data, (9, 9, 1))).energy == pytest.approx(
        data.fermi_energy, abs=1e-4
    )  # equivalent points differ by so much
    dos = compute_dos(data, make_mesh(data, (9, 9, 1), symmetry="reversal"), fermi="count")
    assert dos.fermi_energy == pytest.approx(data.fermi_energy, abs=1e-4)
    assert dos.counted.high - dos.counted.low == pytest.approx(1.039979, abs=1e-4)


def three(level):
    return level.energy, level.low, level.high


def test_every_method_agrees(mini_graphene):
    """Counts of levels, tetrahedra and narrow Gaussians at the same few k-points."""
    data = mini_graphene
    mesh = make_mesh(data, (2, 2, 1), symmetry="none")
    levels = compute_mesh_levels(data, mesh)
    n = round(4 * data.n_electrons / 2)
    edges = np.sort(levels.energies, axis=None)[n - 1 : n + 1]
    inertia = three(find_fermi_level(data, "inertia", mesh=mesh))
    assert inertia == pytest.approx((edges.mean(), *edges), abs=1e-6)
    bracket = (levels.energies.min() - 1, levels.energies.max() + 1)
    assert three(fermi_from_count(SmearedCount(levels, 1e-4), data.n_electrons, bracket)) == pytest.approx(inertia, abs=2e-3)
    assert three(fermi_from_count(TetrahedronCount(levels), data.n_electrons, bracket)) == pytest.approx(inertia, abs=1e-3)


def test_half_filled_models():
    for data in (hypercubic(1, n_electrons=1), hypercubic(3, n_electrons=1), graphene(n_electrons=2)):
        mesh = make_mesh(data, tuple(8 if data.S.pairs[:, a].any() else 1 for a in range(3)), shift=(0.5, 0.5, 0.5))
        dos = compute_dos(data, mesh)
        assert dos.counted.energy == pytest.approx(0, abs=1e-4)
        assert dos.fermi_origin == f"{data.n_electrons} electrons counted"


def test_a_metal_is_not_counted_by_inertia():
    data = hypercubic(2, n_electrons=1)
    with pytest.raises(DataError, match=r"partly filled at these 1 k-points: this is a metal.*--fermi count"):
        find_fermi_level(data, "inertia", mesh=make_mesh(data, (1, 1, 1)))
    degenerate = replace(graphene(n_electrons=2.0), H=graphene(0.0).H)
    with pytest.raises(DataError, match="partly filled"):
        find_fermi_level(degenerate, "inertia", mesh=make_mesh(degenerate, (1, 1, 1)))


def test_a_metal_whose_levels_are_all_different_is_not_counted_by_inertia():
    """Half a band, at k-points with different levels: the next level is far above, but not in a gap."""
    data = replace(hypercubic(2, n_electrons=1), n_electrons=0.5)
    mesh = make_mesh(data, (4, 4, 1), shift=(0.3, 0.1, 0.0), symmetry="none")
    assert fermi_by_inertia(data, mesh.points).gap > 1e-2
    with pytest.raises(DataError, match=r"a band at .* partly filled at these 16 k-points: this is a metal"):
        find_fermi_level(data, "inertia", mesh=mesh)


def test_impossible_numbers_of_electrons():
    data = random_model(0)
    mesh = make_mesh(data, (2, 2, 1))
    with pytest.raises(DataError, match="100 electrons, but the bands hold 20"):
        compute_dos(replace(data, n_electrons=100.0), mesh)
    with pytest.raises(DataError, match="number of electrons is not known"):
        compute_dos(replace(data, n_electrons=None), mesh, fermi="count")
    with pytest.raises(DataError, match="number of electrons is not known"):
        find_fermi_level(replace(data, n_electrons=None), "inertia", mesh=mesh)
    assert compute_dos(replace(data, n_electrons=None), mesh).fermi_energy is None
