"""The commands as a user types them: one-page answers, files, and errors without a traceback."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import SLAB_POSITIONS, random_model, supercell
from conftest import ROOT

from deeph.files.store import read_folder, write_folder
from postprocess.bands.bands import Bands
from postprocess.cli.common import describe_bands
from postprocess.eigen.solver import compute_energies
from postprocess.lattice.kpath import KPath
from postprocess.output.tables import read_bands


def run(*arguments, command="bands", cwd=None):
    return subprocess.run(
        [sys.executable, "-m", f"postprocess.cli.{command}", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture
def folders(tmp_path):
    """A DFT folder, a prediction with other atom order and no Fermi level, and an overlap-only folder."""
    dft = replace(random_model(1), fermi_energy=-0.2)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=dft.H.entries.shape)
    H = replace(dft.H, entries=dft.H.entries + noise).hermitized()
    predicted = replace(dft, H=H, fermi_energy=None, n_electrons=None).permuted(np.array([2, 0, 1]))
    write_folder(tmp_path / "dft", dft)
    write_folder(tmp_path / "pred", predicted, predicted=True)
    write_folder(tmp_path / "overlap", replace(dft, H=None))
    return tmp_path


def test_figure_tables_and_summary(folders):
    result = run("dft", "--path", "GMKG", "--points", 30, "--out", "b.pdf", "b.png", "b.svg", "b.csv", "b.json", "b.h5", cwd=folders)
    assert result.returncode == 0, result.stderr
    assert "path         G-M-K-G" in result.stdout
    assert "Fermi level  -0.200000 eV (stored with the data)" in result.stdout
    starts = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}
    for suffix, magic in starts.items():
        assert (folders / f"b{suffix}").read_bytes().startswith(magic)
    assert "Γ" in (folders / "b.svg").read_text(encoding="utf-8")
    bands = read_bands(folders / "b.h5")
    assert np.array_equal(bands.energies, read_bands(folders / "b.json").energies)
    with (folders / "b.csv").open() as file:
        assert len(list(csv.reader(file))) == 2 + len(bands.path.k)
    assert not [p for p in folders.iterdir() if p.name.startswith(".")]


def test_connected_bands_carry_their_weights(folders):
    """The same levels with the same shares at every k, in another order."""
    write_folder(folders / "folded", supercell(replace(random_model(1), fermi_energy=0.0), (2, 1, 1)))  # folded bands cross
    tables = []
    for name, option in (("sorted.h5", []), ("connected.h5", ["--connect"])):
        result = run("folded", "--points", 60, "--projections", "atom", *option, "--out", name, cwd=folders)
        assert result.returncode == 0, result.stderr
        tables.append(read_bands(folders / name))
    ascending, connected = tables
    order = np.argsort(connected.energies, axis=-1)
    assert (order != np.arange(connected.n_bands)).any()
    assert np.take_along_axis(connected.energies, order, axis=-1) == pytest.approx(ascending.energies, abs=1e-12)
    for label, weight in connected.weights.items():
        assert np.take_along_axis(weight, order, axis=-1) == pytest.approx(ascending.weights[label], abs=1e-8)
    refused = run("pred", "--compare", "dft", "--connect", cwd=folders)
    assert refused.returncode == 2
    assert "leave out --connect" in refused.stderr


def test_figures_follow_crossings_and_tables_do_not(folders):
    write_folder(folders / "folded", supercell(replace(random_model(1), fermi_energy=0.0), (2, 1, 1)))
    for files in (["b.pdf", "both.h5"], ["alone.h5"]):
        result = run("folded", "--points", 60, "--out", *files, cwd=folders)
        assert result.returncode == 0, result.stderr
    both, alone = (read_bands(folders / name) for name in ("both.h5", "alone.h5"))
    assert alone.order is None  # nobody draws it
    assert (both.order != np.arange(both.n_bands)).any()
    assert (np.diff(both.energies, axis=-1) >= 0).all()


def test_figures_say_where_crossings_are_not_followed(folders):
    said = "figures join the n-th levels"
    assert said in run("dft", "--points", 20, "--n-bands", 4, "--out", "b.png", cwd=folders).stderr
    assert said not in run("dft", "--points", 20, "--out", "b.png", cwd=folders).stderr


@pytest.mark.parametrize("command", ["bands", "dos"])
def test_the_look_of_figures_is_an_option(folders, command):
    n = ["one"] if command == "dos" else ["ours"]
    look = ["--title", "a slab", "--size", 12, 9, "--style", "grayscale", "--zero", "none", "--label", *n]
    few = ["--points", 30] if command == "bands" else ["--mesh", 3, 3, 1]
    result = run("dft", *few, *look, "--out", "f.svg", command=command, cwd=folders)
    assert result.returncode == 0, result.stderr
    text = (folders / "f.svg").read_text(encoding="utf-8")
    assert "a slab" in text
    assert f'width="{12 / 2.54 * 72:.3f}'[:11] in text


@pytest.mark.parametrize("command", ["bands", "dos"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--title", "x"], "--title belongs to figures: add --out"),
        (["--style", "none-such", "--out", "f.pdf"], "none-such: neither a matplotlib style file nor"),
        (["--size", "850", "600", "--out", "f.pdf"], "expected width and height from 2 to 100 cm"),
    ],
)
def test_looks_that_are_impossible_are_refused_before_anything_is_computed(folders, command, options, message):
    result = run("nowhere", *options, command=command, cwd=folders)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(("command", "advice"), [("bands", "--n-bands N"), ("states", "--n-bands N"), ("dos", "use --method kpm")])
def test_large_cells_are_not_started_without_being_told_how(folders, command, advice, monkeypatch, capsys):
    from importlib import import_module

    monkeypatch.setattr("postprocess.eigen.selection.DENSE_LARGEST", 9)
    with pytest.raises(SystemExit) as done:
        import_module(f"postprocess.cli.{command}").main([str(folders / "dft"), *(["--k", "0,0,0"] if command == "states" else [])])
    assert done.value.code == 2
    assert "10 orbitals are too many" in (error := capsys.readouterr().err)
    assert advice in error


def test_a_window_without_levels_is_an_error_and_leaves_nothing(folders):
    """Dense matrices draw nothing, a sparse solver finds nothing; the same output can then have a wider window."""
    before = sorted(folders.iterdir())
    for options, message in (([], "no level lies there on this path"), (["--solver", "superlu"], "no level was found")):
        result = run("dft", "--points", 8, "--window", 500, 600, *options, "--out", "e.png", "e.h5", cwd=folders)
        assert result.returncode == 1
        assert message in result.stderr
        assert not result.stdout
        assert sorted(folders.iterdir()) == before
    result = run("dft", "--points", 8, "--window", -1, 1, "--solver", "superlu", "--out", "e.png", cwd=folders)
    assert result.returncode == 0, result.stderr


def test_what_cannot_be_connected_is_not_in_the_way(folders):
    window = ["dft", "--points", 20, "--window", -0.3, 0.3, "--solver", "superlu", "--out", "e.h5"]
    result = run(*window, "--connect", cwd=folders)
    assert "same number at every k" in result.stderr
    assert run(*window, cwd=folders).returncode == 0


def test_folders_that_cannot_be_written(folders):
    (folders / "taken.png").mkdir()
    for name in ("x" * 246 + ".png", "taken.png"):  # no name for the folder of k-points, no place for the figure
        result = run("dft", "--points", 8, "--out", name, cwd=folders)
        assert result.returncode == 1
        assert "written" in result.stderr
        assert "unexpected" not in result.stderr
        assert not (folders / "error.log").exists()


def test_a_part_of_the_bands_says_nothing_about_the_gap(folders):
    text = run("dft", "--points", 8, "--center", -50, "--n-bands", 2, cwd=folders).stdout
    assert "gap          not known: only levels of bands 1 to 2 of 10 were computed; they lie below the Fermi level" in text
    assert re.search(r"solver       dense matrices \(LAPACK\), 10 orbitals, largest residual .*e-1\d eV, no level is missing", text)
    assert "solver       dense matrices (LAPACK), 10 orbitals, no level is missing" in run("dft", "--points", 8, cwd=folders).stdout
    unproved = run("dft", "--points", 8, "--n-bands", 3, "--solver", "superlu", "--no-verify", "--out", "b.h5", cwd=folders).stdout
    assert "not proved that no level is missing" in unproved
    assert "gap          not known: only 3 levels at a k of 10 were computed, and the levels below them were not counted" in unproved
    assert read_bands(folders / "b.h5").solver in unproved
    assert not read_bands(folders / "b.h5").counted


def test_an_indirect_gap_comes_with_the_smallest_direct_one():
    path = KPath(np.array([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]]), np.arange(3.0), ("G", "X"), np.array([0.0, 2]), np.array([0, 3]))
    bands = Bands(np.array([[[-1.0, 4], [-2, 1.5], [-3, 1]]]), path, 0.0)
    lines = describe_bands(bands, 2)
    assert any("2.000000 eV, indirect" in line for line in lines)
    assert any("smallest direct gap      3.500000 eV  at k = (0.2500, 0.0000, 0.0000)" in line for line in lines)
    part = describe_bands(replace(bands, first_band=2), 6)
    assert any("on this path (only levels of bands 3 to 4 of 6 were computed)" in line for line in part)


def test_prediction_against_dft(folders):
    result = run("pred", "--compare", "dft", "--points", 30, "--json", "--out", "b.png", cwd=folders)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    dft, predicted = record["structures"]
    assert predicted["title"] == "pred (predicted)"
    assert (predicted["fermi_energy"], predicted["fermi_origin"]) == (dft["fermi_energy"], "taken from dft")
    assert 0 < record["comparisons"][0]["all_bands"]["mae"] < 10


def test_compare_command(folders):
    result = run("dft", "pred", "--path", "GMKG", "--points", 20, command="compare", cwd=folders)
    assert result.returncode == 0, result.stderr
    for words in ("H as it stands", "without mu S", "on-site", "C-N", "within 2 eV of E_F", "(taken from dft)"):
        assert words in result.stdout
    record = json.loads(run("dft", "pred", "--json", command="compare", cwd=folders).stdout)
    assert 0.3 < record["matrices"]["raw"]["mae"] < 1.5  # sigma 1 meV, averaged over two directions
    assert record["bands"] is None


def comparison(*arguments, command="bands", cwd):
    result = run(*arguments, "--json", command=command, cwd=cwd)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    return record["comparisons"][0] if command == "bands" else record["bands"]


PART = [["--n-bands", 4], ["--window", -0.7, 0.7]]


@pytest.mark.parametrize("part", PART, ids=["nearest", "window"])
def test_dft_and_prediction_get_the_same_part_of_the_spectrum(folders, part):
    """The central use with large cells: the same solver for both; what it finds are the errors of these bands among all."""
    common = ["--path", "GMKG", "--points", 12]
    sparse = comparison("pred", "--compare", "dft", *common, *part, "--solver", "superlu", cwd=folders)
    dense = comparison("dft", "pred", *common, *part, command="compare", cwd=folders)
    again = comparison("dft", "pred", *common, *part, "--solver", "superlu", "-j", 2, command="compare", cwd=folders)
    everything = comparison("pred", "--compare", "dft", *common, cwd=folders)
    for result in (dense, again):
        assert result["near_fermi"] == pytest.approx(sparse["near_fermi"], abs=1e-6)
        assert result["all_bands"] == pytest.approx(sparse["all_bands"], abs=1e-6)
    assert 0 < sparse["all_bands"]["n"] < everything["all_bands"]["n"]
    assert sparse["all_bands"]["max"] <= everything["all_bands"]["max"] + 1e-6
    if part == PART[1]:
        window = comparison("pred", "--compare", "dft", *common, *part, cwd=folders)  # small cells: all are computed
        assert window["near_fermi"] == pytest.approx(sparse["near_fermi"], abs=1e-6)
        assert window["all_bands"] == everything["all_bands"]
        assert sparse["window"] == [-0.7, 0.7]


def test_nearly_dependent_orbitals_are_projected_out_of_both(folders):
    result = comparison("pred", "--compare", "dft", "--points", 8, "--project", 0.99, cwd=folders)
    assert 0 < result["all_bands"]["n"] < comparison("pred", "--compare", "dft", "--points", 8, cwd=folders)["all_bands"]["n"]


def test_levels_without_numbers_are_not_compared(folders):
    part = ["--points", 8, "--n-bands", 3, "--solver", "superlu"]
    result = run("pred", "--compare", "dft", *part, "--no-verify", "--out", "b.png", cwd=folders)
    assert result.returncode == 1
    assert "leave out --no-verify" in result.stderr
    assert not [p for p in folders.iterdir() if p.name.startswith(".")]  # or the advice could not be followed
    assert run("pred", "--compare", "dft", *part, "--out", "b.png", cwd=folders).returncode == 0


OTHERS = {
    "spin": (lambda _: random_model(1, spin="collinear"), "has spin 'none' and other 'collinear'"),
    "cell": (lambda d: random_model(1, cell=1.01 * d.system.cell), "the cells differ"),
    "elements": (lambda _: random_model(1, numbers=(6, 6, 6)), "is C3: their bands cannot be compared"),
}


@pytest.mark.parametrize("command", ["bands", "compare"])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_has_no_bands_in_common_is_refused_before_anything_is_computed(folders, kind, command, monkeypatch, capsys):
    from importlib import import_module

    change, message = OTHERS[kind]
    write_folder(folders / "other", change(random_model(1)))
    monkeypatch.setattr("postprocess.bands.bands.compute_spectrum", lambda *_, **__: pytest.fail("levels were computed"))
    dft, other = str(folders / "dft"), str(folders / "other")
    arguments = [other, "--compare", dft] if command == "bands" else [dft, other, "--path", "GM"]
    with pytest.raises(SystemExit) as done:
        import_module(f"postprocess.cli.{command}").main(arguments)
    assert done.value.code == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def graphene_run(tmp_path, mini_graphene):
    """A folder made from an OpenMX run, and the ``.Band`` of the run."""
    write_folder(tmp_path / "graphene", mini_graphene)
    shutil.copy(ROOT / "tests" / "data" / "openmx" / "mini_graphene" / "mini_graphene.Band", tmp_path)
    return tmp_path


def test_bands_that_the_code_printed_are_a_reference(graphene_run):
    for result in (
        comparison("graphene", "--compare", "mini_graphene.Band", "--out", "b.png", "b.csv", cwd=graphene_run),
        comparison("mini_graphene.Band", "graphene", command="compare", cwd=graphene_run),
        comparison("graphene", "--compare", "mini_graphene.Band", "--n-bands", 4, "--solver", "superlu", cwd=graphene_run),
    ):
        assert result["all_bands"]["max"] < 1e-3  # 1e-6 eV
        assert result["near_fermi"]["n"] > 0
        assert result["only_other"] == 0
    assert "overlap weight" not in (graphene_run / "b.csv").read_text()
    text = run("graphene", "--compare", "mini_graphene.Band", cwd=graphene_run).stdout
    assert "solver       read from a file" in text
    assert "(taken from mini_graphene.Band)" in text
    assert json.loads(run("mini_graphene.Band", "graphene", "--json", command="compare", cwd=graphene_run).stdout)["matrices"] is None


REFERENCES = [
    (["graphene", "--compare", "mini_graphene.Band", "--path", "GM"], 2, "leave out --path and --points"),
    (["graphene", "--compare", "mini_graphene.Band", "--project", "1e-3"], 2, "leave out --project"),
    (["graphene", "--compare", "POSCAR"], 2, "or a band file: OpenMX's .Band, SIESTA's .EIG or .bands"),
    (["graphene", "--compare", "nowhere.Band"], 1, "there is no such folder"),
    (["mini_graphene.Band"], 1, "there is no such folder, but a file"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFERENCES, ids=[" ".join(w[0]) for w in REFERENCES])
def test_wrong_references(graphene_run, arguments, code, message):
    shutil.copy(graphene_run / "graphene" / "POSCAR", graphene_run)
    result = run(*arguments, cwd=graphene_run)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_levels_on_a_mesh_are_compared_but_not_drawn(shared_data, tmp_path):
    from preprocess.readers import siesta

    folder = shared_data / "peers" / "siesta" / "Si"
    write_folder(tmp_path / "Si", siesta.read(folder))
    result = comparison("Si", "--compare", folder / "Si.EIG", cwd=tmp_path)
    assert result["occupied"]["max"] < 1e-3
    assert result["edges"]["gap"]["reference"] == pytest.approx(0.589814, abs=1e-6)
    for option in (["--out", "b.png"], ["--out", "b.Band"], ["--report"]):
        refused = run("Si", "--compare", folder / "Si.EIG", *option, cwd=tmp_path)
        assert refused.returncode == 2
        assert "its k-points form no path" in refused.stderr


def test_errors_at_the_fermi_level_come_first_and_nearly_dependent_levels_are_named(bilayer36, tmp_path):
    """The noise of a prediction, 1 meV an element: some meV where physics is, hundreds in combinations of nearly equal orbitals."""
    data = read_folder(bilayer36 / "000")
    noise = np.random.default_rng(0).normal(scale=1e-3, size=data.H.entries.shape)
    write_folder(tmp_path / "pred", replace(data, H=replace(data.H, entries=data.H.entries + noise).hermitized()), predicted=True)
    lines = run("pred", "--compare", bilayer36 / "000", "--path", "GM", "--points", 2, cwd=tmp_path).stdout.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if "MAE" in line) + 1 :]
    rows = {line[2:26].strip(): [float(x) for x in line[26:].split()] for line in table[:6]}
    assert list(rows)[:2] == ["within 2 eV of E_F", "occupied bands"]
    assert list(rows)[-2:] == ["all other bands", "nearly dependent levels"]
    assert rows["within 2 eV of E_F"][0] < 10
    assert rows["nearly dependent levels"][0] > 100
    assert rows["all other bands"][3] + rows["nearly dependent levels"][3] == 2 * 468
    assert "c^dagger S c / c^dagger c < 0.05" in table[6]
    assert re.search(r"the lowest of these levels lies \+4\d\.\d eV from the Fermi level", table[7])


@pytest.fixture
def molecule(folders):
    """A molecule across the boundary of its box, and a prediction of it."""
    data = random_model(3, cell=20 * np.eye(3), positions=SLAB_POSITIONS - [0.5, 0, 0])
    noise = np.random.default_rng(0).normal(scale=1e-2, size=data.H.entries.shape)
    write_folder(folders / "molecule", data)
    predicted = replace(data, H=replace(data.H, entries=data.H.entries + noise).hermitized(), n_electrons=None)
    write_folder(folders / "predicted", predicted, predicted=True)
    return data, predicted


def test_levels_of_a_molecule(folders, molecule):
    levels, other = (compute_energies(data, np.zeros((1, 3)))[0, 0] for data in molecule)
    homo, lumo = levels[2:4]  # six electrons
    text = run("molecule", "--out", "m.png", "m.csv", "m.dat", cwd=folders).stdout
    assert "path         Gamma alone" in text
    assert f"gap          {lumo - homo:.6f} eV between HOMO and LUMO" in text
    assert f"HOMO       {homo:+.6f} eV  level 3 of 10" in text
    assert f"LUMO       {lumo:+.6f} eV  level 4 of 10" in text
    for result in (
        comparison("predicted", "--compare", "molecule", "--out", "c.png", cwd=folders),
        comparison("molecule", "predicted", command="compare", cwd=folders),  # without --path
        comparison("molecule", "predicted", "--n-bands", 4, "--solver", "superlu", command="compare", cwd=folders),
    ):
        edges = result["edges"]
        assert edges["valence"] == pytest.approx({"reference": homo, "other": other[2], "error": 1e3 * (other[2] - homo)}, abs=1e-6)
        assert edges["conduction"] == pytest.approx({"reference": lumo, "other": other[3], "error": 1e3 * (other[3] - lumo)}, abs=1e-6)
        assert edges["gap"]["error"] == pytest.approx(1e3 * (other[3] - other[2] - lumo + homo), abs=1e-6)
    lines = run("molecule", "predicted", command="compare", cwd=folders).stdout.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["HOMO", "LUMO", "gap"]
    assert f"{1e3 * (other[2] - homo):+.4f}" in lines[-3]


def test_the_other_commands_and_options_with_a_molecule(folders, molecule):
    homo, lumo = compute_energies(molecule[0], np.zeros((1, 3)))[0, 0, 2:4]
    for command, arguments in (("states", ["--n-bands", 2]), ("states", ["--charges"]), ("dos", []), ("bands", ["--projections", "atom"])):
        result = run("molecule", *arguments, *(["--out", "f.png"] if command == "bands" else []), command=command, cwd=folders)
        assert result.returncode == 0, result.stderr
    states = run("molecule", "--n-bands", 3, "--fermi", 0, "--center", homo, command="states", cwd=folders).stdout
    assert f"{homo:+.6f}" in states
    assert f"in a gap of {lumo - homo:.6f} eV" in run("molecule", command="dos", cwd=folders).stdout
    report = run("molecule", "--report", cwd=folders).stdout
    assert f"level 3     {homo:+12.6f} eV  HOMO\n" in report
    assert f"level 4     {lumo:+12.6f} eV  LUMO\n" in report
    levels = json.loads(run("molecule", "--report", "--json", cwd=folders).stdout)["structures"][0]["report"]["levels"]
    assert [[level["number"], level["name"]] for level in levels[:3]] == [[1, "HOMO-2"], [2, "HOMO-1"], [3, "HOMO"]]
    for option in (["--connect"], ["--out", "m.Band"]):
        refused = run("molecule", *option, cwd=folders)
        assert refused.returncode == 2
        assert f"is a molecule, whose levels form no bands: leave out {' '.join(option)}" in refused.stderr


def test_levels_nearest_the_gap_of_a_molecule_whose_stored_level_means_nothing(folders, molecule):
    homo, lumo = compute_energies(molecule[0], np.zeros((1, 3)))[0, 0, 2:4]
    write_folder(folders / "dummy", replace(molecule[0], fermi_energy=50.0))
    for arguments in (["--n-bands", 2], []):
        text = run("dummy", *arguments, cwd=folders).stdout
        assert f"HOMO       {homo:+.6f} eV  level 3" in text
        assert f"LUMO       {lumo:+.6f} eV  level 4" in text


def test_a_folder_of_folders_is_listed(folders):
    for command in (["bands"], ["dos"], ["states"], ["compare", "dft"]):
        listed = run(folders, *command[1:], command=command[0], cwd=folders)
        assert listed.returncode == 1
        assert f"{folders} is not a structure folder, but holds 3; name one of them:" in listed.stderr
        assert f"  {folders / 'dft'}  C2N, 3 atoms, spin none: H, S" in listed.stderr
        assert f"  {folders / 'pred'}  C2N, 3 atoms, spin none: H predicted, S" in listed.stderr
    (folders / "run").mkdir()
    (folders / "run" / "mos2.scfout").write_bytes(b"")
    told = run(folders / "run", cwd=folders)
    assert told.returncode == 1
    assert f"(it holds mos2.scfout), not a structure folder. Convert it first, 'deeph-preprocess {folders / 'run'} data'" in told.stderr


def test_edges_of_unfolded_bands_are_in_the_primitive_cell(tmp_path):
    """The zone of the supercell is half as wide; the same k of the primitive cell has the edge."""
    data = replace(random_model(3), fermi_energy=0.0)
    write_folder(tmp_path / "small", data)
    write_folder(tmp_path / "large", replace(supercell(data, (2, 1, 1)), fermi_energy=0.0))
    path = ["--path", "G M=1/2,0,0", "--points", "9", "--json"]
    plain = json.loads(run("small", *path, cwd=tmp_path).stdout)["structures"][0]["gap"]["direct"]["k"]
    unfolded = json.loads(run("large", "--unfold", "2,0,0,0,1,0,0,0,1", *path, cwd=tmp_path).stdout)["structures"][0]["gap"]
    assert max(abs(x) for x in unfolded["vbm"]["k"] + unfolded["cbm"]["k"] + plain) <= 0.5
    from_supercell = compute_energies(supercell(data, (2, 1, 1)), np.array([unfolded["vbm"]["k"]]) * [2, 1, 1])
    assert np.abs(from_supercell - unfolded["vbm"]["energy"]).min() < 1e-8


@pytest.mark.parametrize("case", ["h2o", "o2_nc"])
def test_real_molecules(shared_data, tmp_path, case):
    from preprocess.readers import openmx

    data = openmx.read(shared_data / "openmx" / case)
    write_folder(tmp_path / case, data)
    result = comparison(case, case, command="compare", cwd=tmp_path)
    assert result["all_bands"]["max"] < 1e-6
    levels = compute_energies(data, np.zeros((1, 3)))[0, 0]
    n = round(data.n_electrons) // (1 if data.basis.spin == "spinor" else 2)
    assert [result["edges"][name]["reference"] for name in ("valence", "conduction")] == pytest.approx(levels[n - 1 : n + 1])


def test_folder_with_both_hamiltonians(folders):
    shutil.copy(folders / "dft" / "hamiltonian.h5", folders / "dft" / "hamiltonian_pred.h5")
    record = json.loads(run("dft", "dft", "--predicted", "--json", command="compare", cwd=folders).stdout)
    assert record["other"] == "dft (predicted)"
    assert record["matrices"]["raw"]["max"] == 0


def test_no_fermi_level_is_said(folders):
    result = run("pred", "--points", 10, cwd=folders)
    assert result.returncode == 0
    assert "Fermi level  not known" in result.stdout


def test_path_from_a_file(folders):
    (folders / "K_PATH").write_text("4 0 0 0  0.5 0 0  GAMMA M\n6 0.5 0 0  0.3333333333 0.3333333333 0  M K\n")
    record = json.loads(run("dft", "--path", "K_PATH", "--json", cwd=folders).stdout)
    assert record["structures"][0]["path"]["labels"] == ["G", "M", "K"]
    assert record["structures"][0]["path"]["n_k"] == 10


WRONG = [
    (["dft", "--path", "GXK"], 2, "'X' is not a k-point"),
    (["dft", "--points", "0"], 2, "0 k-points"),
    (["dft", "--points", "many"], 2, "expected a whole number"),
    (["dft", "--window", "3", "-3"], 2, "the lower one first"),
    (["dft", "--window", "-1", "inf"], 2, "the lower one first"),
    (["dft", "--path", "K_PATH"], 2, "there is no such file"),
    (["dft", "--fermi", "nan"], 2, "expected a number in eV or 'count'"),
    (["dft", "--out", "b.doc"], 2, "expected a name ending in"),
    (["dft", "--out", "no/b.pdf"], 2, "does not exist"),
    (["dft", "pred", "--out", "b.csv"], 2, "a table holds one band structure"),
    ([], 2, "FOLDER is missing"),
    (["nowhere"], 1, "there is no such folder"),
    (["."], 1, "not a structure folder"),
    (["overlap"], 1, "holds only the overlap"),
    (["dft", "--predicted"], 1, "hamiltonian_pred.h5 is missing"),
    (["pred", "--fermi", "count"], 1, "number of electrons is not known"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG, ids=[" ".join(w[0]) or "nothing" for w in WRONG])
def test_errors(folders, arguments, code, message):
    result = run(*arguments, cwd=folders)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    assert sorted(p.name for p in folders.iterdir()) == ["dft", "overlap", "pred"]


def test_damaged_matrices(folders):
    with h5py.File(folders / "dft" / "hamiltonian.h5", "r+") as file:
        file["entries"][5] = np.nan
    result = run("dft", cwd=folders)
    assert result.returncode == 1
    assert "NaN or infinite value in block R =" in result.stderr
    (folders / "pred" / "hamiltonian_pred.h5").write_bytes(b"not hdf5")
    result = run("pred", cwd=folders)
    assert result.returncode == 1
    assert "not a complete matrix file" in result.stderr


def test_different_structures_are_not_compared(folders):
    write_folder(folders / "shifted", random_model(1, positions=random_model(1).system.positions + 0.05))
    result = run("dft", "shifted", command="compare", cwd=folders)
    assert result.returncode == 1
    assert "has no counterpart" in result.stderr


@pytest.mark.parametrize("command", ["bands", "compare"])
def test_help_is_immediate(command):
    def seconds():
        start = time.perf_counter()
        result = run("--help", command=command)
        assert result.returncode == 0
        assert "examples:" in result.stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1.0
    code = f"import sys, postprocess.cli.{command}; print({{'numpy', 'scipy', 'h5py', 'matplotlib', 'ase'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_mos2_with_spin_orbit(shared_data, tmp_path):
    """Every level of a training structure is split, except where time reversal pairs them."""
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, shared_data / "mos2_soc" / "000.npz"], check=True)
    result = run("000", "--path", "GMKG", "--points", 30, "--out", "b.h5", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)["structures"][0]
    assert record["gap"]["vbm"]["band"] == 26  # 26 valence electrons, counted from 1
    assert 1.3 < record["gap"]["width"] < 1.9
    bands = read_bands(tmp_path / "b.h5")
    pairs = bands.energies[0, :, 24:26]
    at = dict(zip(bands.path.labels[:3], bands.path.bounds[:3], strict=True))
    splitting = pairs[:, 1] - pairs[:, 0]
    assert splitting[at["G"]] < 1e-4
    assert splitting[at["M"]] < 1e-4
    assert 0.1 < splitting[at["K"]] < 0.2  # 0.15 eV in MoS2
