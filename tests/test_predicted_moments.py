"""Networks with spin through ``deeph-infer --moments``: moments of the predicted H, recorded and found again."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import deeph
from deeph.cli import infer
from deeph.config import ModelConfig
from deeph.files.store import find_folders, read_folder, read_info
from deeph.nn.fit import fit_model
from deeph.training.checkpoint import save_model
from deeph.training.run_folder import BEST

TINY = ModelConfig(
    node_channels=4, node_pseudo_channels=2, bond_channels=4, bond_pseudo_channels=2, n_layers=1, n_radial=4, radial_hidden=8, rank=2,
    baseline_degree=3,
)  # fmt: skip


def untrained(folder, structures):
    torch.manual_seed(0)
    folder.mkdir()
    save_model(folder / BEST, fit_model(TINY, structures), {})
    return folder


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        infer.main([str(a) for a in arguments])
    return ended.value.code or 0


def test_collinear_oxygen_has_two_unpaired_electrons(tmp_path, capsys):
    """UKS of PySCF; the moment of the predicted H is a whole number and follows the moments that are given, which lie along z."""
    pytest.importorskip("pyscf")
    from preprocess.cli import pyscf

    (tmp_path / "job.toml").write_text(
        '[system]\natoms = [["O", 0, 0, 0], ["O", 0, 0, 1.21]]\nmolecule = true\nspin = 2\n'
        '[method]\nkind = "UKS"\nfunctional = "pbe"\nbasis = "6-31g"\n[perturb]\nnumber = 5\ndisplacement = 0.04\nseed = 1\n'
    )
    with pytest.raises(SystemExit):
        pyscf.main([str(tmp_path / "job.toml"), str(tmp_path / "data")])
    folders = find_folders(tmp_path / "data")
    model = untrained(tmp_path / "model", [read_folder(folder) for folder in folders[:4]])
    assert run(model, folders[4], tmp_path / "up") == 0
    (tmp_path / "down.txt").write_text("O 0 0 -1\n")
    assert run(model, folders[4], tmp_path / "down", "--moments", tmp_path / "down.txt") == 0
    for place, total in (("up", 2), ("down", -2)):
        h = read_folder(tmp_path / place / folders[4].name)
        found = h.mulliken(temperature=0)
        assert found.total_moment == pytest.approx([0, 0, total], abs=1e-6)
        assert found.angles(h.moments).max() < 1e-6
    capsys.readouterr()
    (tmp_path / "tilted.txt").write_text("O 0 1 1\n")
    assert run(model, folders[4], tmp_path / "tilted", "--moments", tmp_path / "tilted.txt") == 2
    assert "the model is collinear" in capsys.readouterr().err


def test_cri3_is_given_moments_of_chromium(shared_data, tmp_path, capsys):
    """Moments of the folder without those induced in iodine; other directions from a file; S from the basis files."""
    files = [shared_data / "cri3_nc" / f"{n:03d}.npz" for n in (0, 1, 11)]
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, *files], check=True)
    model = untrained(tmp_path / "model", [read_folder(tmp_path / name) for name in ("000", "001")])
    assert run(model, tmp_path / "011", tmp_path / "one") == 0
    info, dft = read_info(tmp_path / "one" / "011"), read_folder(tmp_path / "011")
    assert np.array(info["magnetic_moments_muB"]) == pytest.approx(np.where(np.arange(8)[:, None] < 2, dft.moments, 0))
    assert info["source"]["moments"] == "input of the network"
    assert "non-magnetic: 6 I" in capsys.readouterr().err
    (tmp_path / "canted.txt").write_text("Cr 0 0 1\n2 1 0 1 3.4\n")
    pao = [f"{shared_data / 'openmx' / 'PAO' / name}" for name in ("Cr6.0.pao:s3p2d1", "I7.0.pao:s2p2d1")]
    options = ("--moments", tmp_path / "canted.txt")
    assert run(model, tmp_path / "011", tmp_path / "two", *options) == 0
    assert run(model, tmp_path / "011" / "POSCAR", tmp_path / "three", *options, "--basis", *pao) == 0
    assert "Cr2I6: Mulliken moments of H on a 6 x 6 x 1 mesh" in capsys.readouterr().err
    mean = deeph.load_model(model).magnetic[24]
    for place in ("two", "three"):
        h = read_folder(tmp_path / place / "011")
        assert h.moments[:2] == pytest.approx(np.array([[0, 0, mean], [3.4 / 2**0.5, 0, 3.4 / 2**0.5]]))
        assert h.mulliken((3, 3, 1)).angles(h.moments)[:2].max() < 10
