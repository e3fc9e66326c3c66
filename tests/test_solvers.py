"""Choice of the solver, bands in a window, Fermi levels by counting, and the options of deeph-bands."""

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from band_cases import random_model, supercell
from test_cli_bands import run

from deeph.files.store import read_folder, write_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import compute_bands
from postprocess.eigen.backends import best_backend
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver, compute_energies, compute_levels
from postprocess.lattice.kpath import make_kpath
from postprocess.lattice.mesh import IDENTITY, reduced_mesh
from postprocess.output.tables import read_bands
from postprocess.states.fermi import FermiLevel, fermi_by_inertia, fermi_on_mesh, find_fermi_level

K = np.array([0.13, -0.27, 0.0])


def whole_mesh(divisions):
    return reduced_mesh(divisions, (0, 0, 0), IDENTITY[None]).points


@pytest.fixture(scope="module")
def model():
    """A cell of 30 orbitals."""
    return supercell(random_model(2), (3, 1, 1))


def test_choice_by_size():
    some = Eigensolver(n_bands=30)
    assert some.choose(1000) == "dense"
    assert some.choose(100_000) == best_backend()
    assert replace(some, n_bands=5000).choose(10_000) == "dense"
    assert Eigensolver(low=-1, high=1).choose(100_000) == best_backend()
    assert Eigensolver().choose(100_000) == "dense"
    assert replace(some, options=SolverOptions(name="superlu")).choose(100) == "superlu"
    assert Eigensolver(n_bands=30).choose(30) == "dense"  # all of them
    assert replace(some, options=SolverOptions(device="cuda")).choose(100_000) == "dense"
    assert pickle.loads(pickle.dumps(some)) == some  # noqa: S301 - our own; it goes to worker processes


@pytest.mark.parametrize("project", [0.0, 0.85])
@pytest.mark.parametrize("selection", [{"n_bands": 7, "center": 0.2}, {"low": -1.0, "high": 1.0}])
def test_solvers_agree(model, selection, project):
    dense, lu = (
        compute_levels(model, K, Eigensolver(**selection, options=SolverOptions(name=s, project=project))) for s in ("dense", "superlu")
    )
    assert len(dense.energies) == len(lu.energies) > 3
    assert np.abs(dense.energies - lu.energies).max() < 1e-8
    assert dense.first == lu.first
    assert lu.complete
    assert max(dense.residuals.max(), lu.residuals.max()) < 1e-6
    S = model.S_bloch.dense(K)
    for levels in (dense, lu):
        assert np.allclose(levels.vectors.conj().T @ S @ levels.vectors, np.eye(len(levels.energies)), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bands": 0}, "0 bands"),
        ({"n_bands": 55}, "55 bands asked for, but there are 30 orbitals"),
        ({"low": 1.0, "high": 0.0}, "lower one first"),
        ({"n_bands": 3, "center": np.nan}, "centre"),
        ({"bands": (2, 100)}, "bands 2 to 100"),
    ],
)
def test_wrong_selections(model, options, message):
    with pytest.raises(UsageError, match=message):
        compute_levels(model, K, Eigensolver(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "magic"}, "magic"),
        ({"project": -1.0}, "projection"),
        ({"real_form": -1.0}, "real_form"),
        ({"compress": -1.0}, "small number"),
        ({"out_of_core": Path("nowhere")}, "expected a folder"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UsageError, match=message):
        SolverOptions(**options)


@pytest.mark.parametrize("solver", ["dense", "superlu"])
def test_overlap_that_is_not_positive_names_k(solver):
    data = random_model(7)
    broken = replace(data, S=replace(data.S, entries=data.S.entries * np.where(np.abs(data.S.entries) < 0.5, 60, 1)))
    with pytest.raises(DataError, match=r"k = \(0.13, -0.27, 0\).*not positive definite"):
        compute_levels(broken, K, Eigensolver(n_bands=3, options=SolverOptions(name=solver)))


def test_hamiltonian_that_is_not_hermitian_is_averaged(caplog):
    logging.getLogger("deeph").propagate = True
    data = random_model(6)
    noise = np.random.default_rng(0).normal(scale=0.01, size=data.H.entries.shape)
    noisy = replace(data, H=replace(data.H, entries=data.H.entries + noise))
    some = Eigensolver(n_bands=4, options=SolverOptions(name="superlu"))
    clean = compute_levels(replace(data, H=noisy.H.hermitized()), K, some)
    assert np.allclose(compute_levels(noisy, K, some).energies, clean.energies)
    assert "H is not Hermitian" in caplog.text


@pytest.mark.parametrize("solver", ["dense", "superlu"])
def test_window_bands_are_a_part_of_all_bands(model, solver):
    path = make_kpath(model.system, "GXSY", n_points=9)
    full = compute_bands(model, path, fermi=0.0).energies
    part = compute_bands(model, path, fermi=0.0, solver=Eigensolver(low=-0.8, high=0.9, options=SolverOptions(name=solver)))
    known = ~np.isnan(part.energies)
    same = full[..., part.first_band : part.first_band + part.n_bands]
    assert np.abs(part.energies - same)[known].max() < 1e-8
    assert (known == ((same >= -0.8) & (same <= 0.9))).all()
    assert known.sum() == ((full >= -0.8) & (full <= 0.9)).sum()


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_fermi_level_by_counts(spin):
    data = supercell(random_model(4, spin=spin), (2, 2, 1))
    data = replace(data, n_electrons=20.0)
    k = whole_mesh((2, 1, 1))
    found = fermi_by_inertia(data, k, options=SolverOptions(name="superlu"))
    levels = np.sort(compute_energies(data, k), axis=None)
    filled = 20 if spin == "none" else 40  # at two k-points
    assert found.energy == pytest.approx((levels[filled - 1] + levels[filled]) / 2, abs=1e-8)
    assert found.low <= found.energy <= found.high


def test_fermi_level_by_counts_starts_anywhere(monkeypatch):
    monkeypatch.setattr("postprocess.states.frontier_levels.CLOSE", 0)
    data = replace(supercell(random_model(4), (3, 3, 1)), n_electrons=60.0)
    expected = fermi_on_mesh(data, make_mesh(data, (1, 1, 1))).energy
    for guess in (None, -1000.0, 3.0, 1e4):
        assert fermi_by_inertia(data, guess=guess, options=SolverOptions(name="superlu")).energy == pytest.approx(expected, abs=1e-8)
    for n in (0.0, 1e6):
        with pytest.raises(DataError, match="electrons"):
            fermi_by_inertia(replace(data, n_electrons=n))


def test_fermi_level_of_an_insulator_lies_in_the_gap(shared_data):
    data = read_folder(shared_data / "peers" / "deeph-bands" / "MoTe2")
    found = fermi_by_inertia(data, whole_mesh((3, 3, 1)))  # with K, where the band edges are
    gap = compute_bands(data, make_kpath(data.system, "GMKG", n_points=40)).gap
    assert found.low == pytest.approx(gap.vbm.energy, abs=1e-6)
    assert gap.vbm.energy < found.energy < gap.cbm.energy


def test_where_the_fermi_level_comes_from(model):
    assert find_fermi_level(model, 0.3) == FermiLevel(0.3, 0.3, 0.3, "given")
    assert find_fermi_level(replace(model, fermi_energy=0.1)).origin == "stored with the data"
    assert find_fermi_level(replace(model, n_electrons=None)) is None
    assert find_fermi_level(model, "unknown") is None
    with pytest.raises(DataError, match="--center"):
        find_fermi_level(replace(model, n_electrons=None), needed=True)


def test_deeph_bands_with_a_part_of_the_bands(tmp_path, model):
    write_folder(tmp_path / "cell", replace(model, fermi_energy=0.0))
    common = (tmp_path / "cell", "--path", "G X=1/2,0,0", "--points", 3, "--json")
    whole = json.loads(run(*common).stdout)["structures"][0]
    part = run(
        *common,
        "--n-bands",
        6,
        "--solver",
        "superlu",
        "--out",
        tmp_path / "b.json",
        tmp_path / "b.h5",
        tmp_path / "b.csv",
        tmp_path / "b.png",
    )
    assert part.returncode == 0, part.stderr
    assert "solver: superlu" in part.stderr
    assert "counts prove that none is missing" in part.stderr
    result = json.loads(part.stdout)["structures"][0]
    assert result["first_band"] > 0
    assert result["gap"]["width"] == pytest.approx(whole["gap"]["width"], abs=1e-8)
    assert result["gap"]["vbm"]["band"] == whole["gap"]["vbm"]["band"]
    back, same = read_bands(tmp_path / "b.json"), read_bands(tmp_path / "b.h5")
    assert np.array_equal(back.energies, same.energies, equal_nan=True)
    assert back.first_band == same.first_band == result["first_band"] - 1
    window = run(*common, "--window", -0.5, 0.5, "--solver", "superlu", "--center", 0.1)
    assert window.returncode == 0, window.stderr
    for wrong, message in (
        (("--n-bands", 0), "at least one"),
        (("--solver", "superlu"), "--window"),
        (("--n-bands", 5, "--center", "x"), "expected an energy"),
        (("--n-bands", 500), "30 orbitals"),
        (("--single", "--solver", "superlu", "--n-bands", 5), "PARDISO"),
    ):
        answer = run(*common, *wrong)
        assert answer.returncode == 2
        assert message in answer.stderr
        assert "Traceback" not in answer.stderr
    empty = run(*common, "--window", 500, 501, "--solver", "superlu")
    assert empty.returncode == 1
    assert "no level" in empty.stderr
