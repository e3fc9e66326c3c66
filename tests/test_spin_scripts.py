"""Recipes of sets with spin in examples/, and the scripts in benchmarks/ that measure models with spin."""

import gzip
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from deeph.files.config_file import load_settings
from deeph.files.dataset import open_dataset
from deeph.files.split import Split
from deeph.files.store import write_folder
from deeph.physics.difference import ErrorSums
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import join_spin, split_spin
from preprocess.readers import openmx

SETS = {"o2_triplet": (2, [1.0, 1.0]), "mnf2_sextet": (5, [4.88, 0.06, 0.06])}


@pytest.fixture(scope="module")
def scripts():
    """The modules of benchmarks/, which import each other as scripts do."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import spin_collinear
        import spin_coupling
        import spin_cri3
        import spin_errors
        import spin_mos2

        yield {"collinear": spin_collinear, "coupling": spin_coupling, "cri3": spin_cri3, "errors": spin_errors, "mos2": spin_mos2}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def te_chain(tmp_path_factory):
    """With spin-orbit coupling and a moment."""
    folder, name = tmp_path_factory.mktemp("te"), "mini_te_chain_soc"
    packed = ROOT / "tests" / "data" / "openmx" / name / f"{name}.scfout.gz"
    (folder / f"{name}.scfout").write_bytes(gzip.decompress(packed.read_bytes()))
    return openmx.read(folder)


@pytest.fixture(scope="module")
def molecules():
    """The first structure of each set."""
    pytest.importorskip("pyscf")
    from preprocess.pyscf.config import PyscfConfig
    from preprocess.pyscf.job import calculate, find_calculations, structure_of

    out = {}
    for name in SETS:
        file = ROOT / "examples" / f"{name}.toml"
        config = load_settings(PyscfConfig, file)
        jobs = find_calculations(config, name, file.parent / "nowhere")
        assert len(jobs) == 20
        out[name] = calculate(config, structure_of(config, jobs[0]))[0]
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_recipes_give_whole_moments(molecules, name):
    total, moments = SETS[name]
    h = molecules[name]
    assert h.basis.spin == "collinear"
    np.testing.assert_allclose(h.moments[:, :2], 0)
    assert h.moments[:, 2].sum() == pytest.approx(total, abs=1e-6)
    np.testing.assert_allclose(h.moments[:, 2], moments, atol=0.05)


def changed(h, part, onsite, by):
    """H with a number added to one part, on atoms or between them."""

    def change(blocks, pairs):
        parts = split_spin(blocks, h.basis.spin)
        parts[part] = parts[part] + by * (is_onsite(pairs) == onsite)[:, None, None, None]
        return join_spin(parts, h.basis.spin)

    return replace(h, H=h.hamiltonian.mapped(change))


@pytest.mark.parametrize("onsite", [True, False])
@pytest.mark.parametrize("part", ["B0", "A", "B"])
def test_an_error_is_found_where_it_is(scripts, te_chain, part, onsite):
    sums = ErrorSums()
    scripts["errors"].add_errors(sums, te_chain, changed(te_chain, part, onsite, 2e-3))
    wanted = f"{part} {'on' if onsite else 'off'}-site"
    for label, found in sums.table("by_site").items():
        assert found.mae == pytest.approx(2.0 if label == wanted else 0.0, abs=1e-9), label
    kind = "Te" if onsite else "Te-Te"
    assert sums.table("by_elements")[f"{part} {kind}"].rmse == pytest.approx(2.0)


def test_the_energy_zero_is_no_error(scripts, te_chain):
    S = te_chain.S.to_spinor().entries
    shifted = replace(te_chain, H=replace(te_chain.hamiltonian, entries=te_chain.hamiltonian.entries + 0.3 * S))
    sums = ErrorSums()
    scripts["errors"].add_errors(sums, te_chain, shifted)
    assert max(found.max for found in sums.table("by_site").values()) < 1e-9


def test_spin_orbit_part_can_be_left_out_and_put_back(scripts, te_chain):
    mos2 = scripts["mos2"]
    without = mos2.scaled(te_chain, 0.0)
    again = mos2.with_spin_orbit_of(without, te_chain)
    np.testing.assert_allclose(again.hamiltonian.entries, te_chain.hamiltonian.entries, atol=1e-12)
    for _, index in te_chain.hamiltonian.groups():
        whole, bare = (split_spin(h.hamiltonian.take(index), "spinor") for h in (te_chain, without))
        for part in ("A0", "B0", "A"):
            np.testing.assert_allclose(bare[part], whole[part], atol=1e-12)
        assert np.abs(whole["B"]).max() > 0.1
        assert not bare["B"].any()


def test_angular_momentum(scripts):
    """[L_x, L_y] = i L_z, L^2 = l (l + 1), with L_a = i times the generators."""
    for l in (1, 2, 3):
        x, y, z = 1j * scripts["coupling"].generators(l)
        np.testing.assert_allclose(x @ y - y @ x, 1j * z, atol=1e-6)
        np.testing.assert_allclose(x @ x + y @ y + z @ z, l * (l + 1) * np.eye(2 * l + 1), atol=1e-6)


def test_coupling_of_free_atoms_is_fitted(scripts, te_chain):
    """A p shell with xi L.S alone: levels xi/2 (four) and -xi (two); and fitting what was put in gives it back."""
    coupling, shells = scripts["coupling"], te_chain.basis.shells[52]
    own = np.flatnonzero(is_onsite(te_chain.hamiltonian.pairs))
    xi = np.diag([0.0 if l == 0 else 0.6 if l == 1 else 0.1 for l in shells])
    h = coupling.with_coupling(te_chain, {52: xi})
    np.testing.assert_allclose(coupling.fit_coupling([h])[52], xi, atol=1e-9)
    B = split_spin(h.hamiltonian.take(own), "spinor")["B"]
    zero = np.zeros_like(B[:, :1])
    block = join_spin({"A0": zero, "B": B}, "spinor")[0, 0]
    levels = np.linalg.eigvalsh(block)
    expected = [0.0] * 2 + [-0.6] * 2 + [0.3] * 4 + [-0.15] * 4 + [0.1] * 6
    np.testing.assert_allclose(levels, np.sort(expected), atol=1e-7)
    for _, index in h.hamiltonian.groups():
        off = ~is_onsite(h.hamiltonian.pairs[index])
        assert not split_spin(h.hamiltonian.take(index), "spinor")["B"][off].any()
    fitted = coupling.fit_coupling([te_chain])[52]
    assert 0.3 < fitted[1, 1] < 1.5  # eV, of tellurium 5p


@pytest.mark.slow
def test_a_missed_moment_is_noticed(scripts, molecules, tmp_path, capsys):
    write_folder(tmp_path / "0", molecules["o2_triplet"])
    write_folder(tmp_path / "1", molecules["o2_triplet"])
    Split(("0",), (), ("1",)).save(tmp_path / "split.json")
    data, collinear = open_dataset(tmp_path), scripts["collinear"]

    def without_exchange(h):
        mean = h.hamiltonian.entries.mean(axis=0)
        return replace(h, H=replace(h.hamiltonian, entries=np.stack([mean, mean])))

    report = scripts["errors"].Report
    assert collinear.compare(report(), data, ("1",), scripts["errors"].predictor("dft"), (1, 1, 1)) == 0
    assert collinear.compare(report(), data, ("1",), without_exchange, (1, 1, 1)) == 1
    assert "MISSED" in capsys.readouterr().out


def test_moments_and_band_energy_of_a_magnet(scripts, shared_data):
    """Iron, whose moment OpenMX prints."""
    h, cri3 = openmx.read(shared_data / "openmx" / "fe_nc_soc"), scripts["cri3"]
    found = cri3.ground_state(h, (5, 5, 5))
    assert cri3.angle(found.moments, h.moments).max() < 1.0
    turned = replace(h, H=replace(h.hamiltonian, entries=h.hamiltonian.entries + 0.1 * h.S.to_spinor().entries))
    assert cri3.ground_state(turned, (5, 5, 5)).band_energy - found.band_energy == pytest.approx(0.1 * h.n_electrons)
