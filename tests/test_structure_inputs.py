"""The input files of the DFT codes: what is written is what our readers of these codes find in them."""

import json
from pathlib import Path

import numpy as np
import pytest

from deeph.files.config_file import load_settings
from deeph.files.fdf import read_fdf_file
from deeph.files.store import element_order
from deeph.physics.system import System
from deeph.runtime.errors import UsageError
from preprocess.readers.abacus.input import read_input, read_k_mesh, read_smearing
from preprocess.readers.abacus.stru import parse_stru
from preprocess.readers.openmx.input import read_k_mesh as read_openmx_mesh
from preprocess.readers.openmx.input import read_structure as read_openmx
from preprocess.structure_files import read_structure_file
from preprocess.structures.inputs import input_files
from preprocess.structures.monolayer import graphene
from preprocess.structures.settings import Settings, example
from preprocess.structures.twist import twisted

CODES = ("openmx", "abacus", "siesta")
MAIN = {"openmx": "openmx.dat", "abacus": "STRU", "siesta": "siesta.fdf"}
ELEMENTS = {
    "openmx": {"Mo": ("Mo7.0-s3p2d2", "Mo_PBE19", 14.0, 2.0), "S": ("S7.0-s2p2d1", "S_PBE19", 6.0, 0.0)},
    "abacus": {"Mo": ("Mo_gga_8au_100Ry_4s2p2d1f.orb", "Mo.upf", None, 2.0), "S": ("S_gga_8au_100Ry_2s2p1d.orb", "S.upf", None, 0.0)},
    "siesta": {"Mo": ("DZP", "", None, 2.0), "S": ("TZP", "", None, 0.0)},
}


def make_settings(code, **run):
    elements = {
        s: {"basis": b, "pseudopotential": p, "moment": m} | ({"valence": v} if v else {}) for s, (b, p, v, m) in ELEMENTS[code].items()
    }
    values = {"run": {"code": code, "k_density": 20.0} | run, "elements": elements}
    return Settings.model_validate_json(json.dumps(values))


def mos2():
    cell = np.array([[3.16, 0, 0], [-1.58, 1.58 * np.sqrt(3), 0], [0, 0, 18.0]])
    return System(cell, [[0.01, 1.82, 9.0], [1.57, 0.91, 10.56], [1.6, -0.91, 7.44]], [42, 16, 16])


def written(tmp_path: Path, system: System, settings: Settings) -> Path:
    for name, text in input_files(system, settings).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / MAIN[settings.run.code]


def assert_same(found: System, expected: System, tolerance: float = 1e-9):
    assert np.array_equal(found.numbers, expected.numbers)
    assert np.allclose(found.cell, expected.cell, atol=tolerance)
    difference = found.fractional - expected.fractional
    assert np.abs((difference - np.rint(difference)) @ expected.cell).max() < tolerance


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("spin", ["off", "collinear", "noncollinear", "spin-orbit"])
def test_our_readers_find_the_structure_that_was_written(tmp_path, code, spin):
    assert_same(read_structure_file(written(tmp_path, mos2(), make_settings(code, spin=spin))).system, mos2())


@pytest.mark.parametrize("code", CODES)
def test_a_twisted_cell_survives(tmp_path, code):
    layers = [graphene(), graphene(2.46)]
    system = twisted(layers, indices=(2, 3)).system
    numbers = np.where(np.arange(system.n_atoms) % 2, 16, 42)
    system = System(system.cell, system.positions, numbers)
    system = system.permuted(element_order(system))
    assert_same(read_structure_file(written(tmp_path, system, make_settings(code))).system, system)


def test_openmx_has_basis_electrons_mesh_and_spin(tmp_path):
    path = written(tmp_path, mos2(), make_settings("openmx", spin="spin-orbit", cutoff=150.0, data_path="/pp"))
    _, species, n_electrons = read_openmx(path)
    assert [s.pao for s in species] == ["Mo7.0-s3p2d2", "S7.0-s2p2d1", "S7.0-s2p2d1"]
    assert n_electrons == 26
    text = path.read_text()
    assert read_openmx_mesh(text)["k_grid"] == [8, 8, 1]
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert lines["scf.SpinPolarization"] == ["NC"]
    assert lines["scf.SpinOrbit.Coupling"] == ["on"]
    assert lines["scf.energycutoff"] == ["150"]
    assert lines["HS.fileout"] == ["on"]
    assert lines["DATA.PATH"] == ["/pp"]
    assert " 8.0000 6.0000 0.0 0.0 0.0 0.0 0 off" in text
    unpolarized = written(tmp_path, mos2(), make_settings("openmx")).read_text()
    assert " 7.0000 7.0000\n" in unpolarized


def test_abacus_has_orbitals_mesh_smearing_and_spin(tmp_path):
    path = written(tmp_path, mos2(), make_settings("abacus", spin="spin-orbit", k_grid=(6, 5, 1), k_density=None, temperature=500.0))
    keywords = read_input(tmp_path / "INPUT")
    assert {k: keywords[k] for k in ("nspin", "noncolin", "lspinorb", "basis_type", "gamma_only", "out_mat_hs2", "out_mat_r")} == {
        "nspin": "4", "noncolin": "1", "lspinorb": "1", "basis_type": "lcao", "gamma_only": "0", "out_mat_hs2": "1", "out_mat_r": "1",
    }  # fmt: skip
    assert read_k_mesh(tmp_path / "KPT", keywords)["k_grid"] == [6, 5, 1]
    assert read_smearing(keywords)["smearing"] == "fd"
    assert float(keywords["smearing_sigma"]) * 13.605698 == pytest.approx(500 * 8.617333e-5, rel=1e-4)
    assert keywords["out_mul"] == "1"
    stru = parse_stru(path)
    assert stru.orbital_files == {s: b for s, (b, *_) in ELEMENTS["abacus"].items()}
    assert stru.labels == ("Mo", "S", "S")


def test_siesta_has_basis_mesh_and_spin(tmp_path):
    fdf = read_fdf_file(written(tmp_path, mos2(), make_settings("siesta", spin="collinear", functional="LDA")))
    assert fdf.is_value("Spin", "polarized")
    assert fdf.is_value("SaveHS", ".true.")
    assert fdf.is_value("XC.Functional", "LDA")
    assert [line.split() for line in fdf.block("PAO.BasisSizes")] == [["Mo", "DZP"], ["S", "TZP"]]
    assert fdf.numbers("kgrid_Monkhorst_Pack", 3).tolist() == [[8, 0, 0], [0, 8, 0], [0, 0, 1]]
    assert fdf.numbers("DM.InitSpin", 2).tolist() == [[1, 2], [2, 0], [3, 0]]
    assert not fdf.has("ForceAuxCell")
    gamma = read_fdf_file(written(tmp_path, mos2(), make_settings("siesta", k_grid=(1, 1, 1), k_density=None)))
    assert gamma.is_value("ForceAuxCell", ".true.")  # otherwise SIESTA folds H(R) into one cell


def test_extra_lines_replace_ours():
    openmx = input_files(mos2(), make_settings("openmx", extra="SCF.KGRID 2 2 2\nscf.dftD on\n"))["openmx.dat"]
    assert openmx.lower().count("scf.kgrid") == 1
    assert openmx.endswith("SCF.KGRID 2 2 2\nscf.dftD on\n")
    siesta = input_files(
        mos2(), make_settings("siesta", extra="%block PAO_BasisSizes\nMo SZ\n%endblock PAO_BasisSizes\nmesh-cutoff 99 Ry")
    )["siesta.fdf"]
    assert siesta.lower().count("%block pao") == 1
    assert "MeshCutoff" not in siesta
    assert "%block LatticeVectors" in siesta
    abacus = input_files(mos2(), make_settings("abacus", extra="scf_thr 1e-6"))["INPUT"]
    assert abacus.count("scf_thr") == 1


def test_band_paths(tmp_path):
    path = [
        {"start": [0, 0, 0], "stop": [0.5, 0, 0], "labels": ["G", "M"], "points": 7},
        {"start": [0.5, 0, 0], "stop": [0.3, 0.3, 0], "labels": ["M", "K"], "points": 5},
        {"start": [0, 0, 0], "stop": [0.3, 0.3, 0], "labels": ["G", "K"]},
    ]
    openmx = input_files(mos2(), make_settings("openmx", kpath=path))["openmx.dat"].splitlines()
    start = openmx.index("<Band.kpath")
    assert [line.split()[0] for line in openmx[start + 1 : start + 4]] == ["7", "5", "20"]
    assert any(line.split() == ["Band.Nkpath", "3"] for line in openmx)
    fdf = read_fdf_file(written(tmp_path, mos2(), make_settings("siesta", kpath=path)))
    assert [(line.split()[0], line.split()[-1]) for line in fdf.block("BandLines")] == [
        ("1", "G"), ("7", "M"), ("5", "K"), ("1", "G"), ("20", "K"),
    ]  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_the_printed_settings_can_be_used_as_they_are(tmp_path, code):
    (tmp_path / "run.toml").write_text(example(code))
    settings = load_settings(Settings, tmp_path / "run.toml")
    system = twisted([graphene()] * 2, indices=(1, 2)).system
    assert_same(read_structure_file(written(tmp_path, system, settings)).system, system)


def test_all_mistakes_are_reported_at_once(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[run]\ncode = "vasp"\ncutof = 3.0\nk_grid = [3, 3, 0]\n[elements.C]\nbassis = "x"\nvalence = "4"\n[jobs]\n'
    )
    with pytest.raises(UsageError) as error:
        load_settings(Settings, tmp_path / "run.toml")
    for words in (
        "7 mistakes", "run.code: got 'vasp'", "'cutoff'", "run.k_grid", "elements.C.basis: missing", "closest known one is 'basis'",
        "elements.C.valence: got '4'", "jobs: unknown section",
    ):  # fmt: skip
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[run]\ncode = "openmx"\n[elements.C]\nbasis = "C6.0-s2p2d1"', "k_grid and k_density: expected exactly one"),
        ('[run]\ncode = "openmx"\nk_density = 9.0\n[elements.C]\nbasis = "a"\npseudopotential = "C"', "elements.C: valence None"),
        ('[run]\ncode = "abacus"\nk_density = 9.0\n[elements.C]\nbasis = "a"', "elements.C: abacus needs the name of the pseudopotential"),
        ('[run]\ncode = "siesta"\nk_density = 9.0\n[elements.Cx]\nbasis = "a"', "elements.Cx: no such element"),
        (
            '[run]\ncode = "abacus"\nk_density = 9.0\nkpath = [{start = [0, 0, 0], stop = [0, 0, 1], labels = ["a", "b"]}]\n[elements]',
            "abacus computes bands in a second run",
        ),
        ('code = "openmx"', "code: "),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_settings(Settings, tmp_path / "run.toml")


def test_an_element_without_settings():
    with pytest.raises(UsageError, match=r"lack C: add a table \[elements.C\]"):
        input_files(twisted([graphene()], indices=(1, 0)).system, make_settings("siesta"))
