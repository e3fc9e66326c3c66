"""Two-centre integrals: against OpenMX's own S and r, against libcint, and the rules they obey by themselves."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from deeph.physics.conventions import atom_order
from deeph.physics.harmonics import gaunt, solid_gradient, solid_harmonics
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import System
from deeph.physics.units import CODATA, PYSCF
from deeph.runtime.errors import DataError
from preprocess.orbitals.gto import read_gto
from preprocess.orbitals.pao import parse_contraction, read_pao
from preprocess.overlap.two_centre import TwoCentre
from preprocess.readers import openmx, pyscf
from preprocess.readers.openmx.input import read_structure

CASES = ["graphene", "graphene_f", "mos2", "si2", "h2o", "fe_bcc_spin", "bilayer_ab", "tbg28"]


def engine_of(shared_data, case):
    """The engine with the orbitals that a run's input names."""
    system, species, _ = read_structure(shared_data / "openmx" / case / f"{case}.dat")
    orbitals = {}
    for one in species:
        stem, _, contraction = one.pao.rpartition("-")
        orbitals[one.number] = read_pao(shared_data / "openmx" / "PAO" / f"{stem}.pao", contraction)
    return system, TwoCentre(orbitals)


@pytest.mark.parametrize("case", CASES)
def test_overlap_and_position_are_those_of_openmx(shared_data, case):
    data = openmx.read(shared_data / "openmx" / case)
    _, engine = engine_of(shared_data, case)
    assert np.array_equal(np.unique(engine.pairs(data.system), axis=0), np.unique(data.S.pairs, axis=0))
    S, r = (engine.compute(data.system, operator, data.S.pairs) for operator in ("overlap", "position"))
    assert np.abs(S.entries - data.S.entries).max() < 2e-5
    # OpenMX integrates r on its real-space grid, and is itself up to 1e-4 Angstrom from Hermitian
    assert np.abs(r.entries - data.r.entries).max() < 2e-4
    assert S.hermiticity_error() < 1e-10


@pytest.mark.parametrize("case", ["graphene", "mos2", "si2", "bilayer_ab"])
def test_bands_with_our_overlap(shared_data, case):
    """OpenMX's H with our S: 10 eV around the Fermi level, along OpenMX's own path."""
    data = openmx.read(shared_data / "openmx" / case)
    _, engine = engine_of(shared_data, case)
    ours = replace(data, S=engine.compute(data.system, "overlap", data.S.pairs))
    bands = openmx.read_bands(shared_data / "openmx" / case, data.system)
    for k, energies in list(zip(bands.k, bands.energies[0], strict=True))[::7]:
        found = eigh(ours.H_bloch.dense(k), ours.S_bloch.dense(k), eigvals_only=True)
        near = np.abs(energies - bands.fermi_energy) < 10
        assert np.abs(found - energies)[near].max() < 5e-3


def test_input_file_of_openmx_gives_the_structure_of_the_run(shared_data):
    for case in ("mos2", "tbg28"):
        data = openmx.read(shared_data / "openmx" / case)
        system, _, n_electrons = read_structure(shared_data / "openmx" / case / f"{case}.dat")
        assert np.allclose(system.cell, data.system.cell, atol=1e-8)
        shift = system.fractional - data.system.fractional
        assert np.allclose(shift, np.rint(shift), atol=1e-8)
        assert n_electrons == data.n_electrons


@pytest.mark.parametrize(("basis", "atoms"), [("gth-dzvp", "BNC"), ("6-31g", ["H", "H", "He"]), ("def2-svp", ["H", "He", "H"])])
def test_gaussian_tables_are_libcint(basis, atoms):
    gto = pytest.importorskip("pyscf.gto")
    places = np.array([[0, 0, 0], [0.1, 0.4, 1.3], [0.9, 1.2, -0.4]])
    mol = gto.M(atom=list(zip(atoms, places.tolist(), strict=True)), basis=basis, spin=None, verbose=0)
    system = System(60 * np.eye(3), mol.atom_coords() * PYSCF.bohr, [gto.charge(a) for a in atoms])
    engine = TwoCentre({z: read_gto(basis, z) for z in dict.fromkeys(system.numbers.tolist())})
    pairs = np.array([[0, 0, 0, i, j] for i in range(3) for j in range(3)])
    order = [mol.aoslice_by_atom()[n, 2] + atom_order("pyscf", engine.basis.shells[z]) for n, z in enumerate(system.numbers.tolist())]
    reference = {
        "overlap": mol.intor("int1e_ovlp")[None],
        "kinetic": mol.intor("int1e_kin")[None] * CODATA.hartree * (CODATA.bohr / PYSCF.bohr) ** 2,
        "position": mol.intor("int1e_r") * PYSCF.bohr,
        "gradient": mol.intor("int1e_ipovlp") / PYSCF.bohr,  # d<a|b>/d(right atom) = <nabla a|b>
    }
    for operator, matrix in reference.items():
        ours = engine.compute(system, operator, pairs)
        for i, j in pairs[:, 3:].tolist():
            if operator != "gradient" or i != j:  # libcint's moves both functions of one atom alike
                error = np.abs(ours.block((0, 0, 0, i, j)) - matrix[:, order[i]][:, :, order[j]]).max()
                assert error < (1e-8 if operator == "kinetic" else 1e-9), (operator, i, j)


def test_gaussians_of_a_crystal():
    """Pattern, S and r of a periodic PySCF run, whose lattice sums end at 1e-8."""
    pytest.importorskip("pyscf")
    data = pyscf.read(ROOT / "tests" / "data" / "pyscf_hbn")
    engine = TwoCentre({z: read_gto(data.source["basis"], z) for z in data.basis.shells})
    assert np.array_equal(np.unique(engine.pairs(data.system), axis=0), np.unique(data.S.pairs, axis=0))
    assert np.abs(engine.compute(data.system, "overlap", data.S.pairs).entries - data.S.entries).max() < 3e-8
    assert np.abs(engine.compute(data.system, "position", data.S.pairs).entries - data.r.entries).max() < 1e-9


def slater(l, a, cutoff=6.0):
    """A smooth orbital of finite range, normalized."""
    r = np.linspace(0, cutoff, 1200)
    values = r**l * np.exp(-a * r) * (1 - (r / cutoff) ** 2) ** 4
    return RadialFunction(l, r, values / np.sqrt(np.trapezoid(values**2 * r**2, r)))


ENGINE = TwoCentre(
    {6: Orbitals(6, (slater(0, 1.5), slater(1, 1.2), slater(3, 1.4)), "test"), 7: Orbitals(7, (slater(2, 1.0, 5.0),), "test")}
)
vectors = st.tuples(*[st.floats(-2.5, 2.5)] * 3).map(np.array)


def pair(vector, operator="overlap"):
    """Both directions between C at the origin and N."""
    system = System(40 * np.eye(3), np.array([[0.0, 0, 0], vector]), [6, 7])
    return ENGINE.compute(system, operator, np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]))


@settings(max_examples=25, deadline=None)
@given(vectors)
def test_hermitian_and_inversion(vector):
    forward, back = (pair(vector).block((0, 0, 0, i, 1 - i))[0] for i in (0, 1))
    assert np.abs(forward - back.T).max() < 1e-10
    parity = np.repeat([1, -1, -1], [1, 3, 7])[:, None]
    assert np.abs(pair(-vector).block((0, 0, 0, 0, 1))[0] - parity * forward).max() < 1e-10


@settings(max_examples=10, deadline=None)
@given(vectors)
def test_gradient_is_the_derivative(vector):
    gradient = pair(vector, "gradient").block((0, 0, 0, 0, 1))
    h = 1e-4
    for axis, step in enumerate(h * np.eye(3)):
        numerical = (pair(vector + step).block((0, 0, 0, 0, 1)) - pair(vector - step).block((0, 0, 0, 0, 1)))[0] / (2 * h)
        assert np.abs(gradient[axis] - numerical).max() < 1e-6


@settings(max_examples=10, deadline=None)
@given(vectors, vectors)
def test_position_moves_with_the_origin_and_is_hermitian(vector, shift):
    system = System(40 * np.eye(3), np.array([[0.0, 0, 0], vector]) + shift, [6, 7])
    pairs = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]])
    moved = ENGINE.compute(system, "position", pairs)
    expected = pair(vector, "position").entries + shift[:, None] * pair(vector).entries
    assert np.abs(moved.entries - expected).max() < 1e-9
    assert np.abs(moved.block((0, 0, 0, 0, 1)) - moved.block((0, 0, 0, 1, 0)).swapaxes(1, 2)).max() < 1e-8


def test_onsite_blocks():
    """An atom with itself: the norm, nothing between different l, positive kinetic energy."""
    system = System(40 * np.eye(3), np.zeros((1, 3)), [6])
    own = np.array([[0, 0, 0, 0, 0]])
    assert np.abs(ENGINE.compute(system, "overlap", own).block((0, 0, 0, 0, 0))[0] - np.eye(11)).max() < 1e-6
    T = ENGINE.compute(system, "kinetic", own).block((0, 0, 0, 0, 0))[0]
    assert np.linalg.eigvalsh(T).min() > 0
    assert np.abs(T - np.diag(np.diag(T))).max() < 1e-9
    gradient = ENGINE.compute(system, "gradient", own).block((0, 0, 0, 0, 0))
    assert np.abs(gradient + gradient.swapaxes(1, 2)).max() < 1e-9  # -<a| nabla |b>: between s and p, p and d
    assert not gradient[:, 4:, :4].any()
    assert np.abs(gradient[2, 0, 2]) > 0.1


def test_orbitals_that_do_not_touch_give_zero():
    assert not pair(np.array([0, 0, 12.5])).entries.any()
    assert np.abs(pair(np.array([0, 0, 10.9])).entries).max() < 1e-12
    assert np.abs(pair(np.array([0, 0, 9.0])).entries).max() > 1e-8


def test_threads_change_nothing(shared_data):
    data = openmx.read(shared_data / "openmx" / "tbg28")
    _, engine = engine_of(shared_data, "tbg28")
    alone = engine.compute(data.system, "overlap", data.S.pairs)
    shared = engine.compute(data.system, "overlap", data.S.pairs, n_threads=2)
    assert np.array_equal(alone.entries, shared.entries)


def test_harmonics_are_orthonormal_and_their_gradient_is_right():
    for l in range(5):
        assert np.allclose(gaunt(0, l, l)[0] * np.sqrt(4 * np.pi), np.eye(2 * l + 1))
    v, h = np.random.default_rng(0).normal(size=(20, 3)), 1e-5
    Y = solid_harmonics(4, v)
    for l in range(1, 5):
        for axis, step in enumerate(h * np.eye(3)):
            numerical = (solid_harmonics(l, v + step) - solid_harmonics(l, v - step))[l * l :] / (2 * h)
            assert np.allclose(solid_gradient(l)[axis] @ Y[(l - 1) ** 2 : l * l], numerical, atol=1e-7)


def test_contractions():
    assert parse_contraction("s2p2d1") == (0, 0, 1, 1, 2)
    assert parse_contraction("p1s1f1") == (0, 1, 3)
    for wrong in ("", "s", "s2>1p1", "s0", "s1s2", "x2"):
        with pytest.raises(DataError, match="such as s2p2d1"):
            parse_contraction(wrong)


def test_damaged_pao(shared_data, tmp_path):
    text = (shared_data / "openmx" / "PAO" / "C6.0.pao").read_text()
    path = tmp_path / "C6.0.pao"

    def message(content, contraction="s1p1"):
        path.write_text(content)
        with pytest.raises(DataError, match=re.escape(str(path))) as error:
            read_pao(path, contraction)
        return str(error.value)

    start = text.index("<pseudo.atomic.orbitals.L=1")
    assert "no complete table" in message(text[: start + 5000])
    assert "holds 15 functions" in message(text, "s16")
    assert "lines" in message(text[: start + 100] + "?" + text[start + 100 :])
    assert "finite" in message(text[: start + 100] + re.sub(r"\d\.\d+", "nan", text[start + 100 :], count=1))
    assert "named after" in message(text.replace("AtomSpecies             6", "AtomSpecies             7"))
    assert "AtomSpecies" in message("not a basis file")
    with pytest.raises(DataError, match="cannot be read"):
        read_pao(Path(tmp_path / "absent.pao"), "s1")
