"""A new model fitted to a set of structures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from training_case import make_structure

from deeph.config import ModelConfig
from deeph.nn import fit
from deeph.nn.baseline import EDGE, FLOOR, KNOTS, PairBaseline
from deeph.nn.baseline_fit import BEND
from deeph.nn.fit import _coefficients, fit_model
from deeph.physics.pairs import pair_vectors

TINY = ModelConfig(
    node_channels=2, node_pseudo_channels=1, bond_channels=2, bond_pseudo_channels=1, rank=2, n_layers=1, baseline_degree=2, n_radial=4
)


def test_rare_elements_are_fitted_however_large_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline sees a sample of a large set; an element that only one structure holds must be in it."""
    monkeypatch.setattr("deeph.nn.fit.MAX_STRUCTURES", 1)
    model = fit_model(TINY, [make_structure(0, third=6), make_structure(1, third=6), make_structure(2, third=1)])
    assert torch.count_nonzero(model.baseline().atom_mean(1)) > 0
    assert torch.count_nonzero(model.baseline().pair((1, 6)).series) > 0


def bending_by_quadrature(pair: PairBaseline) -> np.ndarray:
    """Integrals of the products of second derivatives, each on its own."""
    domain = [float(pair.shortest), float(pair.cutoff)]
    second = [np.polynomial.Chebyshev.basis(n, domain).deriv(2) for n in range(pair.degree + 1)]
    return np.array([[quad(lambda r, p=p, q=q: p(r) * q(r), *domain)[0] for p in second] for q in second])


def plain_fit(r: np.ndarray, c: np.ndarray, pair: PairBaseline) -> tuple[np.ndarray, np.ndarray, float]:
    """Series, log scale and what is left, all bonds at once, with plain numpy."""
    cut, low = float(pair.cutoff), float(pair.shortest)
    x = 2 * (np.clip(r, low, cut) - low) / (cut - low) - 1
    u = np.clip((r - (cut - EDGE)) / EDGE, 0, 1)
    fall = 1 - u**3 * (10 - 15 * u + 6 * u**2)
    F = np.polynomial.chebyshev.chebvander(x, pair.degree) * fall[:, None]
    knots = np.linspace(-1, 1, KNOTS)

    def kernel(width):
        return np.exp(-0.5 * ((x[:, None] - knots) * (KNOTS - 1) / (2 * width)) ** 2)

    key, plus = pair.key.numpy(), pair.sigma_plus
    size = (c[:, plus] ** 2).mean(0) + FLOOR**2
    weight = 1 / (0.1**2 * size * np.ones((len(r), 1)))
    for _ in range(3):
        series = np.zeros((pair.degree + 1, len(plus)))
        for k in range(len(plus)):
            A = F.T @ (weight[:, k, None] * F)
            A += (bending_by_quadrature(pair) / BEND**2 + np.eye(len(A)) / 100**2) / size[k]
            series[:, k] = np.linalg.solve(A, F.T @ (weight[:, k] * c[:, plus[k]]))
        left = c.copy()
        left[:, plus] -= F @ series
        w = kernel(0.5)
        power = np.stack([(left**2)[:, key == k].mean(1) for k in range(key.max() + 1)], 1)
        count, falls = w.sum(0), w.T @ fall**2
        known = np.flatnonzero((count > 1) & (falls > 1e-4 * count))
        log = 0.5 * np.log((w.T @ power)[known] / falls[known, None] + FLOOR**2)
        log = log[np.abs(np.arange(KNOTS)[:, None] - known).argmin(1)]
        w = kernel(1.0)
        sigma = np.exp(w / w.sum(1, keepdims=True) @ log)[:, key] * fall[:, None]
        weight = 1 / (sigma[:, plus] ** 2 + 0.01**2 * size)
    return series, log, float((left**2).sum())


def test_the_sums_give_the_fit_of_all_bonds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Structure by structure, kept or made anew, as with everything in memory."""
    structures = [make_structure(seed, third=6 if seed % 2 else 1) for seed in range(6)]
    model = fit_model(TINY, structures)
    tables, baseline = model.tables("A0"), model.baseline()
    parts = [_coefficients(s, model)["A0"] for s in structures]
    squares = []
    occurring = [kind for kind in tables.pairs if any(kind in p.pairs for p in parts)]
    assert len(occurring) == 2  # C-C and H-C
    for kind in occurring:
        r = np.concatenate([p.pairs[kind].r.numpy() for p in parts if kind in p.pairs])
        c = np.concatenate([p.pairs[kind].coefficients[:, 0].numpy() for p in parts if kind in p.pairs])
        if kind[0] == kind[1]:
            table = tables.pairs[kind]
            r, c = np.concatenate([r, r]), np.concatenate([c, c[:, table.exchanged] * table.exchange_sign])
        pair = baseline.pair(kind)
        assert float(pair.shortest) == pytest.approx(min(r.min(), float(pair.cutoff) - EDGE))
        series, log, square = plain_fit(r, c, pair)
        np.testing.assert_allclose(pair.series.numpy(), series, atol=1e-7)
        np.testing.assert_allclose(pair.log_scale.numpy(), log, atol=1e-7)
        squares.append((square, c.size))
    assert float(baseline.unit_offsite) == pytest.approx((sum(s for s, _ in squares) / sum(n for _, n in squares)) ** 0.5 + FLOOR)
    squares = []
    for z, table in tables.atoms.items():
        c = np.concatenate([p.atoms[z].coefficients[:, 0].numpy() for p in parts if z in p.atoms])
        isotropic = [start for *_, L, start in table.paths if L == 0]
        mean = np.zeros(table.size)
        mean[isotropic] = c[:, isotropic].mean(0)
        np.testing.assert_allclose(baseline.atom_mean(z).numpy(), mean, atol=1e-12)
        for *_, L, start in table.paths:
            rms = (((c - mean)[:, start : start + 2 * L + 1] ** 2).mean() + FLOOR**2) ** 0.5
            np.testing.assert_allclose(baseline.atom_scale(z).numpy()[start : start + 2 * L + 1], rms, atol=1e-9)
        squares.append((((c - mean) ** 2).sum(), c.size))
    assert float(baseline.unit_onsite) == pytest.approx((sum(s for s, _ in squares) / sum(n for _, n in squares)) ** 0.5 + FLOOR)
    monkeypatch.setattr("deeph.nn.fit.MAX_BYTES", 0)
    again = fit_model(TINY, structures)
    for name, values in again.baseline().state_dict().items():
        assert torch.equal(values, baseline.state_dict()[name]), name


def test_coefficients_in_memory_stay_below_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = [make_structure(seed) for seed in range(4)]
    model = fit_model(TINY, structures)
    found = [part for s in structures for part in _coefficients(s, model).values()]
    sizes = [tensor.nbytes for part in found for sample in (*part.pairs.values(), *part.atoms.values()) for tensor in sample]
    monkeypatch.setattr("deeph.nn.fit.MAX_BYTES", sum(sizes) // 2)
    made: list[int] = []
    plain = fit._coefficients
    monkeypatch.setattr("deeph.nn.fit._coefficients", lambda *args: made.append(1) or plain(*args))
    samples = fit.Samples(structures, [0, 1, 2, 3], model)
    for _ in range(3):
        assert len(list(samples)) == 4
    assert 4 < len(made) < 12
    assert samples._room >= 0


def test_cutoffs_and_degree_by_hand() -> None:
    """Known radii add up, else the longest bond of all structures and an edge; every atom counts its neighbours on all sides."""
    structures = [make_structure(seed, third=third) for seed, third in ((0, 6), (1, 1), (2, 1))]
    model = fit_model(TINY, structures)
    bonds = []  # element i, element j, length; in both directions
    for s in structures:
        r = np.linalg.norm(pair_vectors(s.system, s.S.pairs), axis=1)
        z = s.system.numbers[s.S.pairs[:, 3:]]
        bonds += [(int(a), int(b), float(x)) for (a, b), x in zip(z, r, strict=True) if x > 0]
    longest = {kind: max(x for a, b, x in bonds if tuple(sorted((a, b))) == kind) for kind in ((1, 6), (6, 6))}
    assert model.cutoffs == pytest.approx({(1, 1): max(longest.values()) + EDGE, **{kind: x + EDGE for kind, x in longest.items()}})
    u = np.array([x / model.cutoffs[min(a, b), max(a, b)] for a, b, x in bonds])
    envelope = 1 - u**3 * (10 - 15 * u + 6 * u**2)
    assert model.degree == pytest.approx((envelope**2).sum() / sum(s.system.n_atoms for s in structures))
    known = [replace(s, source={"orbital_radii": {"C": 1.8, "H": 1.2}}) for s in structures]
    assert fit_model(TINY, known).cutoffs == pytest.approx({(1, 1): 2.4, (1, 6): 3.0, (6, 6): 3.6})  # H-H never occurs
    assert fit_model(TINY, [replace(known[0], source={"orbital_radii": {"H": 1.2}})]).cutoffs[6, 6] == pytest.approx(
        max(x for s in structures[:1] for x in np.linalg.norm(pair_vectors(s.system, s.S.pairs), axis=1)) + EDGE
    )
