"""The network with spin against every symmetry of H; and networks that are broken on purpose, which must be caught.

H_ij between equal elements is compared with the same block evaluated from the other end: only that catches a wrong sign of exchange, since
in every prediction one of two partners is the adjoint of the other.
"""

from dataclasses import replace
from itertools import product
from unittest import mock

import numpy as np
import pytest
import torch
from network_case import POSITIONS, random_rotation
from spin_case import (
    KINDS,
    SPIN_TINY,
    acted,
    difference,
    make_spin_model,
    make_spin_structure,
    moved,
    part_sizes,
    predict,
    spin_errors,
)

from deeph.nn import channels, heads, irreps, so2, spin
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.eigenvalues import solve_at_k
from deeph.training.checkpoint import load_model, save_model

SYMMETRIES = {
    "spin-orbit": ["rotation", "reflection", "inversion", "roll", "exchange", "permutation", "time reversal"],
    "magnetic": ["rotation", "reflection", "inversion", "roll", "exchange", "permutation", "time reversal"],
    "non-collinear": ["rotation", "reflection", "inversion", "spin rotation", "roll", "exchange", "permutation", "time reversal"],
    "collinear": ["rotation", "reflection", "inversion", "roll", "exchange", "permutation", "time reversal"],
}


@pytest.fixture(scope="module")
def models() -> dict[str, HamiltonianModel]:
    return {kind: make_spin_model(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_every_symmetry(models, kind, seed):
    errors = spin_errors(models[kind], make_spin_structure(kind, seed), seed)
    assert set(SYMMETRIES[kind]) <= set(errors)
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("kind", KINDS)
def test_all_parts_are_predicted(models, kind):
    """A zero would pass every test of symmetry; and parts that the data do not have are exactly zero."""
    spin_kind, parts = KINDS[kind]
    sizes = part_sizes(predict(models[kind], make_spin_structure(kind, 7)), spin_kind)
    assert min(sizes[name] for name in parts) > 0.1
    assert all(size == 0 for name, size in sizes.items() if name not in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_nothing(models, kind):
    structure = make_spin_structure(kind, 3)
    model = models[kind]
    other = HamiltonianModel(
        model.config.model_copy(update={"chunk_bonds": 7}), model.basis, model.cutoffs, model.degree, model.trained,
        [p.name for p in model.spin], model.magnetic,
    )  # fmt: skip
    other.load_state_dict(model.state_dict(), assign=True)
    assert difference(predict(other.eval(), structure), predict(model, structure)) < 1e-13


def test_surroundings_matter(models):
    """Each part depends on atoms beyond the two of a block, and parts of magnets on moments of other atoms."""
    structure = make_spin_structure("magnetic", 7)
    moments = structure.moments.copy()
    moments[2] = random_rotation(5) @ moments[2]
    before, after = (predict(models["magnetic"], s) for s in (structure, replace(structure, moments=moments)))
    away = np.flatnonzero((structure.S.pairs[:, 3:] != 2).all(axis=1))
    assert np.abs(before.selected(away).entries - after.selected(away).entries).max() > 1e-3


def test_small_moments_are_no_input(models):
    """Moments of elements that are not magnetic are an outcome."""
    structure = make_spin_structure("magnetic", 7)
    silicon = structure.system.numbers == 14
    other = replace(structure, moments=np.where(silicon[:, None], 0.3, structure.moments))
    assert models["magnetic"].magnetic == {6: pytest.approx(2.0)}
    assert difference(predict(models["magnetic"], other), predict(models["magnetic"], structure)) == 0


def test_noise_is_no_moment(models):
    """A run without magnetism leaves 0.001 to 0.01 Bohr magneton; the norms of the network would make an exchange field of it."""
    structure = make_spin_structure("magnetic", 7)
    noise = replace(structure, moments=0.005 * structure.moments)
    sizes = part_sizes(predict(models["magnetic"], noise), "spinor")
    assert sizes["A"] == sizes["B0"] == 0
    small = part_sizes(predict(models["magnetic"], replace(structure, moments=0.02 * structure.moments)), "spinor")
    assert small["A"] > 0.1


def test_weak_magnets(models):
    """Where the mean moment itself is small, small moments count."""
    structure = make_spin_structure("magnetic", 7)
    weak = fit_model(SPIN_TINY, [replace(structure, moments=0.005 * structure.moments)])
    assert weak.magnetic == {6: pytest.approx(0.01)}
    graph = make_graph(replace(structure, moments=0.005 * structure.moments), weak, targets=False)
    assert np.linalg.norm(graph.moments.numpy(), axis=1) == pytest.approx([1, 0, 1, 0])


def test_without_moments_a_magnetic_model_is_even(models):
    structure = replace(make_spin_structure("magnetic", 7), moments=None)
    sizes = part_sizes(predict(models["magnetic"], structure), "spinor")
    assert sizes["A"] == sizes["B0"] == 0
    assert sizes["B"] > 0.1


def test_collinear_is_a_case_of_non_collinear(models):
    """The same weights, spin vectors of one component or of three with two of them zero."""
    collinear = make_spin_structure("collinear", 4)
    model = models["collinear"]
    basis = replace(model.basis, spin="spinor")
    spinor = HamiltonianModel(model.config, basis, model.cutoffs, model.degree, model.trained, ["A0", "A"], model.magnetic)
    spinor.load_state_dict(model.state_dict(), assign=True)
    other = predict(spinor.eval(), replace(collinear, basis=basis, H=None))
    expected = replace(collinear, H=predict(model, collinear)).to_spinor()
    assert difference(other, expected.hamiltonian) < 1e-13


def test_moments_turned_with_the_structure_fixed(models):
    """Without spin-orbit coupling: U H U^dagger. With it the same must fail, or spin and space would not be coupled."""
    R = random_rotation(11)
    for kind, holds in (("non-collinear", True), ("magnetic", False)):
        structure = make_spin_structure(kind, 5)
        turned = predict(models[kind], moved(structure, np.eye(3), R))
        error = difference(turned, acted(predict(models[kind], structure), structure, np.eye(3), R))
        assert (error < 1e-13) if holds else (error > 1e-2), kind


def test_kramers_pairs(models):
    """Without magnetism and without inversion: doubly degenerate at the invariant points, and only there."""
    structure = make_spin_structure("spin-orbit", 2)
    structure = replace(structure, H=predict(models["spin-orbit"], structure))
    H, S = structure.H_bloch, structure.S_bloch
    for k, together in (([0, 0, 0], True), ([0.5, 0, 0.5], True), ([0.2, 0.1, 0.3], False)):
        levels = solve_at_k(H.dense(np.array(k)), S.dense(np.array(k)), np.array(k))
        split = np.abs(levels[::2] - levels[1::2]).max()
        assert (split < 1e-9) if together else (split > 1e-3), (k, split)


@pytest.mark.parametrize("centre", [True, False])
def test_inversion_and_time_reversal(models, centre):
    """Together they make every level doubly degenerate at every k; with one atom moved only at the k that are their own opposites."""
    half = POSITIONS[:2] + np.array([0.4, 0.5, 0.3])
    positions = np.concatenate([half, -half])
    positions[0] += [0, 0, 0] if centre else [0.1, -0.05, 0.2]
    cell = np.array([[4.4, 0, 0], [0.5, 4.6, 0], [0.2, -0.4, 4.3]])
    structure = make_spin_structure("spin-orbit", 0, positions, noise=0, cell=cell)
    H = replace(structure, H=predict(models["spin-orbit"], structure)).H_bloch

    def largest_split(*k):
        levels = np.linalg.eigvalsh(H.dense(np.array(k)))
        assert np.ptp(levels) > 1
        return np.abs(levels[::2] - levels[1::2]).max()

    for k in product((0, 0.5), repeat=3):
        assert largest_split(*k) < 1e-9, k
    split = largest_split(0.2, 0.1, 0.3)
    assert (split < 1e-9) if centre else (split > 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_model_files(models, kind, tmp_path):
    save_model(tmp_path / "model.safetensors", models[kind], {})
    again = load_model(tmp_path / "model.safetensors")
    structure = make_spin_structure(kind, 1)
    assert again.magnetic == models[kind].magnetic
    assert difference(predict(again, structure), predict(models[kind], structure)) == 0


def _wrong_spin(*, cos_sin: bool = False, sigma_plus: bool = False, exchange: bool = False) -> list[irreps.Irrep]:
    z, plane = irreps.SPIN
    if cos_sin:
        plane = plane._replace(components=np.eye(3)[:2])
    if sigma_plus:
        z = z._replace(mirror=1)
    if exchange:
        plane = plane._replace(exchange=1)
    return [z, plane]


def _even_exchange() -> tuple[spin.SpinPart, ...]:
    plain = spin.spin_parts("spinor", ("A0", "A", "B"))
    return tuple(p._replace(sources=((channels.EXCHANGE, False), (channels.SCALAR, True))) if p.name == "A" else p for p in plain)


@pytest.fixture
def fresh_blocks():
    """Tables are cached; wrong ones must not stay."""
    irreps._block.cache_clear()
    yield
    irreps._block.cache_clear()


@pytest.mark.usefixtures("fresh_blocks")
@pytest.mark.parametrize(
    ("wrong", "symmetry"),
    [({"cos_sin": True}, "reflection"), ({"sigma_plus": True}, "reflection"), ({"exchange": True}, "exchange")],
    ids=["(cos, sin) = (sigma_x, sigma_y)", "sigma_z is Sigma+", "s_a = +++"],
)
def test_wrong_labels_of_spin_are_caught(wrong, symmetry):
    with mock.patch.object(irreps, "SPIN", _wrong_spin(**wrong)):
        errors = spin_errors(make_spin_model("spin-orbit"), make_spin_structure("spin-orbit", 0))
    assert errors[symmetry] > 1e-3, errors
    if symmetry == "exchange":
        assert errors["rotation"] < 1e-12, "nothing else sees it"


@pytest.mark.usefixtures("fresh_blocks")
def test_the_minus_of_the_antisymmetric_part_is_needed():
    with mock.patch.object(spin.SpinPart, "antisymmetric", property(lambda self: self.name == "B0")):
        errors = spin_errors(make_spin_model("spin-orbit"), make_spin_structure("spin-orbit", 0))
    assert errors["exchange"] > 1e-3, errors


def test_an_even_exchange_field_is_caught():
    with mock.patch("deeph.nn.model.spin_parts", return_value=_even_exchange()):
        errors = spin_errors(make_spin_model("magnetic"), make_spin_structure("magnetic", 0))
    assert errors["time reversal"] > 1e-2, errors


def test_an_odd_feature_among_even_ones_is_caught(models):
    """The spin-free part that saw a moment would change with its sign."""
    plain = heads.features_of

    def mixed(e, layout, sort):
        own = plain(e, layout, sort)
        return [s + 0.02 * e[layout.l_max + 2][:1, :1, :, :1] for s in own] if sort == channels.SCALAR else own

    with mock.patch("deeph.nn.readout.features_of", mixed):
        errors = spin_errors(models["magnetic"], make_spin_structure("magnetic", 0))
    assert errors["time reversal"] > 1e-4, errors


def test_a_gate_that_reads_an_odd_feature_is_caught(models):
    """A magnetic Sigma+g is a scalar to all else: only time reversal sees it in a gate."""
    plain, model = so2.Gate.forward, models["magnetic"]
    sigma = next(n for n, row in enumerate(model.trunk.layout.sectors) if row.sort == channels.MAGNETIC)

    def mixed(gate, x):
        scalars = x[0].clone()
        scalars[0, 0, :, gate.plain[0] :] += 0.1 * x[sigma][0, 0, :, :1]
        return plain(gate, [scalars, *x[1:]])

    with mock.patch.object(so2.Gate, "forward", mixed):
        errors = spin_errors(model, make_spin_structure("magnetic", 0))
    assert errors.pop("time reversal") > 1e-4
    assert max(errors.values()) < 1e-12, errors


def test_a_moment_of_natural_parity_is_caught(models):
    """A polar moment: rotations hold, reflections do not."""
    plain = channels.Channels.start

    def wrong(self, sort, *, pseudo=False):
        return plain(self, sort, pseudo=pseudo and sort != channels.MAGNETIC)

    with mock.patch.object(channels.Channels, "start", wrong):
        errors = spin_errors(models["magnetic"], make_spin_structure("magnetic", 0))
    assert errors["reflection"] > 1e-4, errors


def test_float32_is_close(models):
    """The network in single precision, as it is trained; the baseline stays in double precision."""
    structure = make_spin_structure("magnetic", 3)
    model = make_spin_model("magnetic", SPIN_TINY).float()
    from deeph.inference import predict_anyway

    single = predict_anyway(model, structure).hamiltonian
    assert single.entries.dtype == np.complex64
    assert np.abs(single.entries - predict(models["magnetic"], structure).entries).max() < 1e-3
    assert make_graph(structure, model, targets=True)["offsite_target_A"].dtype == torch.float32
