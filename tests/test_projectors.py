"""Fat bands: partitions add up, symmetric partners share, spins are those of an exact model."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics import layers
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import compute_bands
from postprocess.cli.projectors import parse_group, read_groups
from postprocess.eigen.hermitian import hermitian
from postprocess.lattice.kpath import make_kpath
from postprocess.states.layers import find_layers
from postprocess.states.projectors import UserFunction, make_projectors
from postprocess.states.spectrum import compute_spectrum

K = np.array([[0.0, 0, 0], [0.13, -0.27, 0], [1 / 3, 1 / 3, 0]])


def weights(data, k=K, **options):
    data = hermitian(data)
    return compute_spectrum(data, k, projectors=make_projectors(data, **options)).weights


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_a_partition_adds_up_to_one(spin, seed):
    data = random_model(seed, spin=spin)
    for kind in ("element", "shell", "atom"):
        assert np.allclose(sum(weights(data, kinds=[kind]).values()), 1, atol=1e-10)
    by_atom = weights(data, kinds=["atom"])
    assert np.allclose(weights(data, groups={"two": [0, 2]})["two"], by_atom["C1"] + by_atom["C3"])


def test_layers_of_the_twisted_bilayer_are_equivalent(shared_data):
    """A rotation exchanges the layers of the 28-atom cell, so non-degenerate states at Gamma lie half on each."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "tbg28")
    layer = find_layers(data.system)
    assert np.bincount(layer).tolist() == [14, 14]
    assert data.system.positions[layer == 0, 2].max() < data.system.positions[layer == 1, 2].min()
    found = weights(data, np.zeros((1, 3)), kinds=["layer"])
    assert list(found) == ["layer 1", "layer 2"]
    assert found["layer 1"].sum() == pytest.approx(182, abs=0.01)  # sum over all states: the orbitals of the layer, nearly
    spectrum = compute_spectrum(hermitian(data), np.zeros((1, 3)))
    alone = np.diff(spectrum.energies[0, 0], prepend=-1e9, append=1e9)
    single = (alone[1:] > 1e-2) & (alone[:-1] > 1e-2)
    assert single.sum() > 20
    assert np.abs(found["layer 1"][0, 0, single] - 0.5).max() < 5e-3


@pytest.mark.parametrize(("gap", "expected"), [(2.1, [0, 0, 1]), (2.3, [0, 1, 2])])
@pytest.mark.parametrize("axis", [0, 2])
def test_layers_are_those_that_structures_are_made_of(axis, gap, expected):
    """Along any lattice vector, also where the slab lies across the boundary of the cell."""
    heights = np.array([0, gap, gap + 3.0]) + 28.0
    system = System(np.roll(np.diag([3.0, 3.0, 30.0]), axis - 2, (0, 1)), heights[:, None] * np.eye(3)[axis], np.full(3, 6))
    assert find_layers(system).tolist() == layers.find_layers(system, axis=axis).tolist() == expected


def test_sublattices_of_graphene(mini_graphene):
    """By inversion both carbon atoms have equal shares; the states next to E_F are p states."""
    path = make_kpath(mini_graphene.system, "GMKG", n_points=20)
    data = hermitian(mini_graphene)
    projectors = make_projectors(data, ["shell"], {"A": [0], "B": [1]})
    bands = compute_bands(data, path, projectors=projectors)
    assert list(bands.weights) == ["C s", "C p", "A", "B"]
    at_M = np.argmin(np.abs(path.k - (0.5, 0, 0)).sum(1))
    assert np.allclose(bands.weights["A"][0, at_M], 0.5, atol=1e-4)
    assert bands.weights["C p"][0, at_M, 3] == pytest.approx(1, abs=1e-6)
    assert bands.weights["C s"][0, at_M, 0] > 0.5


def test_spin_of_a_polarized_model():
    """Spinors of a spin-independent H plus a field along a direction n: sx, sy, sz of every state are +-n."""
    n = np.array([0.48, -0.6, 0.64])
    base = random_model(4)
    data = base.to_spinor()
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    field = np.einsum("a,ast->st", n, pauli)

    zeeman = base.S.to_spinor().mapped(lambda blocks, _: _times(field, blocks))
    data = replace(data, H=replace(data.H, entries=data.H.entries + 0.3 * zeeman.entries))
    found = weights(data, kinds=["spin"])
    s = np.stack([found[name] for name in ("sx", "sy", "sz")], -1)
    assert np.allclose(np.abs(s @ n), 1, atol=1e-8)
    with pytest.raises(UsageError, match="need spinors"):
        make_projectors(base, ["spin"])


def _times(field, blocks):
    """[[S, 0], [0, S]] blocks times a 2 x 2 matrix in spin space."""
    half = blocks[..., : blocks.shape[-2] // 2, : blocks.shape[-1] // 2]
    return np.block([[field[s, t] * half for t in range(2)] for s in range(2)])


def test_a_function_of_the_user(tmp_path, mini_graphene):
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\ndef height(states):\n    return {'E': states.energies, 'one': states.populations.sum(0)}\n")
    spectrum = compute_spectrum(hermitian(mini_graphene), K, projectors=[UserFunction.from_text(f"{file}:height")])
    assert np.array_equal(spectrum.weights["E"], spectrum.energies)
    assert np.allclose(spectrum.weights["one"], 1)
    file.write_text("def height(states):\n    return [1, 2]\n")
    with pytest.raises(DataError, match="expected 8 real numbers"):
        compute_spectrum(hermitian(mini_graphene), K, projectors=[UserFunction.from_text(f"{file}:height")])
    file.write_text("def other(states):\n    return 1/0\n")
    for name in ("height", "other"):
        with pytest.raises(DataError, match=r"mine\.py"):
            compute_spectrum(hermitian(mini_graphene), K, projectors=[UserFunction.from_text(f"{file}:{name}")])
    with pytest.raises(UsageError, match=r"valley\.py:polarisation"):
        UserFunction.from_text(str(file))


def test_the_function_of_the_page(tmp_path, shared_data):
    """The example of docs/bands.md on the twisted bilayer: one layer against the other."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = hermitian(openmx.read(shared_data / "openmx" / "tbg28"))
    page = (ROOT / "docs" / "bands.md").read_text(encoding="utf-8")
    code = next(c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def polarisation" in c)
    (tmp_path / "mine.py").write_text(code)
    projectors = make_projectors(data, ["layer"], functions=[f"{tmp_path / 'mine.py'}:polarisation"])
    found = compute_spectrum(data, K[1:2], projectors=projectors).weights
    assert np.allclose(found["polarisation"], found["layer 2"] - found["layer 1"], atol=1e-12)
    assert np.abs(found["polarisation"]).max() > 0.5


def test_groups_as_users_write_them(tmp_path):
    assert parse_group("A=1,3,5-8") == ("A", [0, 2, 4, 5, 6, 7])
    (tmp_path / "g.toml").write_text("A = [1, '3-4']\nB = [2]\n")
    (tmp_path / "g.json").write_text(json.dumps({"A": [1, "3-4"], "B": [2]}))
    assert read_groups(tmp_path / "g.toml") == read_groups(tmp_path / "g.json") == {"A": [0, 2, 3], "B": [1]}
    for text in ("A", "A=", "=1", "A=x", "A=1-", "A=5-3"):
        with pytest.raises(UsageError, match="counted from 1"):
            parse_group(text)
    (tmp_path / "g.toml").write_text("A = 1\n")
    with pytest.raises(DataError, match="list of atoms"):
        read_groups(tmp_path / "g.toml")
    with pytest.raises(UsageError, match="expected"):
        make_projectors(random_model(), groups={"A": [0, 7]})
    with pytest.raises(UsageError, match="expected"):
        make_projectors(random_model(), ["colour"])


def test_layers_across_the_cell_boundary():
    cell = np.diag([3.0, 3.0, 20.0])
    z = [19.5, 0.9, 4.3, 5.8, 19.0]  # 19.0, 19.5, 20.9 | 24.3, 25.8
    system = System(cell, np.array([[0.3 * n, 0, h] for n, h in enumerate(z)]), np.full(5, 6))
    assert find_layers(system).tolist() == [0, 0, 1, 1, 0]
    with pytest.raises(UsageError, match="groups of atoms"):
        find_layers(System(np.eye(3) * 3, np.zeros((1, 3)), np.array([6])))
