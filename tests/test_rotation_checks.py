"""Symmetry and orbital order: sound data pass, and each kind of mistake in order, sign or spin is seen."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_cases import interleaved, verdicts, with_orbitals
from openmx_files import unpack_run

from deeph.physics.covariance import _forbidden, bond_violations, difference, time_reversed, turned
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetry import find_operations
from deeph.physics.symmetry_group import symmetry_group
from deeph.physics.system import System
from preprocess.inspect.rotation_checks import check_bonds, check_symmetry
from preprocess.inspect.spin_checks import check_time_reversal
from preprocess.readers import openmx

CUBE = 4.0 * np.eye(3)
HEXAGON = np.array([[2.5, 0, 0], [-1.25, 1.25 * 3**0.5, 0], [0, 0, 15.0]])


@pytest.fixture(scope="module")
def te_chain(tmp_path_factory) -> Hamiltonian:
    """Spinors with a moment along the chain (x)."""
    return openmx.read(unpack_run("mini_te_chain_soc", tmp_path_factory.mktemp("te")))


@pytest.mark.parametrize(
    ("cell", "fractional", "numbers", "order", "names"),
    [
        (CUBE, [[0, 0, 0]], [29], 48, {"C4", "C3", "mirror", "inversion", "S6"}),
        (CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17], 48, {"C4"}),
        (CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 11], 96, {"translation"}),  # two atoms of the smaller cell
        (np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0.0]]), [[0, 0, 0], [0.25, 0.25, 0.25]], [14, 14], 48, {"inversion"}),  # diamond
        (np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0.0]]), [[0, 0, 0], [0.25, 0.25, 0.25]], [30, 16], 24, {"S4"}),  # zincblende
        (HEXAGON, [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]], [6, 6], 24, {"C6", "S3"}),  # graphene
        (HEXAGON, [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]], [5, 7], 12, {"C3", "S3"}),  # boron nitride
        (HEXAGON, [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.52]], [6, 6], 12, {"S6"}),  # buckled
        (HEXAGON, [[1 / 3, 2 / 3, 0.5], [0.6, 0.27, 0.52]], [6, 7], 1, set()),
    ],
)
def test_the_groups_of_known_crystals(cell, fractional, numbers, order, names):
    system = System(cell, np.array(fractional) @ cell, np.array(numbers))
    found = find_operations(system)
    assert len(found) == order
    assert names <= {operation.name for operation in found}


def test_atoms_on_top_of_each_other_have_no_symmetry():
    found = find_operations(System(CUBE, np.zeros((2, 3)), np.array([6, 6])))
    assert [operation.name for operation in found] == ["identity"]


@given(st.integers(0, 10**6))
def test_an_operation_maps_atoms_and_pairs_as_it_says(seed):
    rng = np.random.default_rng(seed)
    cell = np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0.0]])
    shift = rng.integers(-3, 4, size=(2, 3)) + rng.normal(size=3)  # anywhere, also outside the cell
    system = System(cell, (np.array([[0, 0, 0], [0.25, 0.25, 0.25]]) + shift) @ cell, np.array([14, 14]))
    operations = find_operations(system)
    assert len(operations) == 48
    pairs = np.column_stack([rng.integers(-3, 4, size=(10, 3)), rng.integers(0, 2, size=(10, 2))])

    def vectors(p):
        return system.positions[p[:, 4]] + p[:, :3] @ cell - system.positions[p[:, 3]]

    for operation in operations:
        np.testing.assert_allclose(vectors(operation.pairs(pairs)), vectors(pairs) @ operation.Q.T, atol=1e-9)


def test_sound_data_pass(mini_graphene, te_chain):
    for data in (mini_graphene, te_chain):
        checks = [check_bonds(data), *check_symmetry(data)]
        assert verdicts(checks) == {"orbitals": "ok", "S symmetry": "ok", "H symmetry": "ok"}
        assert checks[0].value < 1e-12


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [0, 3, 1, 2], [0, 1, 3, 2]])
@pytest.mark.parametrize("only", ["SH", "H"])
def test_p_orbitals_in_another_order_are_seen(mini_graphene, order, only):
    wrong = with_orbitals(mini_graphene, {6: order}, only=only)
    found = verdicts([check_bonds(wrong), *check_symmetry(wrong)])
    assert found["H symmetry"] == "bad"
    assert found["orbitals"] == ("bad" if only == "SH" else "ok")
    assert check_symmetry(wrong)[-1].value > 0.3


def test_a_wrong_sign_is_seen_without_any_symmetry(shared_data, bilayer36):
    from deeph.files.store import find_folders, read_folder

    data = read_folder(find_folders(bilayer36)[0])
    assert check_bonds(data).verdict == "ok"
    assert verdicts(check_symmetry(data)) == {"symmetry": "note"}
    for orbital in range(2, 13):  # each p and d orbital
        signs = np.ones(13)
        signs[orbital] = -1
        check = check_bonds(with_orbitals(data, {}, {6: signs}))
        assert check.verdict == "bad"
        assert ("C p" if orbital < 8 else "C d") in check.text


def test_wrong_positions_are_seen(mini_graphene):
    moved = replace(mini_graphene.system, positions=mini_graphene.system.positions + np.array([[0, 0, 0], [0, 0.05, 0]]))
    assert check_bonds(replace(mini_graphene, system=moved)).verdict == "bad"


def test_violations_name_the_shells(mini_graphene):
    found = bond_violations(with_orbitals(mini_graphene, {6: [0, 2, 1, 3]}))
    assert found["C s", "C s"] < 1e-12
    assert found["C p", "C s"] > 0.1


def test_moments_decide_what_is_demanded(te_chain):
    """Without them there is no verdict; with wrong ones the symmetry is broken."""
    assert np.abs(te_chain.moments[0]).argmax() == 0
    unknown = check_symmetry(replace(te_chain, moments=None))[-1]
    assert unknown.verdict == "note"
    assert "not recorded" in unknown.text
    along_z = check_symmetry(replace(te_chain, moments=te_chain.moments[:, [2, 1, 0]]))[-1]
    assert along_z.verdict == "bad"


def test_a_wrong_spin_layout_is_seen(te_chain, shared_data):
    assert check_symmetry(interleaved(te_chain))[-1].verdict == "bad"
    mos2 = openmx.read(shared_data / "openmx" / "mos2_soc")
    assert check_time_reversal(mos2).verdict == "ok"
    wrong = check_time_reversal(interleaved(mos2))
    assert wrong.verdict == "bad"
    assert "spin layout" in wrong.text
    assert check_time_reversal(replace(interleaved(mos2), moments=None)).verdict == "note"


@pytest.mark.parametrize("case", ["fe_bcc_spin", "fe_nc_soc", "o2_nc", "mos2_soc", "graphene_f", "si2", "tbg28", "h2o"])
def test_dft_data_of_every_spin_are_sound(shared_data, case):
    data = openmx.read(shared_data / "openmx" / case)
    assert set(verdicts([check_bonds(data), *check_symmetry(data), check_time_reversal(data)]).values()) <= {"ok", "note"}


def test_time_reversal_of_spinors(te_chain):
    assert difference(time_reversed(time_reversed(te_chain.H)), te_chain.H)[0] < 1e-15
    plain = replace(te_chain, basis=replace(te_chain.basis, spin="none"), H=None, extra={}).S.to_spinor()
    assert difference(time_reversed(plain), plain)[0] == 0


def test_turning_back_gives_the_same_matrix(te_chain):
    for operation in symmetry_group(te_chain).operations:
        once = turned(te_chain, te_chain.H, operation)
        assert once.hermiticity_error() < 1e-12
        assert np.linalg.norm(once.entries) == pytest.approx(np.linalg.norm(te_chain.H.entries))


@pytest.mark.parametrize(("la", "lb"), [(1, 1), (1, 2), (2, 1), (0, 3)])
def test_what_two_centres_may_couple(la, lb):
    """Equal m, with one number for m and -m."""
    low = min(la, lb)
    good = np.zeros((1, 2 * la + 1, 2 * lb + 1))
    for m in range(-low, low + 1):
        good[0, la + m, lb + m] = 0.5 - 0.1 * abs(m)
    assert _forbidden(good, la, lb) == 0
    different_m = good.copy()
    different_m[0, 0, -1] += 0.3
    assert _forbidden(different_m, la, lb) == pytest.approx(0.3)
    if low:
        sign_of_m = good.copy()
        sign_of_m[0, la + 1, lb + 1] *= -1
        assert _forbidden(sign_of_m, la, lb) == pytest.approx(0.8)
