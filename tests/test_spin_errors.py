"""Errors of H with spin by the parts of the spin: in deeph-compare, in evaluation.json, on the screen and in the figures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from band_cases import random_model

from deeph.files.dataset import open_dataset
from deeph.files.store import write_folder
from deeph.physics.difference import NOTHING, SPIN_PARTS, sum_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.training import evaluate as evaluation
from deeph.training.error_figures import ERRORS, PARITY, draw_errors, draw_parity
from postprocess.cli import compare as command
from postprocess.compare.matrices import compare_hamiltonians

SPINFUL = ("collinear", "spinor")


def changed(data: Hamiltonian, **scales: float) -> Hamiltonian:
    """The same with some parts of H multiplied, e.g. ``B=1.01``."""

    def change(blocks, _pairs):
        parts = split_spin(blocks, data.basis.spin)
        return join_spin({name: part * scales.get(name, 1.0) for name, part in parts.items()}, data.basis.spin)

    return replace(data, H=data.H.mapped(change))


def shifted(data: Hamiltonian, mu: float) -> Hamiltonian:
    S = data.S.to_spinor() if data.basis.spin == "spinor" else data.S
    return replace(data, H=replace(data.H, entries=data.H.entries + mu * S.entries))


def rms(data: Hamiltonian, part: str, *, onsite: bool) -> float:
    """Of one part of H, element by element, meV."""
    chosen = np.flatnonzero(is_onsite(data.H.pairs) == onsite)
    own = data.H.selected(chosen)
    values = [split_spin(own.take(members), data.basis.spin)[part].ravel() for _, members in own.groups()]
    return float(1e3 * np.sqrt(np.mean(np.concatenate(values) ** 2)))


@pytest.mark.parametrize(("spin", "part"), [("collinear", "A"), ("spinor", "A"), ("spinor", "B"), ("spinor", "B0")])
def test_an_error_of_one_part_is_in_its_rows_alone(spin, part):
    data = random_model(1, spin=spin)
    result = compare_hamiltonians(data, changed(data, **{part: 1.01}))
    for label, errors in result.by_spin.items():
        name, site = label.split(", ")
        if name == SPIN_PARTS[part]:
            assert errors.rmse == pytest.approx(0.01 * rms(data, part, onsite=site == "on-site"))
            assert result.spin_sizes[label].rmse == pytest.approx(100 * errors.rmse)
        else:
            assert errors.max < 1e-9


@pytest.mark.parametrize("spin", SPINFUL)
def test_the_energy_zero_belongs_to_the_spin_free_part(spin):
    """A shift is no error of any part; beside it the errors of the others are what they were, and so are the sizes."""
    data = random_model(2, spin=spin)
    other = changed(data, A=1.02)
    alone, moved = compare_hamiltonians(data, other), compare_hamiltonians(data, shifted(other, 7.0))
    assert moved.energy_zero == pytest.approx(7000 + alone.energy_zero)
    for label, errors in alone.by_spin.items():
        np.testing.assert_allclose(moved.by_spin[label], errors, atol=1e-9)
    assert alone.by_spin["spin-free, off-site"].max < 1e-9
    elsewhere = compare_hamiltonians(shifted(data, -300.0), other)
    for label, size in alone.spin_sizes.items():
        np.testing.assert_allclose(elsewhere.spin_sizes[label], size, rtol=1e-9)


@pytest.mark.parametrize("spin", SPINFUL)
def test_the_parts_hold_the_whole_error(spin):
    """|dH|^2 of all entries is n (A0^2 + B0^2 + A^2 + B^2), with n = 2 spins."""
    data = random_model(3, spin=spin)
    result = compare_hamiltonians(data, changed(data, A0=1.01, A=1.02, B=1.03, B0=1.04))
    parts = sum(errors.n * errors.rmse**2 for errors in result.by_spin.values())
    assert 2 * parts == pytest.approx(result.projected.n * result.projected.rmse**2)
    numbers = [errors.n for label, errors in result.by_spin.items() if "off-site" in label]
    assert numbers == [n * numbers[0] for n in ((1, 1) if spin == "collinear" else (1, 1, 3, 3))]


def test_parts_that_are_zero_have_no_row(mini_graphene):
    """Neither in H nor in its error: no exchange without magnetism, and nothing at all without spin."""
    plain = compare_hamiltonians(mini_graphene, shifted(mini_graphene, 0.1))
    assert plain.by_spin == plain.spin_sizes == {}
    spinor = replace(mini_graphene, extra={}).to_spinor()
    noisy = replace(spinor, H=replace(spinor.H, entries=spinor.H.entries + 1e-4 * NOTHING * np.random.default_rng(0).normal()))
    assert list(compare_hamiltonians(spinor, noisy).by_spin) == ["spin-free, on-site", "spin-free, off-site"]
    magnetic = replace(spinor, H=spinor.with_zeeman(0.1).H)
    assert "exchange, on-site" in compare_hamiltonians(spinor, magnetic).by_spin


def test_sums_of_structures_hide_no_part_that_one_of_them_has():
    magnet, plain = random_model(4, spin="spinor"), random_model(5).to_spinor()
    total, _ = sum_errors(magnet.system, magnet.basis, changed(magnet, A=1.1).H, magnet.H, magnet.S)
    other, _ = sum_errors(plain.system, plain.basis, plain.H, plain.H, plain.S)
    assert "exchange, off-site" not in other.table("by_spin")
    n = total.table("by_spin")["exchange, off-site"].n
    total.merge(other)
    assert total.table("by_spin")["exchange, off-site"].n == 2 * n
    assert list(total.table("by_spin")) == [f"{part}, {site}" for part in SPIN_PARTS.values() for site in ("on-site", "off-site")]


@pytest.fixture
def predicted(monkeypatch):
    """A model that predicts what the test says."""

    def install(change):
        monkeypatch.setattr(evaluation, "predict", lambda _model, s: change(s))

    return install


@pytest.mark.parametrize("spin", ["none", *SPINFUL])
def test_evaluation_says_what_deeph_compare_says(spin, tmp_path, predicted):
    """A known fault: the elements for the figures were taken with an overlap of the size without spin."""
    structures = [random_model(seed, spin=spin, numbers=(6, 6, 7)) for seed in range(3)]
    for n, data in enumerate(structures):
        write_folder(tmp_path / "data" / str(n), data)
    dataset = open_dataset(tmp_path / "data")

    def predict(data):
        return shifted(changed(data, A0=1.01, A=1.02, B=0.98), 0.05)

    predicted(predict)
    model = SimpleNamespace(basis=structures[0].basis)
    found = evaluation.evaluate(model, dataset, ["1"])
    compared = compare_hamiltonians(structures[1], predict(structures[1]))
    for table in ("by_spin", "spin_sizes", "by_site", "by_shells"):
        for label, errors in getattr(compared, table).items():
            np.testing.assert_allclose(found.sums.table(table)[label], errors, rtol=1e-9)
    plain = found.to_plain()
    assert set(plain["by_spin"]) == set(compared.by_spin)
    mu = 1e-3 * compared.energy_zero
    for name, (reference, other) in found.samples.items():
        part = next(part for part, words in SPIN_PARTS.items() if words == name)
        scale = {"A0": 1.01, "A": 1.02, "B": 0.98}.get(part, 1.0)
        assert reference.size > 50
        if part == "A0":  # 0.05 S - mu S is left
            assert np.abs(other - scale * reference).max() <= abs(0.05 - mu) * 1.001
        else:
            np.testing.assert_allclose(other, scale * reference, atol=1e-12)
    together = evaluation.evaluate(model, dataset, dataset.names)
    expected = {"none": ["spin-free"], "collinear": ["spin-free", "exchange"], "spinor": list(SPIN_PARTS.values())}[spin]
    assert list(together.samples) == expected


@pytest.mark.parametrize("spin", ["none", *SPINFUL])
def test_figures_and_the_table_of_any_spin(spin, tmp_path, predicted):
    data = random_model(1, spin=spin, numbers=(6, 6, 7))
    write_folder(tmp_path / "data" / "0", data)
    dataset = open_dataset(tmp_path / "data")
    model = SimpleNamespace(basis=data.basis)
    record, found = {"model": {"epoch": 3}, "train": {}}, {}
    for kind, size in (("model", 1.001), ("baseline", 1.1)):
        predicted(lambda s, size=size: changed(s, A0=size, A=size, B=size))
        found[kind] = evaluation.evaluate(model, dataset, ["0"])
        record["train"][kind] = found[kind].to_plain()
    draw_parity({"train": found["model"].samples}, tmp_path / PARITY)
    draw_errors(record, tmp_path / ERRORS)
    assert (tmp_path / PARITY).read_bytes()[:4] == (tmp_path / ERRORS).read_bytes()[:4] == b"\x89PNG"
    rows = evaluation.as_table(record).splitlines()[3:]
    if spin == "none":
        assert not rows
        return
    cells = {row[:32].strip(): [float(x) for x in row[32:].split()] for row in rows[1:]}
    exchange = found["model"].sums.table("by_spin")["exchange, off-site"]
    mae, rmse, largest, size, alone = cells["exchange, off-site"]
    assert [mae, rmse, largest] == pytest.approx([exchange.mae, exchange.rmse, exchange.max], rel=1e-3)
    assert size == pytest.approx(1000 * rmse, rel=1e-3)
    assert alone == pytest.approx(100 * rmse, rel=1e-3)


def test_a_spin_orbit_error_is_seen_on_the_screen(tmp_path, shared_data, capsys):
    """Of MoS2: 1 % of the spin-orbit coupling is 0.5 meV on-site, and 0.003 meV in the mean over all entries."""
    from preprocess.readers import openmx

    data = openmx.read(shared_data / "openmx" / "mos2_soc")
    write_folder(tmp_path / "a", data)
    write_folder(tmp_path / "b", changed(data, B=1.01), predicted=True)
    with pytest.raises(SystemExit) as end:
        command.main([str(tmp_path / "a"), str(tmp_path / "b")])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("by part of the spin"))
    rows = {line[:27].strip(): [float(x) for x in line[27:].split()] for line in lines[first + 1 :]}
    assert list(rows) == ["spin-free, on-site", "spin-free, off-site", "spin-orbit, on-site", "spin-orbit, off-site"]
    _, rmse, _, _, size = rows["spin-orbit, on-site"]
    assert (rmse, size) == (pytest.approx(0.4885, abs=2e-3), pytest.approx(48.85, abs=0.2))
    whole = next(line for line in lines if "H as it stands" in line)
    assert float(whole[27:].split()[0]) < 0.01 * rmse
