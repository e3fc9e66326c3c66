"""OpenMX: eigenvalues against the code's own, orbital order against the geometry, layouts and damaged files."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harmonics import rotation_of_atom, rotation_to_z
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openmx_files import Layout, edited, scfout_bytes, unpack_run

from deeph.physics import conventions
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError
from preprocess.readers import candidates, detect
from preprocess.readers.openmx import reader as openmx
from preprocess.readers.openmx.band import read_bands
from preprocess.readers.openmx.input import read_species
from preprocess.readers.openmx.scfout import Scfout, read_scfout
from preprocess.verify import check_bands, eigenvalues

MINI = ("mini_graphene", "mini_te_chain_soc")
SHIFT = np.array([1e-6, -1e-6, 2e-6])
"""OpenMX moves its mesh by this much to avoid symmetric points; without it the eigenvalues below differ by 1e-3 eV."""
WITH_BANDS = ("graphene", "graphene_f", "mos2", "mos2_soc", "fe_bcc_spin", "fe_nc_soc", "bilayer_ab", "si2")


@pytest.fixture(scope="module", params=MINI)
def mini(request, tmp_path_factory) -> Path:
    return unpack_run(request.param, tmp_path_factory.mktemp("openmx") / request.param)


@pytest.fixture(scope="module")
def te_bytes(tmp_path_factory) -> bytes:
    folder = unpack_run("mini_te_chain_soc", tmp_path_factory.mktemp("te"))
    return (folder / "mini_te_chain_soc.scfout").read_bytes()


def raw_of(folder: Path) -> Scfout:
    return read_scfout(openmx.find_scfout(folder))


def written(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.scfout").write_bytes(content)
    return folder


def band_error(folder: Path) -> float:
    data = openmx.read(folder)
    reference = read_bands(folder, data.system)
    check_bands(data, reference)
    return float(np.abs(eigenvalues(data, reference.k) - reference.energies).max())


def test_small_runs_reproduce_the_bands(mini):
    assert band_error(mini) < 1e-9


@pytest.mark.parametrize("case", WITH_BANDS)
def test_bands_are_those_of_openmx(shared_data, case):
    assert band_error(shared_data / "openmx" / case) < 1e-6


@pytest.mark.slow
def test_bands_of_a_twisted_bilayer(shared_data):
    assert band_error(shared_data / "openmx" / "tbg28") < 1e-6


@pytest.mark.parametrize("case", ["h2o", "o2_nc", "si2_frac_wrap"])
def test_eigenvalues_are_those_of_the_output(shared_data, case):
    folder = shared_data / "openmx" / case
    data, text = openmx.read(folder), (folder / f"{case}.out").read_text()
    text = text[text.index("Eigenvalues (Hartree)") :]
    kpoints = np.array([[float(x) for x in k] for k in re.findall(r"k1=\s*(\S+) k2=\s*(\S+) k3=\s*(\S+)", text)] or np.zeros((1, 3)))
    if len(kpoints) > 1:
        kpoints = kpoints + SHIFT
    n = eigenvalues(data, np.zeros((1, 3))).shape[-1]
    printed = [float(e) for e in re.findall(r"^\s+\d+\s+(-?\d+\.\d{14})", text, re.MULTILINE)][: n * len(kpoints)]
    expected = np.array(printed).reshape(len(kpoints), n) * OPENMX.hartree
    assert np.abs(eigenvalues(data, kpoints)[0] - expected).max() < 1e-6


def test_fractional_input_is_wrapped(shared_data):
    data = openmx.read(shared_data / "openmx" / "si2_frac_wrap")
    assert np.abs(data.system.fractional - [[0.9, 0.05, 0.02], [0.14, 0.31, 0.26]]).max() < 1e-9


def forbidden_overlap(folder: Path) -> float:
    """Largest element of S between different m after each bond is turned to z; zero by symmetry, if orbitals are in order."""
    data, worst = openmx.read(folder), 0.0
    vectors = pair_vectors(data.system, data.S.pairs)
    for n in np.flatnonzero(~is_onsite(data.S.pairs))[::7]:
        turn = rotation_to_z(vectors[n])
        shells = [data.basis.shells[int(z)] for z in data.system.numbers[data.S.pairs[n, 3:]]]
        block = rotation_of_atom(turn, shells[0]) @ data.S.take(np.array([n]))[0, 0] @ rotation_of_atom(turn, shells[1]).T
        m = [np.concatenate([np.arange(-l, l + 1) for l in ls]) for ls in shells]
        worst = max(worst, float(np.abs(block[m[0][:, None] != m[1]]).max()))
    return worst


def test_orbitals_are_in_order(mini):
    assert forbidden_overlap(mini) < 1e-9


@pytest.mark.parametrize("case", ["graphene_f", "mos2"])
def test_orbitals_are_in_order_up_to_f(shared_data, case):
    assert forbidden_overlap(shared_data / "openmx" / case) < 1e-9


@pytest.mark.parametrize(("l", "wrong"), [(1, (0, 1, 2)), (2, (2, 4, 0, 1, 3)), (3, (6, 4, 2, 0, 1, 5, 3))])
def test_a_wrong_order_is_noticed(shared_data, monkeypatch, l, wrong):
    monkeypatch.setitem(conventions._OPENMX_SHELL, l, wrong)
    assert forbidden_overlap(shared_data / "openmx" / "graphene_f") > 1e-3


def test_moment_of_oxygen_points_where_the_input_says(shared_data):
    data = openmx.read(shared_data / "openmx" / "o2_nc")
    onsite = data.H.take(np.flatnonzero(is_onsite(data.S.pairs)))[0].sum(axis=0)
    n = len(onsite) // 2
    uu, ud, dd = np.trace(onsite[:n, :n]), np.trace(onsite[:n, n:]), np.trace(onsite[n:, n:])
    field = np.array([ud.real, -ud.imag, (uu - dd).real / 2])  # sigma.B with B antiparallel to the moment
    theta, phi = np.radians(60), np.radians(30)
    moment = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    assert np.abs(-field / np.linalg.norm(field) - moment).max() < 1e-3


def test_position_matrices_are_about_the_origin(mini):
    data = openmx.read(mini)
    onsite = np.flatnonzero(is_onsite(data.S.pairs))
    diagonal = np.einsum("cnaa->nca", data.r.take(onsite)) / np.einsum("naa->na", data.S.take(onsite)[0])[:, None]
    assert np.abs(diagonal - data.system.positions[:, :, None]).max() < 1e-3
    assert data.source["asymmetry"]["r_angstrom"] < 1e-3
    R = (data.r.pairs[:, :3] @ data.system.cell).T  # <i,0|r|j,R> = <j,-R|r|i,0>^T + R S
    shifted = data.r.adjoint().entries + np.repeat(R, np.diff(data.S.offsets), axis=1) * data.S.entries
    assert np.abs(data.r.entries - shifted).max() < 1e-12


def test_dipole_between_s_and_p_is_along_the_p_orbital(mini):
    """<s| r |p> of one atom is diagonal in x, y, z and the same along each."""
    data = openmx.read(mini)
    block = data.r.take(np.flatnonzero(is_onsite(data.r.pairs))[:1])[:, 0, 0, 1:4]  # (x y z, p_y p_z p_x)
    dipole = block[:, [2, 0, 1]] - data.system.positions[0][:, None] * data.S.take(np.array([0]))[0, 0, 0, 1:4][[2, 0, 1]]
    assert np.abs(dipole - dipole[0, 0] * np.eye(3)).max() < 1e-3
    assert abs(dipole[0, 0]) > 0.1


def test_source_says_what_is_needed_later(mini):
    data = openmx.read(mini)
    radii = {"C": 5 * OPENMX.bohr} if mini.name == "mini_graphene" else {"Te": 7 * OPENMX.bohr}
    assert data.source["orbital_radii"] == pytest.approx(radii)
    assert data.source["constants"]["hartree"] == 27.2113845
    assert data.source["electronic_temperature_K"] == 300.0
    assert data.H.hermiticity_error() == 0 == data.S.hermiticity_error()


LAYOUTS = (Layout(), Layout(3), Layout(3, ">"), Layout(0, ">"), Layout(3, order_max=2), Layout(4))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_layout_gives_the_same_matrices(mini, tmp_path, layout):
    expected, found = openmx.read(mini), openmx.read(written(tmp_path / "run", scfout_bytes(raw_of(mini), layout)))
    for name in ("S", "H", "r"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert np.array_equal(ours.pairs, theirs.pairs)
        assert np.array_equal(ours.entries, theirs.entries)
    assert np.array_equal(found.system.positions, expected.system.positions)
    assert (found.fermi_energy, found.n_electrons) == (expected.fermi_energy, expected.n_electrons)


def test_collinear_layout_of_39(shared_data, tmp_path):
    folder = shared_data / "openmx" / "fe_bcc_spin"
    found = openmx.read(written(tmp_path / "run", scfout_bytes(raw_of(folder), Layout(3))))
    assert np.array_equal(found.H.entries, openmx.read(folder).H.entries)
    assert found.basis.spin == "collinear"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_wherever_it_ends(te_bytes, tmp_path, share):
    with pytest.raises(DataError, match=r"run\.scfout"):
        openmx.read(written(tmp_path / "run", te_bytes[: int(share * len(te_bytes))]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 30000), value=st.integers(0, 255), from_end=st.booleans())
def test_a_changed_byte_gives_data_or_a_clear_error(te_bytes, tmp_path, place, value, from_end):
    damaged = bytearray(te_bytes)
    damaged[-1 - place if from_end else place % 3000] = value
    try:
        openmx.read(written(tmp_path / "run", bytes(damaged)))
    except DataError as error:
        assert "run.scfout" in str(error)  # noqa: PT017 - both outcomes are right


def refused(folder: Path, match: str) -> None:
    with pytest.raises(DataError, match=match):
        openmx.read(folder)


def test_other_files_are_refused(mini, tmp_path):
    raw = raw_of(mini)
    content = scfout_bytes(raw, Layout())
    refused(written(tmp_path / "a", content + b"junk"), "4 bytes are left after the end")
    refused(written(tmp_path / "b", b""), "truncated")
    refused(written(tmp_path / "c", b"not a scfout" * 50), "header|truncated|atoms")
    refused(written(tmp_path / "d", scfout_bytes(raw, Layout(1))), "development version")
    refused(written(tmp_path / "e", scfout_bytes(raw, Layout(leads=(0, 1, 0)))), "transport")
    refused(written(tmp_path / "f", scfout_bytes(raw, Layout(3, input_copy=False))), "no copy of the input")
    refused(written(tmp_path / "g", np.array([2, 2, 0, 0, 0, 5], "<i4").tobytes() + content[24:]), "spin switch 2")
    H = raw.H.copy()
    H[0, 5] = np.nan
    refused(written(tmp_path / "h", scfout_bytes(replace(raw, H=H), Layout())), "NaN")
    S = raw.S.copy()
    S[np.argmax(np.abs(S) < 0.5)] += 0.1
    refused(written(tmp_path / "i", scfout_bytes(replace(raw, S=S), Layout())), "differs from its Hermitian conjugate")


def test_positions_or_momenta_missing_are_noticed(mini, tmp_path):
    """A modified OpenMX writes version 3 without some matrices: only the length tells."""
    content = scfout_bytes(raw_of(mini), Layout(3))
    refused(written(tmp_path / "run", content[:28] + content[28 + 8 * raw_of(mini).S.size :]), r"run\.scfout")


def test_one_structure_a_folder(mini, tmp_path):
    refused(tmp_path, "holds 0 .scfout.*HS.fileout on")
    written(tmp_path / "run", b"")
    (tmp_path / "run" / "second.scfout").write_bytes(b"")
    refused(tmp_path / "run", "holds 2 .scfout files")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("C5.0-s1p1", "C5.0-s4>1p4>1", "contracted"),
        ("C5.0-s1p1", "C5.0-s1p2", "asks for 7"),
        ("C5.0-s1p1", "C5.0", "basis 'C5.0'"),
        ("C5.0-s1p1  C_PBE13", "C5.0-s1p1  N_PBE13", "two kinds"),
        ("Definition.of.Atomic.Species", "Definition.of.Species", "no block"),
        ("    1 C ", "    1 B ", "'B' is not in"),
    ],
)
def test_input_copy_that_does_not_fit(tmp_path, old, new, message):
    raw = raw_of(unpack_run("mini_graphene", tmp_path / "mini"))
    refused(written(tmp_path / "run", scfout_bytes(edited(raw, old, new), Layout())), message)


INPUT = """
<definition.of.atomic.species  # OpenMX ignores case
 C1 C6.0-s2p2d1 C_PBE13
 C2 {} C_PBE13
definition.of.atomic.species>
<Atoms.SpeciesAndCoordinates
 1 C1 0 0 0 2 2
 2 C2 0 0 1 2 2
Atoms.SpeciesAndCoordinates>
"""


def test_species_of_one_element_share_a_basis():
    both = read_species(INPUT.format("C6.0-s2p2d1"), 2)
    assert both[0] == both[1] == (6, 6.0, (0, 0, 1, 1, 2), "C6.0-s2p2d1", "C_PBE13")
    with pytest.raises(DataError, match="two bases"):  # the same shells with another radius
        read_species(INPUT.format("C5.0-s2p2d1"), 2)
    with pytest.raises(DataError, match="lists 2 atoms"):
        read_species(INPUT.format("C6.0-s2p2d1"), 3)


def test_detection_gives_the_reason(mini, tmp_path):
    assert candidates(mini) == {"openmx": f"it holds {mini.name}.scfout"}
    with pytest.raises(DataError, match="holds no output"):
        detect(tmp_path)
    for name in ("POSCAR", "info.json", "lat.dat", "element.dat", "orbital_types.dat"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"several codes.*--code"):
        detect(tmp_path)


def test_bands_of_another_cell_or_cut_short_are_refused(tmp_path):
    folder = unpack_run("mini_graphene", tmp_path / "run")
    data, band = openmx.read(folder), folder / "mini_graphene.Band"
    lines = band.read_text().splitlines()
    band.write_text("\n".join(lines[:-3]))
    with pytest.raises(DataError, match="not a complete"):
        read_bands(folder, data.system)
    band.write_text("\n".join([lines[0], "1 0 0 0 1 0 0 0 1", *lines[2:]]))
    with pytest.raises(DataError, match="another cell"):
        read_bands(folder, data.system)
    band.unlink()
    with pytest.raises(DataError, match=r"Band\.dispersion on"):
        read_bands(folder, data.system)
