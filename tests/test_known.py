"""What was not trained on: refused or named, and H is smooth there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from network_case import BASIS, RADII, TINY, predict
from network_case import make_structure as many_neighbours
from training_case import make_case, make_structure

import deeph
from deeph.files.config_file import load_config
from deeph.inference import predict as predicted
from deeph.inference import predict_anyway, predict_folder
from deeph.nn.baseline import FLOOR, BondSample, PairBaseline
from deeph.nn.baseline_fit import PairFit
from deeph.nn.fit import _coefficients, fit_model
from deeph.nn.graph import make_graph, select_bonds
from deeph.nn.known import LengthSurvey
from deeph.nn.model import HamiltonianModel
from deeph.nn.spin import spin_parts
from deeph.nn.tables import PairTable
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, ModelError
from deeph.runtime.log import logger
from deeph.training.check import check_data
from deeph.training.checkpoint import load_model, save_model
from preprocess.inspect.checkpoint import checkpoint_report
from preprocess.readers import openmx


def atoms(numbers: list[int], positions: object, cell: float = 30.0, basis=BASIS) -> Hamiltonian:
    """A cluster with an overlap of zeros, on the pattern that belongs to it."""
    system = System(np.eye(3) * cell, np.array(positions, float), np.array(numbers))
    pairs = neighbour_pairs(system, RADII)
    shapes = block_shapes(basis, system.numbers, pairs, spin=False)
    return Hamiltonian(system, basis.restricted(system.numbers), PairBlocks.zeros(pairs, shapes))


def with_h(structure: Hamiltonian) -> Hamiltonian:
    """Some H that falls off with the distance."""
    pairs = structure.S.pairs
    size = np.repeat(np.exp(-np.linalg.norm(pair_vectors(structure.system, pairs), axis=1)), structure.S.shapes.prod(axis=1))
    H = PairBlocks(pairs, structure.S.shapes, (np.random.default_rng(0).normal(size=(1, len(size)))) * size).hermitized()
    return replace(structure, H=H)


@pytest.fixture(scope="module")
def chains() -> HamiltonianModel:
    """Trained on a molecule C2 and on a molecule Si2: the two elements never met."""
    torch.manual_seed(0)
    line = [[0, 0, 0], [1.4, 0, 0], [2.9, 0, 0]]
    return fit_model(TINY, [with_h(atoms([6] * 3, line)), with_h(atoms([14] * 3, np.array(line) * 1.5))]).eval()


def test_elements_that_never_met_are_refused_by_name(chains, tmp_path):
    """1 eV times an untrained head was predicted without a word."""
    mixed = atoms([6, 6, 14, 14], [[0, 0, 0], [1.4, 0, 0], [0, 2.0, 0], [0, 2.0, 2.2]])
    with pytest.raises(ModelError, match=r"bonds C-Si, such as atoms 1 \(C\) and 3 \(Si\), 2\.00 Angstrom apart.*known: C-C, Si-Si"):
        predicted(chains, mixed)
    with pytest.raises(ModelError, match="C-Si"):
        predict_folder(chains, mixed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    apart = atoms([6, 6, 14, 14], [[0, 0, 0], [1.4, 0, 0], [0, 9.0, 0], [0, 9.0, 2.2]])
    assert np.isfinite(predicted(chains, apart).hamiltonian.entries).all()  # farther apart than they reach
    H = predict_anyway(chains, mixed).hamiltonian
    assert not H.block((0, 0, 0, 0, 2)).any()  # nothing is known, and nothing predicted


def test_what_was_trained_is_in_the_model_file(chains, tmp_path):
    save_model(tmp_path / "model.safetensors", chains, {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.trained == chains.trained == {(6, 6): [(1.4, 1.5), (2.9, 2.9)], (14, 14): [(2.1, 2.1), (2.25, 2.25)]}
    assert not loaded.baseline().pair((6, 6)).flat
    assert checkpoint_report(tmp_path / "model.safetensors").facts["bonds trained on (Angstrom)"] == "C-C 1.40 to 2.90, Si-Si 2.10 to 2.25"
    description = chains.description()
    del description["trained_lengths"]  # as written by the first version
    old = HamiltonianModel.from_description(description)
    old.load_state_dict(chains.state_dict())
    assert old.trained == {kind: [(pytest.approx(shortest), chains.cutoffs[kind])] for kind, shortest in (((6, 6), 1.4), ((14, 14), 2.1))}
    r = torch.tensor([1.0, 1.2])
    functions, no_moments = old.baseline().pair((6, 6)), torch.zeros(2, 2, 1)
    shortest = torch.full((2,), 1.4, dtype=torch.float64)
    assert torch.equal(functions.two_centre(r, no_moments), functions.two_centre(shortest, no_moments))


def test_lengths_far_from_all_trained_ones_are_named_once(chains, caplog, monkeypatch):
    """One warning a structure, with the atoms and how far off they are; none for what was trained."""
    monkeypatch.setattr(logger, "propagate", True)
    predicted(chains, atoms([6, 6], [[0, 0, 0], [1.43, 0, 0]]))
    assert not caplog.records
    predicted(chains, atoms([6] * 4, [[0, 0, 0], [1.25, 0, 0], [0, 2.1, 0], [1.25, 1.9, 2.9]]))
    assert len(caplog.records) == 1
    for text in (
        "C-C (1.25 to",
        "trained 1.40 to 1.50, 2.90",
        "atoms 1 (C) and 2 (C), 1.25: 0.15 off",
        "atoms 1 (C) and 3 (C), 2.10: 0.60 off",
    ):
        assert text in caplog.text


def test_far_too_short_bonds_are_refused(chains):
    with pytest.raises(ModelError, match=r"atoms 1 \(C\) and 2 \(C\) are 1\.00 Angstrom apart, those of the training set at least 1\.40"):
        predicted(chains, atoms([6, 6], [[0, 0, 0], [1.0, 0, 0]]))


def test_lengths_of_many_structures_become_intervals():
    survey = LengthSurvey()
    for length in (1.4, 1.45, 1.52, 1.7):
        s = atoms([6, 6, 14], [[0, 0, 0], [length, 0, 0], [0, 0, 2.0]])
        survey.add(s, select_bonds(s, {(6, 6): 3.8, (6, 14): 2.01, (14, 14): 4.2}))
    assert survey.lengths() == {(6, 6): [(1.4, 1.52), (1.7, 1.7)], (6, 14): [(2.0, 2.0)]}


@pytest.mark.parametrize("image", [False, True])
def test_two_atoms_at_one_place_are_refused_everywhere(chains, image, tmp_path):
    """NaN was written; an atom on a periodic image is no better."""
    line = [[0, 0, 0], [1.4, 0, 0], [1.4, 30.0 * image, 0.1]]
    twice = with_h(atoms([6] * 3, line))
    message = r"atoms 2 \(C\) and 3 \(C\)" + (r" in the cell 0 -1 0" if image else "") + " are 0.1 Angstrom apart"
    for call in (
        lambda: predicted(chains, twice),
        lambda: predict_folder(chains, twice, tmp_path / "out"),
        lambda: make_graph(twice, chains, targets=True),
        lambda: fit_model(TINY, [twice]),
    ):
        with pytest.raises(DataError, match=message):
            call()
    assert not list(tmp_path.iterdir())


def test_check_names_structures_with_two_atoms_at_one_place(tmp_path):
    case = make_case(tmp_path)
    system = (good := make_structure(3)).system
    twice = System(system.cell, system.positions[[0, 1, 1]], system.numbers)
    deeph.write_folder(tmp_path / "data" / "003", replace(good, system=twice), overwrite=True)
    with pytest.raises(DataError, match=r"1 of 8(.|\n)*003: atoms 2 \(C\) and 3 \(H\) are 0 Angstrom apart"):
        check_data(load_config(case))


def bends(model: HamiltonianModel, lengths: np.ndarray) -> float:
    """Largest second difference of the blocks of molecules of equidistant bond lengths, eV; all of them in one cell, far apart."""
    first = np.arange(len(lengths))[:, None] * [20.0, 0, 0]
    close, right = (np.stack([first, first + d], 1).reshape(-1, 3) for d in ([[0, 0, 1.0]], lengths[:, None] * [0, 0.6, 0.8]))
    structure = atoms([6] * len(close), close, cell=20.0 * len(lengths), basis=model.basis)  # the pattern holds the pair at any length
    structure = replace(structure, system=System(structure.system.cell, right, structure.system.numbers))
    H = predict(model, structure)
    jumps = []
    for atom, partner in ((0, 1), (0, 0), (1, 1)):
        index = np.flatnonzero((H.pairs[:, 3] % 2 == atom) & (H.pairs[:, 4] == H.pairs[:, 3] - atom + partner))
        blocks = H.take(index)[0]
        jumps.append(np.abs(blocks[2:] - 2 * blocks[1:-1] + blocks[:-2]).max())
    return float(max(jumps))


def test_h_and_its_derivative_are_continuous_beyond_the_trained_lengths(mini_graphene):
    """A kink halves the second difference with the step, a smooth function quarters it; trained on perfect graphene."""
    torch.manual_seed(0)
    model = fit_model(TINY, [mini_graphene]).double().eval()
    (shortest, _), *_ = model.trained[6, 6]
    cutoff = model.cutoffs[6, 6]
    for low, high in ((0.8 * shortest, 1.2 * shortest), (0.8 * shortest, 1.2 * cutoff), (0.9 * cutoff, 1.1 * cutoff)):
        coarse, fine = (bends(model, np.linspace(low, high, n + 1)) for n in (80, 320))
        assert coarse > 1e-4
        assert coarse / fine > 10  # 16 of a smooth function, 4 of a kink


def test_the_scale_stays_bounded_below_the_shortest_bond(chains):
    functions = chains.baseline().pair((6, 6))
    inside = functions.scale(torch.tensor([1.4, 1.5], dtype=torch.float64))
    below = functions.scale(torch.linspace(0.3, 1.4, 50, dtype=torch.float64))
    assert (below < 1.5 * inside.max()).all()
    assert (below > 0.5 * inside.min()).all()


def test_between_the_shells_of_a_perfect_crystal_the_smoothest_function_is_taken():
    """Two s shells, at nine distances of graphene: a decaying function within 0.1 eV of 1 at 1.57 Angstrom, where the series was free."""
    table = PairTable([0], [0])
    (part,) = spin_parts("none", ["A0"])
    pair = PairBaseline(part, table, 6.35, 12)

    def truth(r: torch.Tensor) -> torch.Tensor:
        return (-8 * torch.exp(-((r / 2.2) ** 2)) * (1 - (r / 6.35) ** 2))[:, None]

    r = torch.tensor([1.42, 2.46, 2.841, 3.758, 4.261, 4.92, 5.121, 5.681, 6.191], dtype=torch.float64)
    noisy = truth(r) * (1 + 0.003 * torch.sin(40 * r))[:, None]  # what two centres do not describe
    sample = BondSample(r, torch.zeros(len(r), 2, 1, dtype=torch.float64), noisy[:, None])
    fit = PairFit(pair, table, alike=True, floor=FLOOR)
    fit.add_sizes(sample)
    fit.begin()
    for _ in range(3):
        fit.add_equations(sample)
        fit.solve()
        fit.add_rest(sample)
        fit.set_scale()

    def error(r: torch.Tensor) -> float:
        return float((pair.two_centre(r, torch.zeros(len(r), 2, 1))[:, 0] - truth(r)).abs().max())

    assert error(torch.linspace(1.25, 6.0, 200, dtype=torch.float64)) < 0.5
    assert error(torch.tensor([1.57], dtype=torch.float64)) < 0.1
    assert error(r) < 0.1


def test_displaced_graphene_after_training_on_perfect_cells(shared_data: Path, bilayer36: Path):
    """Two-centre parts of DFT bonds of 1.5 to 1.65 Angstrom, of which perfect graphene and bilayer know none: below 1 eV (was 87)."""
    perfect = [openmx.read(shared_data / "openmx" / name) for name in ("graphene", "bilayer_ab")]
    for known in (perfect[:1], perfect):
        model = fit_model(TINY.model_copy(update={"baseline_degree": 12}), known)
        functions = model.baseline().pair((6, 6))
        errors = []
        for folder in sorted(bilayer36.iterdir()):
            r, moments, c = _coefficients(deeph.read_folder(folder), model)["A0"].pairs[6, 6]
            errors.append((c - functions.two_centre(r, moments))[:, 0][(r > 1.5) & (r < 1.65)][:, functions.sigma_plus])
        error = torch.cat(errors)
        assert len(error) > 20
        assert error.square().mean().sqrt() < 1
        assert error.abs().max() < 3  # 0.9 of the best two-centre functions of this set


def test_gradients_with_respect_to_positions_are_refused(chains):
    """The frames of the bonds are constants of the network's backward pass: a gradient would lack their part."""
    graph = make_graph(atoms([6, 6], [[0, 0, 0], [1.4, 0, 0]]), chains, targets=False)
    graph.bond_vector.requires_grad_()
    with pytest.raises(ModelError, match="positions"):
        chains(graph)


def test_core_levels_are_predicted_in_double_precision(tmp_path):
    """1s levels of a heavy element: single precision rounds them by a millielectronvolt."""
    structures = [make_structure(seed) for seed in range(2)]
    core = -30000.123456
    deep = []
    for s in structures:
        H = replace(s.hamiltonian, entries=s.hamiltonian.entries.copy())
        own = np.flatnonzero(is_onsite(H.pairs) & (s.system.numbers[H.pairs[:, 3]] == 6))
        blocks = H.take(own)[0]
        blocks[:, 0, :] = blocks[:, :, 0] = 0
        blocks[:, 0, 0] = core
        H.put(own, blocks)
        deep.append(replace(s, H=H))
    for case, dtype, tolerance in ((structures, np.float32, None), (deep, np.float64, 1e-4)):
        torch.manual_seed(0)
        model = fit_model(TINY, case).eval()
        out = predicted(model, case[0])
        predict_folder(model, case[0], tmp_path / dtype.__name__)
        written = deeph.read_folder(tmp_path / dtype.__name__).hamiltonian
        assert out.hamiltonian.entries.dtype == written.entries.dtype == dtype
        if tolerance:
            assert abs(out.hamiltonian.block((0, 0, 0, 0, 0))[..., 0, 0] - core).max() < tolerance
            assert abs(written.block((0, 0, 0, 0, 0))[..., 0, 0] - core).max() < tolerance


@pytest.mark.parametrize("kinds", [("bond",), ("node",), ("bond", "node")])
def test_without_pseudo_channels_all_gradients_are_finite(kinds):
    """No bond channels crashed, no atom channels gave NaN."""
    structures = [many_neighbours(n) for n in range(2)]
    torch.manual_seed(0)
    model = fit_model(TINY.model_copy(update={f"{kind}_pseudo_channels": 0 for kind in kinds}), structures)
    prediction = model(make_graph(structures[0], model, targets=True))
    sum(h.square().sum() for *_, h in (*prediction.offsite["A0"], *prediction.onsite["A0"])).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
