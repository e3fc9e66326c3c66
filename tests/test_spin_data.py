"""The network with spin on runs of OpenMX: what the data say of its parts, and symmetries that levels show."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from network_case import random_rotation
from spin_case import acted, difference, moved, predict

from deeph.config import LossConfig, ModelConfig
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.physics.blocks import PairBlocks
from deeph.physics.eigenvalues import solve_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs
from deeph.training.loss import compute_loss

openmx = pytest.importorskip("preprocess.readers.openmx")

SMALL = ModelConfig(
    node_channels=8, node_pseudo_channels=4, bond_channels=8, bond_pseudo_channels=4, node_odd_channels=4, bond_odd_channels=4, n_layers=1,
    n_radial=8, radial_hidden=16, rank=4,
)  # fmt: skip
INVARIANT = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]])


def trained(structures: list[Hamiltonian], steps: int = 20):
    """A small network in double precision after some steps on the data."""
    torch.manual_seed(0)
    model = fit_model(SMALL, structures).double()
    graphs = [make_graph(s, model, targets=True) for s in structures]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    first = last = 0.0
    for step in range(steps):
        optimizer.zero_grad()
        loss, _ = compute_loss(model, graphs[step % len(graphs)], LossConfig())
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
        first = first or last
    assert last < 0.9 * first, "the network learned something"
    return model.eval()


def test_oxygen_without_spin_orbit_coupling(shared_data):
    """Moments turned with the molecule fixed: U H U^dagger; the molecule turned with the moments fixed: D H D^T."""
    data = openmx.read(shared_data / "openmx" / "o2_nc")
    model = trained([data])
    assert [part.name for part in model.spin] == ["A0", "A"]
    assert model.magnetic == {8: pytest.approx(float(np.linalg.norm(data.moments, axis=1).mean()))}
    plain, R = predict(model, data), random_rotation(3)
    assert difference(predict(model, moved(data, np.eye(3), R)), acted(plain, data, np.eye(3), R)) < 1e-12
    assert difference(predict(model, moved(data, R, np.eye(3))), acted(plain, data, R, np.eye(3))) < 1e-12
    assert difference(predict(model, moved(data, np.eye(3), R)), plain) > 1e-3


def test_iron_has_all_parts(shared_data):
    data = openmx.read(shared_data / "openmx" / "fe_nc_soc")
    model = fit_model(SMALL, [data])
    assert [part.name for part in model.spin] == ["A0", "A", "B"]  # B0 is zero with a local functional
    assert list(model.magnetic) == [26]


def inverted(blocks: PairBlocks, data: Hamiltonian) -> PairBlocks:
    """A matrix of two atoms that an inversion exchanges, after it."""
    spin_free = replace(data, basis=replace(data.basis, spin="none"), H=None, extra={})
    turned = acted(blocks, spin_free, -np.eye(3), np.eye(3))
    images = np.column_stack([-blocks.pairs[:, :3], 1 - blocks.pairs[:, 3:]])
    return turned.selected(find_pairs(blocks.pairs, images))


def symmetric_bismuth(data: Hamiltonian) -> Hamiltonian:
    """Exactly inversion-symmetric positions and overlap."""
    middle, half = data.system.positions.mean(axis=0), (data.system.positions[0] - data.system.positions[1]) / 2
    system = replace(data.system, positions=np.stack([middle + half, middle - half]))
    S = replace(data.S, entries=(data.S.entries + inverted(data.S, data).entries) / 2)
    return replace(data, system=system, S=S, H=None)


def splittings(data: Hamiltonian, k: np.ndarray) -> float:
    """Largest distance of the two levels of a pair, eV."""
    levels = solve_at_k(data.H_bloch.dense(k), data.S_bloch.dense(k), k)
    return float(np.abs(levels[::2] - levels[1::2]).max())


def test_bismuth_bilayer(shared_data):
    """Inversion and time reversal: pairs at every k; inversion broken: at the four invariant points only."""
    data = openmx.read(shared_data / "openmx" / "bi_bilayer_soc")
    rng = np.random.default_rng(0)
    copies = [
        replace(data, system=replace(data.system, positions=data.system.positions + rng.normal(scale=0.02, size=(2, 3)))) for _ in range(2)
    ]
    model = trained([data, *copies])
    assert [part.name for part in model.spin] == ["A0", "B"]
    symmetric = symmetric_bismuth(data)
    symmetric = replace(symmetric, H=predict(model, symmetric))
    general = np.array([[0.21, 0.13, 0.0], [0.5, 0.2, 0.0], [1 / 3, 1 / 3, 0.0]])
    assert max(splittings(symmetric, k) for k in (*general, *INVARIANT)) < 1e-9
    middle = symmetric.system.positions[:, 2].mean()
    in_field = symmetric.with_potential(lambda r: 0.1 * (r[:, 2] - middle))  # perpendicular to the layer, 0.1 V/Angstrom
    assert max(splittings(in_field, k) for k in INVARIANT) < 1e-9
    assert min(splittings(in_field, k) for k in general) > 1e-3


def test_xi_of_molybdenum_and_sulphur(shared_data):
    """The on-site mean of the spin-orbit part is xi L.S: B_a = xi/2 ell_a, with the xi of the free atoms' shells."""
    data = openmx.read(shared_data / "openmx" / "mos2_soc")
    model = fit_model(SMALL, [data])
    tables, baseline = model.tables("B"), model.baseline("B")
    for z, shell, l, xi in ((42, 3, 1, 1.63), (42, 5, 2, 0.080), (16, 2, 1, 0.056)):
        starts = tables.atoms[z].starts
        block = tables.atom_blocks(z, baseline.atom_mean(z)[None, None])[0][:, starts[shell] : starts[shell] + 2 * l + 1]
        block = block[:, :, starts[shell] : starts[shell] + 2 * l + 1].numpy()
        commutator = block[0] @ block[1] - block[1] @ block[0]  # of i ell: [L_x, L_y] = i L_z
        scale = np.linalg.norm(block) ** 2 / (l * (l + 1) * (2 * l + 1))
        assert 2 * scale**0.5 == pytest.approx(xi, rel=0.03)
        assert np.abs(np.abs(commutator) - scale**0.5 * np.abs(block[2])).max() < 1e-6
