"""Whatever training would refuse, ``--check`` and ``deeph-inspect`` refuse before any work, for the same reason."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_case import SMALL, make_case, make_structure

from deeph.cli import train as command
from deeph.files.store import read_folder, write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import System
from preprocess.cli import inspect as inspection

SPLIT = SMALL.replace("fractions = [0.5, 0.25, 0.25]", "")


def change(change_one: Callable[[Hamiltonian], Hamiltonian]) -> Callable[[Path], None]:
    """Change one structure of the data set, which is trained on."""

    def apply(data: Path) -> None:
        write_folder(data / "001", change_one(read_folder(data / "001")), overwrite=True)

    return apply


def split(**parts: list[str]) -> Callable[[Path], None]:
    return lambda data: (data / "split.json").write_text(json.dumps({"train": ["000", "001"], "validate": ["002"], **parts}))


def kept(s: Hamiltonian, rows: np.ndarray) -> Hamiltonian:
    return replace(s, S=s.S.selected(rows), H=s.H.selected(rows))


def with_nan(s: Hamiltonian) -> Hamiltonian:
    entries = s.H.entries.copy()
    entries[0, 3] = np.nan
    return replace(s, H=replace(s.H, entries=entries))


def without_a_partner(s: Hamiltonian) -> Hamiltonian:
    return kept(s, np.delete(np.arange(s.S.n_pairs), np.flatnonzero(~is_onsite(s.S.pairs))[0]))


def without_pairs(s: Hamiltonian) -> Hamiltonian:
    return kept(s, np.flatnonzero(is_onsite(s.S.pairs)))


def without_a_site(s: Hamiltonian) -> Hamiltonian:
    return kept(s, np.delete(np.arange(s.S.n_pairs), np.flatnonzero(is_onsite(s.S.pairs))[0]))


def at_one_place(s: Hamiltonian) -> Hamiltonian:
    positions = s.system.positions.copy()
    positions[1] = positions[0]
    return replace(s, system=System(s.system.cell, positions, s.system.numbers))


def not_hermitian(s: Hamiltonian) -> Hamiltonian:
    entries = s.H.entries.copy()
    entries[0, s.H.offsets[np.flatnonzero(~is_onsite(s.H.pairs))[0]]] += 1.0
    return replace(s, H=replace(s.H, entries=entries))


def other_shells(s: Hamiltonian) -> Hamiltonian:
    """Hydrogen with another order of shells has other blocks: here with a second s orbital, all zero but for the diagonal."""
    big = Basis.from_symbols({"C": [0, 1], "H": [0, 0]})
    n = big.n_orbitals(s.system.numbers)

    def widened(blocks: PairBlocks, diagonal: float) -> PairBlocks:
        out = PairBlocks.zeros(blocks.pairs, np.stack([n[blocks.pairs[:, 3]], n[blocks.pairs[:, 4]]], axis=1))
        for index in range(blocks.n_pairs):
            one = np.array([index])
            new = out.take(one)
            rows, columns = blocks.shapes[index]
            new[..., :rows, :columns] = blocks.take(one)
            if is_onsite(blocks.pairs[one])[0] and new.shape[-1] > columns:
                new[..., -1, -1] = diagonal
            out.put(one, new)
        return out

    return replace(s, basis=big, S=widened(s.S, 1.0), H=widened(s.H, -3.0))


def spinful(s: Hamiltonian) -> Hamiltonian:
    return replace(s, basis=replace(s.basis, spin="spinor"), H=s.H.to_spinor())


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (change(with_nan), "NaN or infinit"),
    "partner": (change(without_a_partner), "lack the partner"),
    "pairs": (change(without_pairs), "no pairs"),
    "site": (change(without_a_site), "no on-site block"),
    "place": (change(at_one_place), "an atom there twice"),
    "Hermitian": (change(not_hermitian), "Hermitian conjugate"),
    "shells": (change(other_shells), "shells .* the structures before it have"),
    "H missing": (lambda data: (data / "001" / "hamiltonian.h5").unlink(), "hamiltonian.h5"),
    "spin": (change(spinful), "001: H is of spinors .* in the structures before it without spin"),
    "two parts": (split(validate=["000"]), "more than once"),
    "unknown name": (split(validate=["077"]), "not in"),
    "empty train": (split(train=[]), "no structure to train on"),
    "element": (lambda data: (split()(data), write_folder(data / "002", make_structure(2, third=6), overwrite=True),
                              split(train=["002"], validate=["000"])(data)), "H occurs in no structure that is trained on"),
    "part": (split(tests=["003"]), "unknown part"),
}  # fmt: skip
SOUND_DATA = {"H missing"}
"""Of these deeph-inspect says that nothing can be trained on them, and does not call them bad: they serve other ends."""


def run(main: Callable[[list[str]], object], *arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("kind", KINDS)
def test_check_training_and_inspection_refuse_the_same(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, reason = KINDS[kind]
    config = make_case(tmp_path, 4, SPLIT)
    split()(tmp_path / "data")
    assert run(command.main, config, "--check", "--out", tmp_path / "run") == 0
    assert run(inspection.main, tmp_path / "data") in (0, 1)
    capsys.readouterr()
    spoil(tmp_path / "data")
    for arguments in ((config, "--check"), (config,)):
        assert run(command.main, *arguments, "--out", tmp_path / "run") in (1, 2)
        found = capsys.readouterr()
        assert re.search(reason, found.err), found.err
        assert "unexpected" not in found.err
        assert not (tmp_path / "run").exists()
    code = run(inspection.main, tmp_path / "data")
    text = capsys.readouterr().out
    if kind not in SOUND_DATA:
        assert code == 1
    assert re.search(reason if kind != "H missing" else "no H", text), text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["train.device=cuda"], "torch sees no GPU"),
        (["train.seed=-1"], "train.seed"),
        (["data.seed=-1"], "data.seed"),
        (["train.band_structures=['003']"], "test set"),
        (["train.band_structures=['099']"], "does not hold"),
        (["train.band_structures=['000']"], "Fermi level is not known"),
        (["model.l_max=1"], "l_max"),
        (["train.batch_structures=0"], "batch_structures"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_check(
    settings: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = make_case(tmp_path, 4, SPLIT)
    split(test=["003"])(tmp_path / "data")
    chosen = [part for setting in settings for part in ("--set", setting)]
    assert run(command.main, config, "--check", "--out", tmp_path / "run", *chosen) in (1, 2)
    assert reason in capsys.readouterr().err


def test_the_run_folder_is_looked_at_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_case(tmp_path, 4, SPLIT)
    split()(tmp_path / "data")
    assert run(command.main, config, "--check", "--out", tmp_path / "run", "--resume") == 1
    assert "no saved state" in capsys.readouterr().err
    assert run(command.main, config, "--check", "--out", config) == 2
    assert "cannot be a run folder" in capsys.readouterr().err
    assert run(command.main, config, "--out", tmp_path / "run", "--set", "train.epochs=1") == 0
    assert run(command.main, config, "--check", "--out", tmp_path / "run", "--resume") == 0
    assert run(command.main, config, "--check", "--out", tmp_path / "run") == 2
    assert "continue it with --resume" in capsys.readouterr().err
