"""Dense eigenproblems by torch, on the processor: the code that runs on a graphics processor, against LAPACK."""

import numpy as np
import pytest
import torch
from band_cases import random_model

from deeph.files.store import write_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.dos import compute_dos
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver

CPU = "cpu:0"
"""Torch's name of the processor; "cpu" means LAPACK."""
POINTS = np.array([[0, 0, 0], [0.13, -0.27, 0.4]])


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("k", POINTS)
def test_levels_and_states_agree_with_lapack(spin, k):
    data = random_model(3, spin=spin)
    for channel in range(data.basis.n_spin):
        expected, found = (Eigensolver(options=SolverOptions(device=d))(data)(k, channel) for d in ("cpu", CPU))
        assert found.energies == pytest.approx(expected.energies, abs=1e-10)
        assert Eigensolver(options=SolverOptions(device=CPU))(data)(k, channel, vectors=False).energies == pytest.approx(
            expected.energies, abs=1e-10
        )
        assert found.residuals.max() < 1e-10
        S = data.S_bloch.dense(k)
        assert found.vectors.conj().T @ S @ found.vectors == pytest.approx(np.eye(len(S)), abs=1e-10)
        some = Eigensolver(bands=(2, 4), options=SolverOptions(device=CPU))(data)(k, channel)
        assert some.energies == pytest.approx(expected.energies[2:5], abs=1e-10)
        assert some.vectors.shape[1] == 3
        assert some.first == 2


@pytest.mark.parametrize("case", ["graphene", "mos2_soc", "fe_bcc_spin"])
def test_openmx_cases(shared_data, case):
    from preprocess.readers import openmx

    data = openmx.read(shared_data / "openmx" / case)
    for k in POINTS:
        expected, found = (Eigensolver(options=SolverOptions(device=d))(data)(k, 0, vectors=False).energies for d in ("cpu", CPU))
        assert found == pytest.approx(expected, abs=1e-8)


def test_density_of_states():
    data = random_model(1)
    mesh = make_mesh(data, (3, 3, 1))
    first, second = (compute_dos(data, mesh, options=SolverOptions(device=device)).density for device in ("cpu", CPU))
    assert second == pytest.approx(first, abs=1e-6)


def test_commands(tmp_path):
    from postprocess.cli import bands, dos, states
    from postprocess.output.tables import read_bands

    write_folder(tmp_path / "run", random_model(8, spin="collinear").permuted(np.array([0, 2, 1])))
    energies = []
    for number, device in enumerate(("cpu", CPU)):
        out = tmp_path / f"{number}.h5"
        with pytest.raises(SystemExit) as done:
            bands.main([str(tmp_path / "run"), "--points", "6", "--fermi", "0", "--device", device, "--out", str(out)])
        assert done.value.code == 0
        energies.append(read_bands(out).energies)
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)
    for main, options in ((dos.main, ["--mesh", "2", "2", "1", "--fermi", "0"]), (states.main, ["--k", "0,0,0", "--fermi", "0"])):
        with pytest.raises(SystemExit) as done:
            main([str(tmp_path / "run"), *options, "--device", CPU])
        assert done.value.code == 0


@pytest.mark.parametrize("device", ["cuda:77", "abacus", "meta:x", "meta"])
def test_devices_that_are_not_there(device):
    with pytest.raises(UsageError, match="torch cannot use it"):
        Eigensolver(options=SolverOptions(device=device))(random_model(0))


def test_overlap_that_is_not_positive(monkeypatch):
    data = random_model(0)
    S = data.S.mapped(lambda b, p: b - 2 * np.eye(*b.shape[-2:]) * ((p[:, 3] == p[:, 4]) & ~p[:, :3].any(1))[:, None, None])
    with pytest.raises(DataError, match=r"k = \(0\.13, -0\.27, 0\.4\): the overlap .* not positive definite: .* eigenvalue -"):
        Eigensolver(options=SolverOptions(device=CPU))(type(data)(data.system, data.basis, S, data.H))(POINTS[1], 0)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    def diverging(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("no convergence")

    monkeypatch.setattr(torch.linalg, "eigh", diverging)
    with pytest.raises(DataError, match=r"torch on cpu:0 failed at k = .*no convergence"):
        Eigensolver(options=SolverOptions(device=CPU))(data)(POINTS[1], 0)
    monkeypatch.setattr(torch.linalg, "eigh", full)
    with pytest.raises(DataError, match="do not fit in the memory of cpu:0"):
        Eigensolver(options=SolverOptions(device=CPU))(data)(POINTS[1], 0)
