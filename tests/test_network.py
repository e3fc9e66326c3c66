"""The network as a function of its structure: chunks, cells, cutoffs, precision; and that it can learn a real one."""

import copy
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from network_case import BASIS, RADII, TINY, largest, make_model, make_structure, predict, random_rotation, rotated, rotated_blocks

from deeph.config import LossConfig, ModelConfig
from deeph.files.store import find_folders, read_folder
from deeph.nn import so2_network
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, neighbour_pairs
from deeph.physics.system import System
from deeph.runtime.errors import ModelError
from deeph.training.loss import compute_loss


@pytest.fixture(scope="module")
def structure() -> Hamiltonian:
    return make_structure(7)


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_model([make_structure(n) for n in range(3)])


def overlap_only(system: System, pairs: np.ndarray, basis: Basis = BASIS) -> Hamiltonian:
    """A structure of which the network needs the pattern alone."""
    return Hamiltonian(system, basis, PairBlocks.zeros(pairs, block_shapes(basis, system.numbers, pairs, spin=False)))


@pytest.mark.parametrize("chunk", [1, 7, 1000, None])
def test_chunks_change_nothing(model: HamiltonianModel, structure: Hamiltonian, chunk: int | None) -> None:
    other = HamiltonianModel(model.config.model_copy(update={"chunk_bonds": chunk}), model.basis, model.cutoffs, model.degree).double()
    other.load_state_dict(model.state_dict())
    assert largest(predict(other, structure), predict(model, structure)) < 1e-11


def test_order_of_the_pairs_changes_nothing(model: HamiltonianModel, structure: Hamiltonian) -> None:
    order = np.random.default_rng(0).permutation(structure.S.n_pairs)
    shuffled = replace(structure, S=structure.S.selected(order), H=None)
    assert largest(predict(model, shuffled), predict(model, structure).selected(order)) < 1e-11


def test_a_shift_of_atoms_by_lattice_vectors_changes_nothing(model: HamiltonianModel, structure: Hamiltonian) -> None:
    shift = np.array([[0, 0, 0], [1, 0, 0], [0, -2, 1], [0, 0, 3]])
    system = replace(structure.system, positions=structure.system.positions + shift @ structure.system.cell + 0.37)
    pairs = structure.S.pairs.copy()
    pairs[:, :3] += shift[pairs[:, 3]] - shift[pairs[:, 4]]
    moved = predict(model, overlap_only(system, pairs))
    assert np.abs(moved.entries - predict(model, structure).entries).max() < 1e-11


def test_supercell_is_the_folded_primitive_cell(model: HamiltonianModel, structure: Hamiltonian) -> None:
    """A 2 x 1 x 3 supercell: the block (R, (i, c), (j, d)) is the primitive block (N R + d - c, i, j)."""
    system, repeat = structure.system, np.array([2, 1, 3])
    cells = np.stack(np.meshgrid(*[np.arange(n) for n in repeat], indexing="ij"), -1).reshape(-1, 3)
    positions = (system.positions[:, None] + cells @ system.cell).reshape(-1, 3)
    large = System(repeat[:, None] * system.cell, positions, np.repeat(system.numbers, len(cells)))
    pairs = neighbour_pairs(large, RADII)
    H = predict(model, overlap_only(large, pairs))
    atom, cell = np.divmod(pairs[:, 3:], len(cells))
    folded = np.concatenate([repeat * pairs[:, :3] + cells[cell[:, 1]] - cells[cell[:, 0]], atom], axis=1)
    place = find_pairs(structure.S.pairs, folded)
    assert (place >= 0).all()
    assert len(place) == len(cells) * structure.S.n_pairs
    assert np.abs(H.entries - predict(model, structure).selected(place).entries).max() < 1e-11


def test_unknown_elements_bases_and_spins_are_refused(model: HamiltonianModel, structure: Hamiltonian) -> None:
    system, pairs = replace(structure.system, numbers=np.array([6, 14, 6, 8])), structure.S.pairs
    other = replace(BASIS, shells={**BASIS.shells, 8: (0,)})
    with pytest.raises(ModelError, match="does not know O; it was trained on C, Si"):
        make_graph(overlap_only(system, pairs, other), model, targets=False)
    other = replace(BASIS, shells={**BASIS.shells, 6: (0, 1, 0)})
    with pytest.raises(ModelError, match="C has the shells"):
        make_graph(overlap_only(structure.system, pairs, other), model, targets=False)
    for spin in ("collinear", "spinor"):
        with pytest.raises(ModelError, match=f"trained on Hamiltonians of spin 'none'; the structure has spin '{spin}'"):
            make_graph(overlap_only(structure.system, pairs, replace(BASIS, spin=spin)), model, targets=False)


def through_the_cutoff(model: HamiltonianModel, step: float) -> dict[str, np.ndarray]:
    """H at seven distances of two C around their cutoff; a Si sees both all the time."""
    values: dict[str, list[np.ndarray]] = {"far bond": [], "near bond": [], "on-site": []}
    for n in range(-3, 4):
        r = model.cutoffs[6, 6] + n * step
        system = System(30 * np.eye(3), np.array([[0, 0, 0], [1.9, 0.9, 0.3], [0, 0.4 * r, r * 0.84**0.5]]), np.array([6, 14, 6]))
        pairs = np.array([[0, 0, 0, i, j] for i in range(3) for j in range(3)])
        H = predict(model, overlap_only(system, pairs))
        for name, pair in (("far bond", (0, 2)), ("near bond", (0, 1)), ("on-site", (0, 0))):
            values[name].append(H.block((0, 0, 0, *pair))[0])
    return {name: np.array(v) for name, v in values.items()}


def jumps(values: np.ndarray, step: float) -> tuple[float, float]:
    """Jump of the first and of the second derivative at the middle of seven points, from one-sided differences."""
    left, right = values[3::-1], values[3:]
    first = [(-3 * v[0] + 4 * v[1] - v[2]) / (2 * step) for v in (left, right)]
    second = [(2 * v[0] - 5 * v[1] + 4 * v[2] - v[3]) / step**2 for v in (left, right)]
    return float(np.abs(first[0] + first[1]).max()), float(np.abs(second[0] - second[1]).max())


def test_H_is_smooth_through_the_cutoff(model: HamiltonianModel) -> None:
    """Value and two derivatives join, so that the jumps of the differences vanish with the step; the third may jump."""
    steps = [4e-3, 2e-3, 1e-3]
    curves = [through_the_cutoff(model, step) for step in steps]
    for name in curves[0]:
        first, second = zip(*[jumps(c[name], step) for c, step in zip(curves, steps, strict=True)], strict=True)
        for jump in (first, second):
            assert jump[2] < 0.3 * jump[1] < 0.09 * jump[0], (name, first, second)
    assert np.abs(curves[0]["far bond"][0]).max() > 0
    assert np.abs(curves[0]["far bond"][3:]).max() == 0


@pytest.mark.parametrize("power", [1, 2])
def test_a_cutoff_with_a_kink_is_caught(model: HamiltonianModel, power: int) -> None:
    def rough(r: torch.Tensor, cutoff: torch.Tensor, width: float | None = None) -> torch.Tensor:
        return (4 * (1 - r / cutoff)).clamp(0, 1) ** power

    with mock.patch.object(so2_network, "smooth_cutoff", rough):
        fine, coarse = (jumps(through_the_cutoff(model, step)["on-site"], step)[power - 1] for step in (1e-3, 2e-3))
    assert fine > 0.8 * coarse > 0


@pytest.fixture(scope="module")
def bilayer(bilayer36: Path) -> Hamiltonian:
    return read_folder(bilayer36 / "000")


@pytest.fixture(scope="module")
def default_model(bilayer: Hamiltonian) -> HamiltonianModel:
    """The default size in single precision, with the energies of real graphene."""
    torch.manual_seed(0)
    return fit_model(ModelConfig(), [bilayer]).eval()


def graphene(like: Hamiltonian) -> Hamiltonian:
    """A perfect monolayer; many features vanish by symmetry."""
    cell = np.array([[2.46, 0, 0], [1.23, 1.23 * 3**0.5, 0], [0, 0, 20]])
    system = System(cell, np.array([[0, 0, 0], [1 / 3, 1 / 3, 0]]) @ cell, np.array([6, 6]))
    return overlap_only(system, neighbour_pairs(system, {6: 3.17}), like.basis)


def precision_error(model: HamiltonianModel, structure: Hamiltonian) -> tuple[float, float]:
    """Mean and largest difference between single and double precision, eV."""
    error = np.abs(predict(model, structure).entries - predict(copy.deepcopy(model).double(), structure).entries)
    return float(error.mean()), float(error.max())


def test_single_precision(default_model: HamiltonianModel, bilayer: Hamiltonian) -> None:
    mean, worst = precision_error(default_model, bilayer)
    assert mean < 1e-7
    assert worst < 2e-5


def test_single_precision_of_a_perfect_crystal(default_model: HamiltonianModel, bilayer: Hamiltonian) -> None:
    """Rounding noise in features that symmetry forbids must not be amplified."""
    mean, worst = precision_error(default_model, graphene(bilayer))
    assert mean < 1e-7
    assert worst < 2e-5


def test_double_precision_of_a_perfect_crystal(default_model: HamiltonianModel, bilayer: Hamiltonian) -> None:
    model, crystal, Q = copy.deepcopy(default_model).double(), graphene(bilayer), random_rotation(3)
    assert largest(predict(model, rotated(crystal, Q)), rotated_blocks(predict(model, crystal), crystal, Q)) < 1e-10


def test_overlap_learned_is_two_centre(bilayer: Hamiltonian) -> None:
    """S fits into the Slater-Koster baseline, which knows only m1 = m2: the network has nothing left to learn."""
    learned = replace(bilayer, H=bilayer.S)
    model = fit_model(TINY.model_copy(update={"baseline_degree": 12}), [learned]).double()
    graph = make_graph(learned, model, targets=True)
    sector = torch.as_tensor(model.tables("A0").pairs[6, 6].sector)
    rest, S = graph.offsite_target_A0.view(-1, len(sector)), graph.offsite_overlap.view(-1, len(sector))
    assert S[:, sector != 0].abs().max() < 1e-5  # grid and single precision of the data
    assert S[:, sector == 0].abs().max() > 0.3
    assert rest.square().mean().sqrt() < 5e-3 * S.square().mean().sqrt()


@pytest.mark.slow
def test_overfits_a_real_molecule_in_one_orientation_and_knows_the_others(shared_data: Path) -> None:
    """Water from PySCF: all-electron blocks up to 500 eV, learned in one orientation, predicted in three others."""
    folders = find_folders(shared_data / "peers" / "deeph-new" / "H2O-rotated")
    known, *others = [replace(read_folder(f), source={"orbital_radii": {"O": 2.5, "H": 2.5}}) for f in folders]
    torch.manual_seed(0)
    model = fit_model(TINY.model_copy(update={"node_channels": 16, "bond_channels": 12, "rank": 16}), [known]).double()
    before = np.abs(predict(model, known).entries - known.hamiltonian.entries).mean()
    graph, n_steps = make_graph(known, model, targets=True), 400
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=n_steps, pct_start=0.1)
    for _ in range(n_steps):
        optimizer.zero_grad()
        compute_loss(model, graph, LossConfig())[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    after = [np.abs(predict(model, s).entries - s.hamiltonian.entries).mean() for s in (known, *others)]
    assert len(others) == 3
    assert before > 0.1  # eV
    assert max(after) < 2e-3, after
