"""The families of networks behind one key: the symmetries of H, what each one knows of the surroundings, training, files, refusals."""

import copy
import logging
from unittest import mock

import numpy as np
import pytest
import torch
from given_case import make_given_model, make_known, symmetry_errors
from network_case import (
    BASIS,
    equivariance_error,
    largest,
    make_model,
    make_structure,
    predict,
    random_rotation,
    rotated,
    rotated_blocks,
)  # fmt: skip
from spin_case import KINDS, make_spin_model, make_spin_structure, part_sizes, spin_errors
from spin_case import predict as predict_spin
from test_network import jumps, through_the_cutoff
from training_case import SMALL, make_case

from deeph.cli import train as train_command
from deeph.config import LossConfig, ModelConfig, TrainConfig
from deeph.files.config_file import load_config
from deeph.files.store import write_folder
from deeph.inference import predict as predict_files
from deeph.nn import e3, e3_layers
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.runtime.errors import ModelError
from deeph.training.checkpoint import load_model, save_model
from deeph.training.evaluate import baseline_alone
from deeph.training.loss import compute_loss
from deeph.training.optim import make_optimizer

SIZES = {"n_radial": 6, "radial_hidden": 8, "rank": 3, "baseline_degree": 3, "chunk_bonds": 16}
HEADS = {"node_channels": 4, "node_pseudo_channels": 2, "bond_channels": 4, "bond_pseudo_channels": 2}
IRREPS = "6x0e+5x1o+4x2e+3x3o+2x4e+3x1e+2x2o+2x3e"
FAMILIES = {
    "e3": ModelConfig(family="e3", irreps=IRREPS, n_layers=2, **HEADS, **SIZES),
    "slater-koster": ModelConfig(family="slater-koster", **SIZES),
}


def run(*arguments: object) -> int:
    """Exit code of deeph-train."""
    with pytest.raises(SystemExit) as ended:
        train_command.main([str(a) for a in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def models() -> dict[str, HamiltonianModel]:
    return {name: make_model([make_structure(n) for n in range(3)], config) for name, config in FAMILIES.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_every_symmetry(models, family, seed):
    errors = equivariance_error(models[family], make_structure(seed), seed)
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("family", FAMILIES)
def test_bonds_along_the_axes(models, family):
    corners = np.array([[0, 0, 0], [1.7, 0, 0], [0, 1.6, 0], [0, 0, 1.5]])
    axes = make_structure(0, corners, noise=0.0, cell=np.diag([3.9, 3.6, 3.3]))
    errors = equivariance_error(models[family], axes)
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("family", FAMILIES)
def test_h_is_hermitian_and_not_the_baseline_alone(models, family):
    H = predict(models[family], make_structure(7))
    assert H.hermiticity_error() < 1e-10
    known = predict(baseline_alone(models[family]), make_structure(7))
    off_site = ~is_onsite(H.pairs)
    for members in (np.flatnonzero(off_site), np.flatnonzero(~off_site)):
        assert largest(H.selected(members), known.selected(members)) > 0.05


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [1, 7, None])
def test_chunks_change_nothing(models, family, chunk):
    model = models[family]
    other = HamiltonianModel(model.config.model_copy(update={"chunk_bonds": chunk}), model.basis, model.cutoffs, model.degree).double()
    other.load_state_dict(model.state_dict())
    assert largest(predict(other, make_structure(7)), predict(model, make_structure(7))) < 1e-11


def test_maps_of_e3nn_decay_and_have_no_eigenbases(models) -> None:
    """Their weights, half of all of the family, are one row of numbers each."""
    groups = make_optimizer(models["e3"], TrainConfig(weight_decay=0.1)).param_groups
    assert [(group["weight_decay"], group["matrices"]) for group in groups] == [(0.1, True), (0.1, False), (0.0, False)]
    names = {id(p): name for name, p in models["e3"].named_parameters()}
    flat, spared = ({names[id(p)] for p in group["params"]} for group in groups[1:])
    assert {"trunk.first_bonds.weight", "trunk.layers.0.message.weight", "trunk.bonds_out.weight"} <= flat
    assert not flat & {name for name in names.values() if "norm" in name or "bias" in name}
    assert not any(name.startswith("trunk.layers") and name.endswith("message.weight") for name in spared)


def change_from_outside(model: HamiltonianModel) -> float:
    """How much the blocks among two atoms change when a third one moves."""
    structure = make_structure(7)
    moved = structure.system.positions.copy()
    moved[3] += [0.1, -0.05, 0.02]
    other = make_structure(7, positions=moved, noise=0.0)
    same = (structure.S.pairs[:, 3:] < 2).all(axis=1)
    place = np.array([np.flatnonzero((other.S.pairs == p).all(axis=1))[0] for p in structure.S.pairs[same]])
    before, after = predict(model, structure).selected(np.flatnonzero(same)), predict(model, other).selected(place)
    return largest(before, after)


def test_surroundings_matter_to_e3_alone(models):
    assert change_from_outside(models["e3"]) > 1e-3
    assert change_from_outside(models["slater-koster"]) < 1e-12


def test_slater_koster_has_two_centre_integrals_alone(models):
    """In the frame of a bond only m1 = m2 couple, in a crystal without any symmetry, and on-site blocks are isotropic."""
    structure = make_structure(7)
    H = predict(models["slater-koster"], structure)
    vector = pair_vectors(structure.system, structure.S.pairs)
    for index in np.flatnonzero(~is_onsite(structure.S.pairs))[:12]:
        z = vector[index] / np.linalg.norm(vector[index])
        Q = np.linalg.qr(np.column_stack([z, np.eye(3)[:, :2]]))[0][:, [1, 2, 0]].T
        Q = Q * np.sign(Q[2] @ z)
        turned = rotated_blocks(H, structure, Q)
        i, j = (BASIS.shells[int(structure.system.numbers[a])] for a in structure.S.pairs[index, 3:])
        m_i, m_j = (np.concatenate([np.arange(-l, l + 1) for l in shells]) for shells in (i, j))
        block = turned.take(np.array([index]))[0, 0]
        assert np.abs(block[m_i[:, None] != m_j]).max() < 1e-10
        assert np.abs(block).max() > 1e-6
    own = H.block((0, 0, 0, 0, 0))[0]  # C: s, s, p
    assert np.abs(own[:2, 2:]).max() < 1e-10
    assert np.abs(own[2:, 2:] - own[2, 2] * np.eye(3)).max() < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
def test_H_is_smooth_through_the_cutoff(models, family):
    steps = [4e-3, 2e-3, 1e-3]
    curves = [through_the_cutoff(models[family], step) for step in steps]
    for name in ("far bond", "near bond", "on-site") if family == "e3" else ("far bond",):
        first, second = zip(*[jumps(c[name], step) for c, step in zip(curves, steps, strict=True)], strict=True)
        for jump in (first, second):
            assert jump[2] < 0.3 * jump[1] < 0.09 * jump[0], (name, first, second)
    assert np.abs(curves[0]["far bond"][3:]).max() == 0


@pytest.mark.parametrize(
    ("attribute", "wrong", "symmetry"),
    [("_AXES", [0, 1, 2], "rotation"), ("opposite", lambda harmonics, _: harmonics, "exchange")],
)
def test_broken_harmonics_are_caught(models, attribute, wrong, symmetry):
    with mock.patch.object(e3, attribute, wrong):
        assert equivariance_error(models["e3"], make_structure(7))[symmetry] > 1e-4


def test_a_gate_that_differs_between_components_is_caught(models):
    broken = copy.deepcopy(models["e3"])
    convolution = broken.trunk.layers[0].update
    convolution.gated = convolution.gated.roll(1)
    assert equivariance_error(broken, make_structure(7))["rotation"] > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_slater_koster_with_spin(kind):
    """Both exchange field and spin-orbit coupling have a two-centre part; the imaginary spin-free part has none."""
    model, structure = make_spin_model(kind, FAMILIES["slater-koster"]), make_spin_structure(kind, 7)
    errors = spin_errors(model, structure)
    assert max(errors.values()) < 1e-12, errors
    sizes = part_sizes(predict_spin(model, structure), KINDS[kind][0])
    assert all(sizes[name] > 0.1 for name in KINDS[kind][1] if name != "B0")
    assert sizes.get("B0", 0.0) == 0


def test_slater_koster_says_what_it_leaves_out(caplog):
    with caplog.at_level(logging.WARNING):
        fit_model(FAMILIES["slater-koster"], [make_spin_structure("magnetic", 0)])
    assert "imaginary spin-free part; model.family = 'slater-koster' predicts zero for it" in caplog.text


def test_e3_with_spin_orbit_coupling():
    config = FAMILIES["e3"].model_copy(update={"irreps": f"{IRREPS}+2x5o"})
    errors = spin_errors(make_spin_model("spin-orbit", config), make_spin_structure("spin-orbit", 7))
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("kind", ["magnetic", "non-collinear", "collinear"])
def test_e3_refuses_magnets(kind):
    with pytest.raises(ModelError, match=r"'e3' learns no magnetic H; expected one that keeps time reversal. Use the family 'so2'"):
        make_spin_model(kind, FAMILIES["e3"].model_copy(update={"irreps": f"{IRREPS}+2x5o"}))


def test_e3_refuses_irreps_that_end_too_early():
    with pytest.raises(ModelError, match=r"ends at l = 2, but blocks between shells of l = 2 need l up to 4: add such as '8x4e'"):
        fit_model(FAMILIES["e3"].model_copy(update={"irreps": "4x0e+2x1o+2x2e"}), [make_structure(0)])
    with pytest.raises(ModelError, match=r"shells of l = 2 and spin-orbit coupling need l up to 5: add such as '8x5o'"):
        make_spin_model("spin-orbit", FAMILIES["e3"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.family=dft"], "model.family: got 'dft', expected 'so2', 'e3' or 'slater-koster'"),
        (["model.irreps=8x0e"], "the family 'so2' has no irreps: leave that out, or choose another family"),
        (["model.family=e3", "model.l_max=6"], "the family 'e3' has no l_max"),
        (["model.family=slater-koster", "model.n_layers=2", "model.bond_channels=8"], "'slater-koster' has no bond_channels, n_layers"),
        *((["model.family=e3", f"model.irreps={bad}"], "expected irreps up to l = 12, each once and 0e first") for bad in
          ("32x1o", "8x0e+8x1x", "8x0e+0x1o", "8x0e+4x1o+4x1o", "8x0e+2x13o", "")),
    ],
)  # fmt: skip
def test_settings_of_another_family_are_refused(tmp_path, settings, message):
    path = tmp_path / "train.toml"
    path.write_text("[data]\npath = 'data'\n")
    with pytest.raises(Exception, match="settings") as raised:
        load_config(path, settings)
    assert message in str(raised.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_file_predicts_what_the_model_did(models, family, tmp_path):
    """In double precision to all digits; a prediction comes first, as its constants must serve a training afterwards."""
    model, structure = models[family], make_structure(7)
    H = predict_files(model, structure).hamiltonian
    save_model(tmp_path / "model.safetensors", model, {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert largest(predict_files(loaded, structure).hamiltonian, H) == 0
    loss, _ = compute_loss(loaded, make_graph(structure, loaded, targets=True), LossConfig())
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in loaded.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_single_precision(models, family):
    single = HamiltonianModel.from_description(models[family].description())
    single.load_state_dict(models[family].state_dict())
    assert largest(predict(single.float(), make_structure(7)), predict(models[family], make_structure(7))) < 2e-4


def settings_of(family: str) -> str:
    head, rest = SMALL.split("[model]")
    sizes = {"e3": "n_layers = 1\nnode_channels = 4\nnode_pseudo_channels = 2\nbond_channels = 4\nbond_pseudo_channels = 2\n"
             'irreps = "6x0e+4x1o+3x2e+2x1e"\n'}.get(family, "")  # fmt: skip
    common = f"family = '{family}'\nn_radial = 6\nradial_hidden = 8\nrank = 3\nbaseline_degree = 2\n"
    return f"{head}[model]\n{common}{sizes}[train]{rest.split('[train]')[1]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_training_with_the_one_command_and_its_resumption(family, tmp_path, capsys):
    """The error falls; the state has all that a run needs to go on."""
    config = make_case(tmp_path, settings=settings_of(family))
    long = ["--set", "train.learning_rate=0.02", "--set", "train.validate_every=4", "--set"]
    assert run(config, "--out", tmp_path / "run", *long, "train.epochs=12") == 0
    assert "next: deeph-infer" in capsys.readouterr().err
    assert run(config, "--out", tmp_path / "run", *long, "train.epochs=16", "--resume") == 0
    rows = np.genfromtxt(tmp_path / "run" / "metrics.csv", delimiter=",", names=True)
    assert len(rows) == 4
    assert (np.diff(rows["train_mae_meV"]) < 0).all()
    settings = load_config(config, ["train.epochs=1"])
    assert load_config(tmp_path / "run" / "config.toml").model == settings.model  # also defaults that another family has


def test_check_refuses_a_family_that_cannot_learn_the_data(tmp_path, capsys):
    """Before anything is fitted: magnets for e3, and l for spin-orbit coupling."""
    for number in range(4):
        write_folder(tmp_path / "data" / f"{number:03d}", make_spin_structure("magnetic", number))
    path = tmp_path / "train.toml"
    path.write_text("[data]\npath = 'data'\nfractions = [0.5, 0.25, 0.25]\n[model]\nfamily = 'e3'\n")
    assert run(path, "--check", "--set", "model.irreps=4x0e+2x1o+2x2e+2x3o+2x4e+2x5o") == 1
    assert "'e3' learns no magnetic H" in capsys.readouterr().err
    assert run(path, "--check", "--set", "model.family=so2", "--set", "model.l_max=4") == 1
    assert "spin-orbit coupling need l_max >= 5" in capsys.readouterr().err


def bent(two_centre: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """H that is a two-centre function of the length, but of no low degree in it."""
    S = structure.S
    r = np.repeat(np.linalg.norm(pair_vectors(structure.system, S.pairs), axis=1), S.shapes.prod(axis=1))
    H = PairBlocks(S.pairs, S.shapes, predict(two_centre, structure).entries * (1 + 0.5 * np.sin(4 * r)))
    return Hamiltonian(structure.system, structure.basis, S, H, source=structure.source)


def test_slater_koster_learns_integrals_that_no_low_degree_has():
    """The radial functions are trained on top of those of the least squares fit; they hold for a structure that was not seen."""
    plain = FAMILIES["slater-koster"]
    two_centre = make_model([make_structure(n) for n in range(4)], plain, seed=5)
    *known, new = (bent(two_centre, make_structure(n)) for n in range(4))
    torch.manual_seed(0)
    sizes = {"baseline_degree": 2, "n_radial": 16, "radial_hidden": 32, "rank": 8, "chunk_bonds": None}
    model = fit_model(plain.model_copy(update=sizes), known).double()
    graphs = [make_graph(s, model, targets=True) for s in known]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        for graph in graphs:
            compute_loss(model, graph, LossConfig())[0].backward()
        optimizer.step()
    before, after = (np.abs(predict(m, new).entries - new.hamiltonian.entries).mean() for m in (baseline_alone(model), model))
    assert after < 0.4 * before


def test_e3_learns_blocks_without_any_symmetry():
    structure, losses = make_structure(3), []
    torch.manual_seed(0)
    model = fit_model(FAMILIES["e3"], [structure]).double()
    graph = make_graph(structure, model, targets=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(21):
        optimizer.zero_grad()
        loss = compute_loss(model, graph, LossConfig())[0]
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_is_estimated(models, family):
    """Memory of the features: those of the two-centre model are a small part of the others'."""
    assert models[family].trunk.memory(1000) > 0
    assert models["slater-koster"].trunk.memory(1000) < 0.2 * models["e3"].trunk.memory(1000)


def test_e3_keeps_no_constants_of_e3nn_in_its_file(models):
    """Couplings are made anew in the precision of the network; a file with them would depend on the version of the library."""
    names = set(models["e3"].state_dict())
    assert names == {*(n for n, _ in models["e3"].named_parameters()), *(n for n in names if "baselines" in n or n.endswith("centres"))}
    Q = random_rotation(3)
    assert e3_layers._built.cache_info().currsize > 0
    assert largest(predict(models["e3"], rotated(make_structure(1), Q)),
                   rotated_blocks(predict(models["e3"], make_structure(1)), make_structure(1), Q)) < 1e-11  # fmt: skip


@pytest.mark.parametrize(("family", "more"), [("e3", {"potential": True}), ("slater-koster", {})])
def test_every_family_learns_what_h0_leaves(family, more):
    """H - H0, with "e3" potentials of shells as well."""
    config = FAMILIES[family].model_copy(update=more)
    model = make_given_model(config)
    assert model.given.zeroth
    errors = symmetry_errors(model, make_known(1), 1)
    assert max(errors.values()) < 1e-10, errors
