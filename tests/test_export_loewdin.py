"""Orthonormal models: exact on the mesh, converging between its points, with the dipoles of H."""

from dataclasses import replace

import numpy as np
import pytest
from export_cases import te_chain
from lattice_models import changed_basis, graphene, hypercubic
from scipy.linalg import eigh

from deeph.physics.bloch import BlochMatrix
from deeph.runtime.errors import DataError, UsageError
from postprocess.export.layout import with_spin
from postprocess.export.loewdin import loewdin
from preprocess.readers import openmx


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return te_chain(tmp_path_factory.mktemp("te"))


def interband(h, k, levels):
    """|<n| r_a |m>|^2 between groups of levels, summed over each group, by the formula of the non-orthogonal basis."""
    H, S = h.H_bloch.dense(k), h.S_bloch.dense(k)
    E, C = eigh(H, S)
    r = BlochMatrix(h.system, with_spin(h, h.r), h.S_bloch.pattern)
    out = []
    for a in range(3):
        dH, dS = (matrix.derivative(k, [a]).toarray() for matrix in (h.H_bloch, h.S_bloch))
        left, right = (slice(*group) for group in levels)
        A = r.dense(k, component=a) + 1j * dS
        covariant = (C.conj().T @ dH @ C - (C.conj().T @ dS @ C) * E) / np.where(np.abs(E - E[:, None]) > 1e-6, E - E[:, None], np.inf)
        found = 1j * covariant + C.conj().T @ A @ C
        out.append((np.abs(found[left, right]) ** 2).sum())
    return np.array(out)


def interband_of_model(model, k, levels):
    """The same of an orthonormal model: no S in it anywhere."""
    phase = np.exp(2j * np.pi * (model.R @ k))
    E, C = np.linalg.eigh(model.bloch(k))
    out = []
    for a in range(3):
        dH = np.tensordot(1j * (model.R @ model.system.cell)[:, a] * phase, model.H[0], 1)
        A = np.tensordot(phase, model.r[a], 1)
        left, right = (slice(*group) for group in levels)
        rotated = (C.conj().T @ dH @ C) / np.where(np.abs(E - E[:, None]) > 1e-6, E - E[:, None], np.inf)
        out.append((np.abs((1j * rotated + C.conj().T @ A @ C)[left, right]) ** 2).sum())
    return np.array(out)


def test_an_orthonormal_h_stays_as_it_is():
    """Nothing is lost: S = 1 makes the model equal to H, whatever the mesh that holds its range."""
    h = graphene()
    model = loewdin(h, "kwant", mesh=(4, 4, 1), positions=True)
    assert model.error < 1e-12
    for R, H, r in zip(model.R.tolist(), model.H[0], model.r.swapaxes(0, 1), strict=True):
        stored = [tuple(p) for p in h.H.pairs.tolist()]
        for i in range(2):
            for j in range(2):
                expected = h.H.block((*R, i, j))[0, 0, 0] if (*R, i, j) in stored else 0.0
                assert abs(H[i, j] - expected) < 1e-12
        at = [h.system.positions[i] if R == [0, 0, 0] else np.zeros(3) for i in range(2)]
        assert np.abs(r - np.stack([np.diag([at[0][a], at[1][a]]) for a in range(3)])).max() < 1e-12


def test_any_basis_of_an_atom_gives_the_same_levels():
    """Random combinations of the orbitals of each atom: S no longer 1, but no wider."""
    h = graphene()
    model = loewdin(changed_basis(h), "kwant", mesh=(4, 4, 1))
    assert model.error < 1e-12


def test_a_direction_without_mesh_is_not_left_out_of_the_error():
    """One point along a direction in which the levels disperse: they do not in the model."""
    model = loewdin(hypercubic(3), "kwant", mesh=(5, 5, 1))
    assert model.error > 1


@pytest.mark.parametrize("mesh", [(4, 4, 1), (9, 9, 1)])
def test_error_falls_with_the_mesh(mini_graphene, mesh):
    """A mesh of its own gives each of its points exactly; the error told is that between them."""
    model = loewdin(mini_graphene, "wannier90", mesh=mesh)
    assert model.error < {4: 0.3, 9: 3e-4}[mesh[0]]
    assert model.error_low <= model.error
    for n in ((0, 0, 0), (1, 2, 0), (3, 1, 0)):
        k = np.array(n) / mesh
        assert np.abs(np.linalg.eigvalsh(model.bloch(k)) - mini_graphene.eigenvalues(k)).max() < 1e-9


def test_a_model_that_is_wrong_by_volts_says_what_to_do(mini_graphene, caplog):
    """Two k-points a direction are off by an eV and more; with enough of them nothing is said."""
    with caplog.at_level("WARNING", logger="deeph"):
        assert loewdin(mini_graphene, "wannier90", mesh=(2, 2, 1)).error > 1
    (record,) = caplog.records
    assert "--mesh 4 4 1" in record.getMessage()
    assert "wanniertools" in record.getMessage()
    caplog.clear()
    with caplog.at_level("WARNING", logger="deeph"):
        loewdin(mini_graphene, "wannier90", mesh=(9, 9, 1))
    assert not caplog.records


@pytest.mark.parametrize("k", [[2 / 15, 4 / 15, 0], [1 / 15, 7 / 15, 0]])
def test_dipoles_are_those_of_h(mini_graphene, k):
    """Between occupied and empty levels."""
    model = loewdin(mini_graphene, "wannier90", mesh=(15, 15, 1), positions=True)
    groups = ((0, 4), (4, 8))
    exact = interband(mini_graphene, np.array(k), groups)
    assert np.abs(interband_of_model(model, np.array(k), groups) - exact).max() < 1e-5


def test_dipoles_with_spin_orbit(chain):
    k = np.array([3 / 24, 0, 0])
    model = loewdin(chain, "wannier90", mesh=(24, 1, 1), positions=True)
    groups = ((0, 6), (6, 18))
    assert np.abs(interband_of_model(model, k, groups) - interband(chain, k, groups)).max() < 1e-5


def test_the_origin_moves_the_centres_alone(mini_graphene):
    t = np.array([0.13, 0.29, 0.41])
    sizes = mini_graphene.S.shapes.prod(axis=1)
    moved_r = replace(mini_graphene.r, entries=mini_graphene.r.entries + np.repeat(t[:, None], sizes.sum(), 1) * mini_graphene.S.entries)
    moved = replace(mini_graphene, system=replace(mini_graphene.system, positions=mini_graphene.system.positions + t), r=moved_r)
    one, other = (loewdin(h, "wannier90", mesh=(5, 5, 1), positions=True) for h in (mini_graphene, moved))
    assert np.array_equal(one.R, other.R)
    home = int(np.flatnonzero(~one.R.any(axis=1))[0])
    difference = other.r - one.r
    difference[:, home] -= t[:, None, None] * np.eye(8)
    assert np.abs(difference).max() < 1e-9


def test_atoms_of_other_cells(mini_graphene):
    """An atom given one lattice vector away: the model has the same levels and the same error."""
    shift = np.array([[0, 0, 0], [1, -1, 0]])
    pairs = mini_graphene.H.pairs.copy()
    pairs[:, :3] += shift[pairs[:, 3]] - shift[pairs[:, 4]]
    system = replace(mini_graphene.system, positions=mini_graphene.system.positions + shift @ mini_graphene.system.cell)
    away = replace(
        mini_graphene, system=system, H=replace(mini_graphene.H, pairs=pairs), S=replace(mini_graphene.S, pairs=pairs), r=None, extra={}
    )
    one, other = (loewdin(h, "wannier90", mesh=(4, 4, 1)) for h in (mini_graphene, away))
    assert other.error == pytest.approx(one.error, rel=1e-6)


def test_too_fine_a_mesh_is_refused_before_work(mini_graphene):
    with pytest.raises(UsageError, match=r"8 orbitals on 9999 x 9999 x 1 k-points take .* GiB are free: choose fewer k-points"):
        loewdin(mini_graphene, "wannier90", mesh=(9999, 9999, 1), positions=True)


def test_no_orthonormal_orbitals(mini_graphene):
    """Two equal atoms at one place."""
    S = mini_graphene.S
    broken = replace(S, entries=S.entries * np.where(np.repeat((S.pairs[:, 3] == S.pairs[:, 4]), S.shapes.prod(1)), 1.0, 6.0))
    with pytest.raises(DataError, match="there are no orthonormal orbitals"):
        loewdin(replace(mini_graphene, S=broken), "wannier90", mesh=(2, 2, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "coarse", "fine"), [("si2", (4, 4, 4), (8, 8, 8)), ("gaas", (4, 4, 4), (9, 9, 9)), ("mos2_soc", (6, 6, 1), (12, 12, 1))]
)
def test_real_crystals(shared_data, name, coarse, fine):
    """Large bases: levels on the mesh are exact, the error told falls with the mesh, r is Hermitian."""
    h = openmx.read(shared_data / "openmx" / name)
    told = []
    for mesh in (coarse, fine):
        model = loewdin(h, "wannier90", mesh=mesh, positions=mesh == coarse)
        told.append((model.error, model.error_low))
        k = np.array((1, 2, 0)) / mesh
        assert np.abs(np.linalg.eigvalsh(model.bloch(k)) - h.eigenvalues(k)).max() < 1e-8
        if model.r is not None:
            turned = int(np.flatnonzero((-model.R[7] == model.R).all(axis=1))[0])
            assert np.abs(model.r[:, 7] - model.r[:, turned].conj().swapaxes(1, 2)).max() < 1e-9
    assert (np.array(told[1]) < np.array(told[0]) / 3).all()
