"""``deeph-topology`` as users call it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from tight_binding import haldane, with_spinors
from topology_cases import bhz, kane_mele, rice_mele, weyl_semimetal

import deeph
from postprocess.cli.topology import main


@pytest.fixture
def folder(tmp_path):
    deeph.write_folder(tmp_path / "layer", kane_mele())
    return tmp_path / "layer"


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


def test_z2_with_table_and_figure(folder, capsys):
    files = [folder.parent / f"flow{suffix}" for suffix in (".csv", ".json", ".png")]
    assert call(folder, "--mesh", 24, 7, "--out", *files) == 0
    text = capsys.readouterr().out
    assert "Z2           1 by the flow of Wannier centres" in text
    assert "1 by parities (Fu, Kane) about the inversion centre (" in text
    assert "smallest singular value" in text
    assert "positions    " in text
    with files[0].open(encoding="utf-8") as file:
        assert "Z2 = 1" in next(file)
        rows = list(csv.reader(file))
    assert rows[0] == ["plane", "t", "x1", "x2"]
    record = json.loads(files[1].read_text(encoding="utf-8"))
    assert (record["z2"], record["parity"]["z2"]) == ([1], [1])
    assert np.allclose(record["planes"]["k3 = 0"]["centres"], [[float(x) for x in row[2:]] for row in rows[1:]])
    assert files[2].stat().st_size > 5000


def test_strength_of_spin_orbit_coupling(folder, capsys):
    deeph.write_folder(folder.parent / "massive", kane_mele(0.2))
    massive = folder.parent / "massive"
    for strength, z2 in ((1, 1), (0.2, 0)):
        assert call(massive, "--find", "z2", "--spin-orbit", strength, "--mesh", 60, 7, "--json") == 0
        assert json.loads(capsys.readouterr().out)["z2"] == [z2]
    assert call(massive, "--find", "z2", "--mesh", 60, 7) == 0
    assert "parities     not used: H breaks the inversion of its structure by" in capsys.readouterr().out


def test_chern_wilson_and_mirror(folder, capsys):
    deeph.write_folder(folder.parent / "magnet", with_spinors(haldane(), up=-9.0, down=9.0))
    magnet = folder.parent / "magnet"
    assert call(magnet, "--bands", "1-1", "--mesh", 16, 16, "--out", folder.parent / "c.csv") == 0  # a magnet: Chern numbers by themselves
    text = capsys.readouterr().out
    assert "C            +1 on k3 = 0, bands 1 to 1" in text
    assert (folder.parent / "c.csv").is_file()
    assert call(magnet, "--bands", "1-1", "--find", "wilson", "--along", 2, "--mesh", 24, 12, "--out", folder.parent / "w.pdf") == 0
    assert "k-points along k2" in capsys.readouterr().out
    assert call(folder, "--find", "mirror", "--mesh", 16, 16, "--json") == 0
    assert abs(json.loads(capsys.readouterr().out)["mirror_chern"]) == 1


def test_weyl_points(folder, capsys):
    deeph.write_folder(folder.parent / "crystal", bhz(1.0, d=3))
    assert call(folder.parent / "crystal", "--find", "weyl", "--search", 4, 4, 4) == 0
    assert "touchings    0, charges add up to +0" in capsys.readouterr().out


def test_weyl_points_of_both_spins(folder, capsys):
    """Spin down has the two of its own; with the first channel alone they would be missed."""
    up, gapped = weyl_semimetal(), weyl_semimetal(m=9.0)
    gapped = gapped.with_potential(3.0)
    entries = np.concatenate([gapped.H.entries, up.H.entries])
    data = replace(up, basis=replace(up.basis, spin="collinear"), H=replace(up.H, entries=entries))
    deeph.write_folder(folder.parent / "magnet", data)
    assert call(folder.parent / "magnet", "--find", "weyl", "--bands", "1-1", "--search", 6, 6, 6) == 0
    text = capsys.readouterr().out
    assert "spin down" in text


def test_polarisation_along_a_path(folder, capsys):
    path = []
    for n, phase in enumerate(np.linspace(0, 1, 17)):
        path.append(folder.parent / f"cycle{n:02d}")
        deeph.write_folder(path[-1], rice_mele(phase))
    assert call(*path, "--find", "polarisation", "--mesh", 24, 2, "--json", "--out", folder.parent / "p.csv") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unit"] == "e"
    change = found["structures"][-1]["fractions"][0] - found["structures"][0]["fractions"][0]
    assert abs(change) == pytest.approx(2, abs=1e-6)


def test_what_is_undefined_across_vacuum_is_no_zero(folder, capsys):
    """A chain has one polarisation; along the other two lattice vectors there is no Berry phase."""
    deeph.write_folder(folder.parent / "chain", rice_mele(0.1))
    assert call(folder.parent / "chain", "--find", "polarisation", "--mesh", 24, 2) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("  chain"))
    assert line.split()[2:4] == ["-", "-"]
    assert "- not defined: across vacuum" in text
    assert call(folder.parent / "chain", "--find", "polarisation", "--mesh", 24, 2, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["structures"]
    assert found["fractions"][1:] == found["electronic"][1:] == found["ionic"][1:] == [None, None]
    assert found["fractions"][0] is not None
    assert found["cartesian"].count(None) == 2


def test_zero_by_time_reversal_is_said_at_once(folder, capsys, monkeypatch):
    """Graphene has no gap, of which a mesh could be refined for ever; a plane that time reversal takes to another one is computed."""
    deeph.write_folder(folder.parent / "graphene", replace(haldane(0.0, t2=0.0), n_electrons=2.0))
    with monkeypatch.context() as patch:
        patch.setattr("postprocess.cli.topology_chern.chern_number", lambda *_, **__: pytest.fail("computed"))
        assert call(folder.parent / "graphene") == 0
        text = capsys.readouterr().out
        assert "C            +0 on k3 = 0: H keeps time reversal" in text
        assert "spin-orbit coupling" in text
        assert call(folder, "--find", "chern", "--json") == 0
        assert json.loads(capsys.readouterr().out)["chern"] == [{"plane": [3, 0.0], "chern": 0}]
    deeph.write_folder(folder.parent / "crystal", bhz(1.0, d=3))
    assert call(folder.parent / "crystal", "--find", "chern", "--plane", "3=0.2", "--mesh", 12, 12) == 0
    assert "mesh 12 x 12" in capsys.readouterr().out


def test_a_metal_is_refused_before_states_are_computed(folder, capsys, monkeypatch):
    """On a coarse mesh of the planes that are asked for; a gap that closes elsewhere does not matter."""
    metal = replace(with_spinors(haldane(0.1, 0.3, t2=0.5), up=-9.0, down=9.0), n_electrons=1.0)
    deeph.write_folder(folder.parent / "metal", metal)
    touching = replace(with_spinors(haldane(0.0, 0.0), up=-9.0, down=9.0), n_electrons=1.0)
    deeph.write_folder(folder.parent / "touching", touching)
    with monkeypatch.context() as patch:
        patch.setattr("postprocess.topology.wilson.states_of", lambda *_: pytest.fail("states were computed"))
        patch.setattr("postprocess.topology.chern.states_of", lambda *_: pytest.fail("states were computed"))
        for find in ("chern", "wilson", "polarisation"):
            assert call(folder.parent / "metal", "--find", find, "--ions", "C=0.5", "H=0.5", "--plane", "3=0") == 1
            said = " ".join(capsys.readouterr().err.split())
            assert "this is a metal: band 1 reaches" in said
            assert "Name the group of bands that is meant: --bands 1-1" in said
        assert call(folder.parent / "touching", "--find", "wilson") == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "bands 1 and 2 touch" in said
        assert "at k = (0.3333, 0.3333, 0)" in said or "at k = (0.6667, 0.6667, 0)" in said
        assert "--bands N-M): at the k looked at it may end with band 2" in said
    semimetal = with_spinors(weyl_semimetal(k0=1 / 6), up=-19.0, down=19.0)
    deeph.write_folder(folder.parent / "semimetal", replace(semimetal, n_electrons=1.0))
    assert call(folder.parent / "semimetal", "--find", "chern", "--plane", "3=0.5", "--mesh", 12, 12) == 0
    assert "C            " in capsys.readouterr().out
    assert call(folder.parent / "semimetal", "--find", "chern", "--plane", "1=0", "--mesh", 12, 12) == 1
    assert "at k = (0, 0, 0.1667)" in capsys.readouterr().err


def test_refusals(folder, capsys):
    for words, code, said in (
        ((folder.parent / "nothing",), 1, "there is no such folder"),
        ((folder, "--mesh", 3, 3), 1, "the k mesh is too coarse"),
        ((folder, "--mesh", 1, 3), 2, "two numbers above 1"),
        ((folder, "--bands", "3-9"), 2, "bands 3 to 9"),
        ((folder, "--bands", "1-1"), 1, "bands 1 and 2 touch"),
        ((folder, "--find", "weyl"), 1, "Weyl points belong to crystals"),
        ((folder, "--find", "chern", "--plane", "1=0"), 2, "not periodic along both directions"),
        ((folder, "--find", "chern", "--out", folder.parent / "c.png"), 2, "there is no figure of chern"),
        ((folder, "--out", folder.parent / "c.txt"), 2, "expected a name ending in"),
        ((folder, folder), 2, "several folders are a path"),
        ((folder, "--find", "born"), 2, "with one atom moved in each"),
    ):
        assert call(*words) == code, words
        assert said in " ".join(capsys.readouterr().err.split()), words


def test_typed_nonsense(folder, capsys):
    for words in (("--bands", "x"), ("--plane", "4=0"), ("--plane", "1=nan"), ("--find", "everything")):
        assert call(folder, *words) == 2
        assert "deeph-topology" in capsys.readouterr().err
