"""Symmetry that DFT on a grid breaks is there after the average: degenerate levels, small changes, magnetic groups; and the commands."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh, eigvalsh
from symmetry_case import asymmetry, random_structure

import deeph
import postprocess.cli.bands
import postprocess.cli.dos
import postprocess.cli.states
import preprocess.cli.inspect
from deeph.physics.magnetism import largest_parts
from deeph.physics.symmetrize import symmetrize
from deeph.physics.symmetry import bloch_operator
from deeph.physics.symmetry_group import symmetry_group
from preprocess.inspect.rotation_checks import check_symmetry
from preprocess.readers import openmx

K = (1 / 3, 1 / 3, 0)


def call(command, *words):
    with pytest.raises(SystemExit) as stop:
        command.main([str(word) for word in words])
    return stop.value.code


@pytest.mark.parametrize(
    ("case", "k", "broken"),
    [("gaas", (0, 0, 0), 0.03), ("si2", (0, 0, 0), 0.002), ("fe_bcc_spin", (0, 0, 0), 0.02), ("graphene", K, 0.001)],
)
def test_levels_are_degenerate_as_the_group_demands(shared_data, case, k, broken):
    """Cubic: p is threefold, d falls into 3 + 2. The two atoms of graphene at K: s 2; p 2 + (1 + 1 + 2); d 2 + 2 (1 + 1 + 2)."""
    data = openmx.read(shared_data / "openmx" / case)
    shells = [l for z in data.system.numbers.tolist() for l in data.basis.shells[z]]
    s, p, d = (shells.count(l) for l in range(3))
    multiplets = {2: (s + 2 * p + 3 * d) // 2} if case == "graphene" else {3: p + d, 2: d}
    old, new = (np.atleast_2d(h.eigenvalues(k))[0] for h in (data, data.symmetrized()))
    groups = np.split(np.arange(len(new)), np.flatnonzero(np.diff(new) > 1e-5) + 1)
    sizes = [len(group) for group in groups]
    assert {n: sizes.count(n) for n in set(sizes) - {1}} == {n: number for n, number in multiplets.items() if number}
    assert max(np.ptp(new[group]) for group in groups) < 1e-10
    assert max(np.ptp(old[group]) for group in groups) > broken


@pytest.mark.parametrize("case", ["gaas", "mos2_soc_150", "fe_soc_z", "bi_bilayer_soc"])
def test_the_change_is_the_noise_of_the_run(shared_data, case):
    """No level moves by more than the largest eigenvalue of the change (Weyl), S stays, and every operation is kept."""
    data = openmx.read(shared_data / "openmx" / case)
    found = symmetrize(data)
    new, k = found.hamiltonian, np.array([0.21, -0.13, 0.0])
    assert found.S < 1e-10
    assert found.r < 1e-4  # OpenMX integrates r less sharply than S
    assert found.H.table("total")["raw"].mae < 0.1
    S = data.S_bloch.dense(k)
    bound = np.abs(eigh(new.H_bloch.dense(k) - data.H_bloch.dense(k), S, eigvals_only=True)).max()
    assert 0 < np.abs(new.eigenvalues(k) - data.eigenvalues(k)).max() <= bound + 1e-9
    magnetic = new if case == "fe_soc_z" else replace(new, moments=None)
    assert asymmetry(magnetic, k, spin_orbit=data.basis.spin == "spinor").max() < 1e-10


@pytest.mark.parametrize(
    ("case", "order", "reversed_ones", "spin_orbit"),
    [
        ("fe_soc_z", 16, 8, True),  # 4/mm'm'
        ("fe_nc_soc", 2, 0, True),  # the moment lies along no axis: inversion alone
        ("o2_nc", 16, 0, False),  # D_4h of the molecule in its box, spins untouched
        ("fe_bcc_spin", 48, 0, False),
        ("mos2_soc", 24, 1, True),
    ],
)
def test_magnetic_groups(shared_data, case, order, reversed_ones, spin_orbit):
    data = openmx.read(shared_data / "openmx" / case)
    group = symmetry_group(data)
    assert (group.order, group.spin_orbit) == (order, spin_orbit)
    assert sum(g.reversed for g in group.generators) == reversed_ones


def test_what_is_no_noise_stays(shared_data):
    """Exchange, spin-orbit coupling and the moments of iron keep their sizes."""
    data = openmx.read(shared_data / "openmx" / "fe_soc_z")
    new = data.symmetrized()
    before, after = largest_parts(data.H, "spinor"), largest_parts(new.H, "spinor")
    for name in ("A0", "A", "B"):
        assert after[name] == pytest.approx(before[name], rel=0.01)
    np.testing.assert_allclose(new.moments, data.moments, atol=1e-3)
    assert check_symmetry(new)[-1].value < 1e-12
    assert check_symmetry(data)[-1].value > 0.04


def test_parities_of_the_bismuth_bilayer(shared_data):
    """Products of the parities of the occupied pairs at the four invariant k: their product is -1, a topological insulator."""
    data = openmx.read(shared_data / "openmx" / "bi_bilayer_soc").symmetrized()
    inversion = next(g for g in symmetry_group(data).operations if g.name == "inversion")
    products = []
    for k in np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]]):
        H, S = data.H_bloch.dense(k), data.S_bloch.dense(k)
        C = eigh(H, S)[1][:, : round(data.n_electrons)]
        M = bloch_operator(inversion, data.basis, data.system.numbers, k)
        parity = eigvalsh(C.conj().T @ S @ (M @ C))
        np.testing.assert_allclose(np.abs(parity), 1, atol=1e-9)
        products.append((-1) ** (int((parity < 0).sum()) // 2))
    assert np.prod(products) == -1
    assert sorted(products) in ([-1, -1, -1, 1], [-1, 1, 1, 1])


@pytest.fixture
def folder(tmp_path, mini_graphene):
    deeph.write_folder(tmp_path / "graphene", replace(mini_graphene, r=None, extra={}))
    return tmp_path / "graphene"


def test_a_symmetric_folder_is_written_beside_the_old_one(folder, tmp_path, capsys):
    out = tmp_path / "symmetric"
    assert call(preprocess.cli.inspect, folder, "--symmetrize", out) == 0
    text = capsys.readouterr().out
    assert "24 operations" in text
    assert "meV at most" in text
    new, old = deeph.read(out), deeph.read(folder)
    assert check_symmetry(new)[-1].value < 1e-12 < check_symmetry(old)[-1].value
    before = {file: file.read_bytes() for file in out.iterdir()}
    assert call(preprocess.cli.inspect, folder, "--symmetrize", out) == 2
    assert call(preprocess.cli.inspect, folder, out, "--symmetrize", tmp_path / "third") == 2
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    assert not (tmp_path / "third").exists()


def test_positions_are_written_too(tmp_path):
    data = random_structure("zincblende")
    deeph.write_folder(tmp_path / "GaAs", data)
    assert call(preprocess.cli.inspect, tmp_path / "GaAs", "--symmetrize", tmp_path / "new") == 0
    new = deeph.read_folder(tmp_path / "new", positions=True)
    expected = data.symmetrized().r
    np.testing.assert_allclose(new.r.on_pattern(expected.pairs, expected.shapes).entries, expected.entries, atol=1e-10)


@pytest.mark.parametrize("command", [postprocess.cli.bands, postprocess.cli.dos, postprocess.cli.states])
def test_commands_average_before_they_compute(folder, capsys, command):
    more = {"bands": ["--path", "GK", "--points", "3"], "dos": ["--mesh", "3", "3", "1"], "states": []}[command.__name__.split(".")[-1]]
    assert call(command, folder, "--symmetrize", *more) == 0
    assert "24 operations" in capsys.readouterr().err
    assert call(command, folder, *more) == 0
    assert "24 operations" not in capsys.readouterr().err


def test_a_report_on_bands_says_how_far_degeneracies_are_to_be_trusted(folder, capsys):
    words = ["--path", "GK", "--points", "9", "--report"]
    assert call(postprocess.cli.bands, folder, *words) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("symmetry"))
    assert "meV from its images under the 24 operations" in line
    assert call(postprocess.cli.bands, folder, *words, "--symmetrize") == 0
    assert "--symmetrize averages" not in capsys.readouterr().out


def test_headings_tell_the_average_from_what_it_was_made_of(folder, capsys):
    """Both are of one folder, and had one name."""
    assert call(postprocess.cli.bands, folder, "--path", "GK", "--points", "5", "--symmetrize", "--compare", folder) == 0
    assert f"(symmetrized) against {folder.name}" in capsys.readouterr().out.replace(str(folder), folder.name)
