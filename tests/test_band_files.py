"""Band files of DFT codes: read exactly, compared with H at their own k, and refused where they are damaged or of another run."""

import gzip
import re
import shutil

import numpy as np
import pytest
from band_cases import random_model
from conftest import ROOT

from deeph.files.band_files import read_band_file
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import compute_bands
from postprocess.compare.bands import compare_bands
from postprocess.compare.comparable import check_band_file
from postprocess.compare.like import bands_from_file, compute_bands_like
from postprocess.lattice.kpath import make_kpath

MINI = ROOT / "tests" / "data" / "openmx" / "mini_graphene"
SIESTA = ("Fe-bcc-collinear", "fe"), ("Si", "Si"), ("SrTiO3-collinear", "SrTiO3"), ("Pt2-spin-orbit", "Pt2_xx")


@pytest.fixture
def band_file(tmp_path):
    path = tmp_path / "mini.Band"
    source = next(MINI.glob("*.Band*"))
    path.write_bytes(gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes())
    return path


def largest_error(path, data):
    """meV, of the levels of H at the k-points of a file."""
    file = read_band_file(path, data.system.cell)
    check_band_file(file, data, "H")
    reference = bands_from_file(file, data)
    other = compute_bands_like(reference, data)
    result = compare_bands(reference, other)
    assert result.only_reference == 0
    assert other.energies.shape == reference.energies.shape
    return 1e3 * np.abs(other.energies - reference.energies).max(), result


def test_openmx_bands_of_the_repository(mini_graphene, band_file):
    error, result = largest_error(band_file, mini_graphene)
    assert error < 1e-3
    assert result.alignment.count("mini.Band") == 2  # the file's level serves both
    path = bands_from_file(read_band_file(band_file, mini_graphene.system.cell), mini_graphene).path
    assert path.labels[0] == "G"
    assert np.allclose(path.distances[path.bounds[1:] - 1], path.ticks[1:])
    ours = make_kpath(mini_graphene, "".join(path.labels), n_points=len(path.k))
    assert path.ticks == pytest.approx(ours.ticks, rel=1e-6)


def test_what_we_write_is_read_back(tmp_path):
    data = random_model(2, spin="collinear")
    bands = compute_bands(data, make_kpath(data, "GMK|KG", n_points=23), fermi=-0.3)
    bands.save(tmp_path / "b.Band")
    file = read_band_file(tmp_path / "b.Band", data.system.cell)
    again = bands_from_file(file, data)
    assert again.energies == pytest.approx(bands.energies, abs=1e-12)
    assert again.path.k == pytest.approx(bands.path.k, abs=1e-14)
    assert again.path.labels == ("G", "M", "K", "G")  # nothing breaks where a segment begins at the end of the last
    assert again.path.bounds.tolist() == bands.path.bounds.tolist()
    assert again.path.distances == pytest.approx(bands.path.distances, abs=1e-6)
    assert again.fermi_energy == pytest.approx(-0.3)
    assert file.cell == pytest.approx(data.system.cell, abs=1e-6)


OPENMX = ("graphene", "mos2_soc", "fe_bcc_spin", "fe_nc_soc", "bi2se3_soc", "gaas", "tbg28")


@pytest.mark.parametrize("case", OPENMX)
def test_openmx_bands_of_real_runs(shared_data, case):
    from preprocess.readers import openmx

    error, _ = largest_error(shared_data / "openmx" / case / f"{case}.Band", openmx.read(shared_data / "openmx" / case))
    assert error < 1e-3


@pytest.mark.parametrize(("case", "name"), SIESTA)
@pytest.mark.parametrize("suffix", ["EIG", "bands"])
def test_siesta_levels_of_real_runs(shared_data, case, name, suffix):
    """Printed with four digits along lines, with seven on the mesh, whose k-points are recognized from six."""
    from preprocess.readers import siesta

    folder = shared_data / "peers" / "siesta" / case
    if suffix == "bands" and case == "Pt2-spin-orbit":
        assert not list(folder.glob("*.bands"))
        return
    error, result = largest_error(folder / f"{name}.{suffix}", siesta.read(folder))
    assert error < {"EIG": 2e-3, "bands": 0.0501}[suffix]
    assert result.occupied.mae < {"EIG": 1e-4, "bands": 0.03}[suffix]


def test_a_band_lines_jump_breaks_the_path(tmp_path):
    """Two lines of a cubic crystal with a jump between them, in the units of SIESTA's default, pi/a."""
    a, bohr = 4.0, 0.529177210903
    data = random_model(0, cell=a * np.eye(3), positions=np.array([[0.0, 0, 0], [1, 1, 1.2], [2, 0.4, 3]]))
    k = np.array([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.25], [0.5, 0.5, 0.5]])
    bands = compute_bands(data, make_kpath(data, "0,0,0 1/2,0,0 | 1/2,1/2,0 1/2,1/2,1/2", n_points=6), fermi=0.1)
    assert bands.path.k == pytest.approx(k)
    step = 2 * np.pi / a * bohr / 4
    x = np.array([0, 1, 2, 4, 5, 6]) * step  # the jump is as long as two steps
    rows = "\n".join(f"{d:.6f} " + " ".join(f"{e:.4f}" for e in row) for d, row in zip(x, bands.energies[0], strict=True))
    (tmp_path / "x.bands").write_text(f"0.1\n0 {x[-1]}\n-20 20\n{bands.n_bands} 1 6\n{rows}\n4\n")
    block = "1 0 0 0 \\Gamma\n2 1 0 0 X\n1 1 1 0 M\n2 1.D0 1 1 R # end\n"
    (tmp_path / "x.fdf").write_text(f"lattice_constant {a} Ang\n%block Band.Lines\n{block}%endblock Band.Lines\n")
    file = read_band_file(tmp_path / "x.bands", data.system.cell)
    assert file.k == pytest.approx(k, abs=1e-12)
    again = bands_from_file(file, data)
    assert again.path.labels == ("G", "X|M", "R")
    assert again.path.distances == pytest.approx(bands.path.distances, abs=1e-9)
    assert again.energies == pytest.approx(bands.energies, abs=6e-5)
    for wrong, message in ((block.replace("2 1 0", "3 1 0"), "asks for 7"), (block.replace("1 1 1 0 M", "1 1 1 1 M"), "different runs")):
        (tmp_path / "x.fdf").write_text(f"LatticeConstant {a} Ang\n%block BandLines\n{wrong}%endblock\n")
        with pytest.raises(DataError, match=message):
            read_band_file(tmp_path / "x.bands", data.system.cell)
    (tmp_path / "x.fdf").write_text(f"LatticeConstant {a} Ang\n%include part.fdf\n")
    (tmp_path / "part.fdf").write_text(f"%block BandLines\n{block}%endblock\n")  # does not tell the lattice constant, and comes first
    (tmp_path / "a.fdf").write_text("%include left_behind.fdf\n")
    assert read_band_file(tmp_path / "x.bands", data.system.cell).k == pytest.approx(k, abs=1e-12)
    for name in ("a", "part", "x"):
        (tmp_path / f"{name}.fdf").unlink()
    with pytest.raises(DataError, match="block BandLines must lie beside it"):
        read_band_file(tmp_path / "x.bands", data.system.cell)


def test_energies_without_their_mesh_are_refused(shared_data, tmp_path):
    source = shared_data / "peers" / "siesta" / "Si"
    shutil.copy(source / "Si.EIG", tmp_path)
    with pytest.raises(DataError, match=r"Si\.KP, which SIESTA writes beside it, is missing"):
        read_band_file(tmp_path / "Si.EIG", 5 * np.eye(3))
    lines = (source / "Si.KP").read_text().splitlines()
    (tmp_path / "Si.KP").write_text("\n".join(["295", *lines[1:-1]]))
    with pytest.raises(DataError, match=r"holds 296 k points, but .* 295"):
        read_band_file(tmp_path / "Si.EIG", 5 * np.eye(3))
    (tmp_path / "Si.KP").write_text("\n".join(["296", *lines[1:-1]]))
    with pytest.raises(DataError, match="complete list of k points"):
        read_band_file(tmp_path / "Si.EIG", 5 * np.eye(3))


def test_levels_of_a_run_without_filled_states(shared_data, tmp_path):
    """Their Fermi level is infinite: there is none, and energies are compared on the energy zero of H."""
    from preprocess.readers import siesta

    source = shared_data / "peers" / "siesta" / "Si"
    for suffix in ("KP", "XV"):
        shutil.copy(source / f"Si.{suffix}", tmp_path)
    text = (source / "Si.EIG").read_text()
    (tmp_path / "Si.EIG").write_text("-Infinity\n" + text.split("\n", 1)[1])
    data = siesta.read(source)
    bands = bands_from_file(read_band_file(tmp_path / "Si.EIG", data.system.cell), data)
    assert (bands.fermi_energy, bands.fermi_origin) == (None, "not known")
    assert compare_bands(bands, compute_bands_like(bands, data, fermi="unknown")).alignment.count("zero")


def read_or_refuse(path, data=None):
    """The file, or None if it was refused in the project's words, which name it or one beside it."""
    try:
        file = read_band_file(path, 5 * np.eye(3) if data is None else data.system.cell)
        if data is not None:
            check_band_file(file, data, "H")
    except DataError as error:
        if path.stem + "." not in str(error):
            raise
        return None
    return file


def damaged(text, seed):
    """A line less or twice, a word that is no number, a text that ends early."""
    rng = np.random.default_rng(seed)
    lines = text.splitlines()
    n = int(rng.integers(len(lines)))
    words = lines[n].split() or ["x"]
    w = int(rng.integers(len(words)))
    kind = seed % 8
    if kind == 0:
        lines.pop(n)
    elif kind == 1:
        lines.insert(n, lines[n])
    elif kind == 2:
        return text[: int(rng.integers(len(text) - 60))]
    else:
        words[w] = ("nan", "inf", "-1", "99999999999999999999", "*****")[kind - 3]
        lines[n] = " ".join(words)
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(80))
def test_damaged_band_files_are_refused(mini_graphene, band_file, seed):
    """No traceback, and never levels of other k: a file that is still read has all its numbers, one of them perhaps another."""
    band_file.write_text(damaged(band_file.read_text(), seed))
    file = read_or_refuse(band_file, mini_graphene)
    if file is not None:
        names = {name for line in file.lines for name in (line.start_label, line.stop_label)}
        finite = seed % 8 == 5 or "99999999999" in band_file.read_text()  # a finite number in place of a finite number
        assert finite or names - {"G", "M", "K"}  # or a word in place of a name
        assert file.energies.shape == (1, len(file.k), 8)
        assert np.isfinite(file.energies).all()


def test_a_head_that_tells_another_path_is_refused(mini_graphene, band_file):
    lines = band_file.read_text().splitlines()
    lines[3:5] = lines[4], lines[3]
    band_file.write_text("\n".join(lines))
    with pytest.raises(DataError, match="do not fit the head of the file"):
        read_band_file(band_file, mini_graphene.system.cell)


@pytest.mark.parametrize("suffix", ["EIG", "bands"])
@pytest.mark.parametrize("seed", range(40))
def test_damaged_siesta_files_are_refused(shared_data, tmp_path, suffix, seed):
    source = shared_data / "peers" / "siesta" / "Si"
    for name in ("Si.EIG", "Si.KP", "Si.bands", "Si.fdf", "Si.XV"):
        shutil.copy(source / name, tmp_path)
    victim = tmp_path / (f"Si.{suffix}" if seed % 2 else {"EIG": "Si.KP", "bands": "Si.fdf"}[suffix])
    victim.write_text(damaged(victim.read_text(encoding="utf-8", errors="replace"), seed))
    file = read_or_refuse(tmp_path / f"Si.{suffix}")
    if file is not None:
        assert np.isfinite(file.energies).all()
        assert file.k.shape == (file.energies.shape[1], 3)


def test_other_files_and_other_structures(mini_graphene, band_file, tmp_path):
    with pytest.raises(UsageError, match=re.escape("OpenMX's .Band, SIESTA's .EIG or .bands")):
        read_band_file(tmp_path / "bands.txt", np.eye(3))
    with pytest.raises(DataError, match="cannot be read"):
        read_band_file(tmp_path / "missing.Band", np.eye(3))
    file = read_band_file(band_file, mini_graphene.system.cell)
    with pytest.raises(DataError, match="8 bands, but H has 10"):
        check_band_file(file, random_model(0), "H")
    with pytest.raises(DataError, match="1 spin channel, but H has spin 'collinear'"):
        check_band_file(file, random_model(0, spin="collinear"), "H")
    system = mini_graphene.system
    strained = type(system)(system.cell * np.array([[1.01], [1.0], [1.0]]), system.positions, system.numbers)
    moved = Hamiltonian(strained, mini_graphene.basis, mini_graphene.S, mini_graphene.H)
    with pytest.raises(DataError, match="the cells differ: the lattice vector"):
        check_band_file(file, moved, "H")
