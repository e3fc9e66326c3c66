"""How many bands are filled, against how many the electrons fill; the search for the Fermi level where a guess is known."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell
from lattice_models import graphene, hypercubic

import deeph
from deeph.files.store import write_folder
from postprocess.bands.bands import compute_bands
from postprocess.bands.filling import find_filling
from postprocess.cli import bands as cli
from postprocess.eigen import superlu
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.selection import Selection
from postprocess.eigen.solver import Eigensolver, compute_energies
from postprocess.lattice.kpath import make_kpath
from postprocess.states.fermi import fermi_by_inertia, find_fermi_level, warn_if_far


def filling(data, fermi, **options):
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=30), fermi=fermi, **options)
    return find_filling(bands, data)


def test_metals_explain_a_difference_of_one_band():
    data = graphene(n_electrons=2.0)
    found = filling(data, 0.5)
    assert (found.low == found.high).all()
    assert {found.low.min(), found.low.max()} == {1, 2}
    assert found.expected == 1
    assert not found.excess
    square = hypercubic(2, n_electrons=1.0)
    bands = compute_bands(square, make_kpath(square.system, "GXMG", n_points=30), fermi=0.0)
    assert find_filling(bands, square).describe() == "filled       0 to 1 bands at some of the 30 k-points; 1 electrons fill 0.5"


@pytest.mark.parametrize(("n_electrons", "excess"), [(4.0, -1), (0.0, 1), (2.0, 0)])
def test_an_insulator_does_not(n_electrons, excess):
    data = graphene(n_electrons=n_electrons)
    H = data.H
    mass = np.where((H.pairs[:, 3] == H.pairs[:, 4]) & ~H.pairs[:, :3].any(axis=1), np.where(H.pairs[:, 3] == 0, 0.5, -0.5), 0.0)
    data = replace(data, H=replace(H, entries=H.entries + mass))
    found = filling(data, 0.0)
    assert found.in_gap
    assert found.excess == excess
    assert (found.warning(0.0, "stored") is None) == (excess == 0)


def test_a_part_of_the_levels_bounds_the_number():
    data = replace(supercell(random_model(1), (2, 2, 1)), n_electrons=24.0)
    everything = filling(data, 0.0)
    part = filling(data, 0.0, solver=Eigensolver(n_bands=3, center=0.0, options=SolverOptions(name="superlu")))
    assert (part.low <= everything.low).all()
    assert (part.high >= everything.high).all()
    assert (part.low == part.high).any()
    above = filling(data, 0.0, solver=Eigensolver(n_bands=2, center=1e3))
    assert (above.low == 0).all()
    assert (above.high == data.n_orbitals - 2).all()
    assert above.describe() == f"filled       at most {data.n_orbitals - 2} bands at each of the 30 k-points; 24 electrons fill 12"
    assert above.record() == {"low": None, "high": data.n_orbitals - 2, "expected": 12.0}
    below = filling(data, 0.0, solver=Eigensolver(n_bands=2, center=-1e3))
    assert below.describe() == "filled       at least 2 bands at each of the 30 k-points; 24 electrons fill 12"


@pytest.mark.parametrize("solver", ["dense", "superlu"])
@pytest.mark.parametrize("part", [{"n_bands": 1}, {"n_bands": 2}, {"low": -0.05, "high": 0.05}])
def test_the_levels_nearest_the_fermi_level_count_the_filled_ones(solver, part):
    """Also where all of them lie on one side of it, and where a window holds none: the others are farther away."""
    data = replace(supercell(random_model(1), (2, 2, 1)), n_electrons=24.0)
    everything = filling(data, 0.0)
    found = filling(data, 0.0, solver=Eigensolver(**part, options=SolverOptions(name=solver)))
    assert (found.low == everything.low).all()
    assert (found.high == everything.high).all()
    assert found.describe() == everything.describe()


def test_levels_that_do_not_reach_the_fermi_level_count_nothing():
    data = graphene(n_electrons=2.0)
    found = replace(filling(data, 0.0), bounded=(False, False))
    assert found.describe().startswith("filled       not known: the levels that were computed do not reach the Fermi level")
    assert found.record() == {"low": None, "high": None, "expected": 1.0}


def test_a_stored_level_far_from_the_counted_one_is_a_warning(tmp_path, capsys):
    data = replace(random_model(1), n_electrons=6.0, fermi_energy=1e3)
    write_folder(tmp_path / "far", data)
    with pytest.raises(SystemExit):
        cli.main([str(tmp_path / "far"), "--path", "GK", "--points", "4"])
    done = capsys.readouterr()
    assert "filled       10 bands at each of the 4 k-points; 6 electrons fill 3" in done.out
    assert "lies above that of 6 electrons: at every k-point at least 7 bands too many are filled" in done.err
    with pytest.raises(SystemExit):
        cli.main([str(tmp_path / "far"), "--path", "GK", "--points", "4", "--json"])
    assert json.loads(capsys.readouterr().out)["structures"][0]["filled"] == {"low": 10, "high": 10, "expected": 3.0}


@pytest.fixture
def counted(monkeypatch):
    """How often SuperLU factors."""
    calls = []
    plain = superlu.SuperLU._factor

    def factor(self, values, threshold):
        calls.append(threshold)
        plain(self, values, threshold)

    monkeypatch.setattr(superlu.SuperLU, "_factor", factor)
    return calls


def test_a_guess_saves_factorizations(counted, caplog):
    """Three: one to count and to search with, two to prove; the level is that of the full spectrum."""
    caplog.set_level(logging.INFO, logger="deeph")
    data = replace(supercell(random_model(4), (5, 5, 1)), n_electrons=150.0)
    levels = np.sort(compute_energies(data, np.zeros((1, 3))), axis=None)
    middle = (levels[74] + levels[75]) / 2
    options = SolverOptions(name="superlu")
    known = replace(data, fermi_guess=(float(middle) + 0.1, 0.05))
    assert fermi_by_inertia(known, options=options).energy == pytest.approx(middle, abs=1e-8)
    assert len(counted) == 3
    assert any("that of the training data (+- 0.050 eV)" in line for line in caplog.messages)
    assert caplog.messages[-1].endswith("after 3 factorizations")
    counted.clear()
    caplog.clear()
    assert fermi_by_inertia(data, options=options).energy == pytest.approx(middle, abs=1e-8)
    assert any("nothing tells where it is" in line for line in caplog.messages)


def test_a_level_far_from_that_of_the_training_data_is_a_warning(caplog):
    data = replace(random_model(4), fermi_guess=(-3.5, 0.05))
    warn_if_far(data, -3.8)
    assert not caplog.messages
    caplog.set_level(logging.WARNING, logger="deeph")
    warn_if_far(data, -5.1)
    assert "this H has too many levels below" in caplog.messages[0]
    assert find_fermi_level(data, -5.1).energy == -5.1


def test_missing_pardiso_is_said_once_with_the_way_to_install_it(monkeypatch, caplog):
    caplog.set_level(logging.WARNING, logger="deeph")
    monkeypatch.setattr(superlu, "is_installed", lambda: False)
    monkeypatch.setattr(superlu, "_advised", [])
    superlu.advise_pardiso(100)
    assert not caplog.messages
    for _ in range(3):
        superlu.advise_pardiso(5000)
    assert len(caplog.messages) == 1
    assert "pip install mkl" in caplog.messages[0]
    assert Selection(n_bands=3).choose(100) == "dense"


@pytest.mark.parametrize("backend", ["superlu", None])
def test_the_search_may_hit_a_level(backend):
    """Every level of two models as guess, degenerate ones and the ends of the spectrum among them."""
    k = np.zeros((1, 3))
    for data in (supercell(random_model(2), (3, 2, 1)), supercell(random_model(1), (2, 2, 1)).to_spinor().with_zeeman([0.1, 0.2, 0.05])):
        levels = np.sort(compute_energies(data, k).ravel())
        for n_filled in (4, len(levels) // 2):
            filled = replace(data, n_electrons=n_filled * (2.0 if data.basis.spin == "none" else 1.0))
            for guess in levels[[0, 1, 4, 5, n_filled - 1, n_filled, -1]]:
                found = fermi_by_inertia(filled, k, guess=float(guess), options=SolverOptions(name=backend or "auto"))
                assert [found.low, found.high] == pytest.approx(levels[n_filled - 1 : n_filled + 1].tolist(), abs=1e-8)


@pytest.mark.parametrize("n_electrons", [7.0, 9.0, 8.5])
def test_an_odd_electron_of_a_large_cell_fills_half_a_level(n_electrons):
    data = replace(supercell(random_model(1), (2, 2, 1)), n_electrons=n_electrons)
    found = fermi_by_inertia(data, options=SolverOptions(name="superlu"))
    level = np.sort(compute_energies(data, np.zeros((1, 3))).ravel())[int(np.ceil(n_electrons / 2)) - 1]
    assert [found.low, found.energy, found.high] == pytest.approx([level] * 3, abs=1e-8)


@pytest.mark.parametrize("spinor", [False, True])
@pytest.mark.parametrize("n_electrons", [7.0, 9.0, 7.5])
def test_the_half_filled_level_of_a_radical_is_its_homo_and_no_reason_to_warn(shared_data, n_electrons, spinor):
    data = replace(deeph.read(shared_data / "openmx" / "h2o"), n_electrons=n_electrons)
    data = data.to_spinor() if spinor else data
    bands = data.bands()
    levels = data.eigenvalues("G")
    homo = levels[int(np.ceil(n_electrons)) - 1 if spinor else int(np.ceil(n_electrons / 2)) - 1]
    assert bands.gap.vbm.energy == pytest.approx(homo, abs=1e-8)
    assert bands.fermi_origin == f"HOMO, which {n_electrons:g} electrons fill in part"
    found = find_filling(bands, data)
    assert not found.excess
    assert found.low[0] < found.expected < found.high[0]
