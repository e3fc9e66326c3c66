"""Responses of second order of OpenMX runs, as they come and averaged over their group; r of the overlap engine; Kramers and Kronig."""

from dataclasses import replace

import numpy as np
import pytest
from test_overlap_engine import engine_of
from test_response import light
from test_response_real import read

from postprocess.response.harmonic import second_harmonic
from postprocess.response.optics import optical_response
from postprocess.response.second_order import direct_current

ALLOWED = np.array([[[len({a, b, c}) == 3 for c in range(3)] for b in range(3)] for a in range(3)])


def spectrum(kind, data, fermi, settings):
    """(m, 3, 3, 3)."""
    if kind == "harmonic":
        return second_harmonic(data, fermi, settings).values
    return direct_current(data, kind, fermi, settings).values


@pytest.fixture(scope="module")
def gallium_arsenide(shared_data):
    data, fermi = read(shared_data, "gaas")
    return data, data.symmetrized(), fermi


@pytest.mark.parametrize(("kind", "broken"), [("shift", 1e-3), ("harmonic", 1e-4)])
def test_gallium_arsenide_has_the_components_of_its_group(gallium_arsenide, kind, broken):
    """Zinc blende: xyz and its permutations, all equal; its own H, 27 meV from its images, has others."""
    raw, symmetric, fermi = gallium_arsenide
    settings = light(4, 0, 8, 17, width=0.3, scissor=0.8)
    values = spectrum(kind, symmetric, fermi, settings)
    peak = np.abs(values[:, ALLOWED]).max()
    assert peak > {"shift": 1e-5, "harmonic": 100}[kind]
    assert np.abs(values[:, ~ALLOWED]).max() < 1e-6 * peak
    assert np.ptp(values[:, ALLOWED], axis=1).max() < 1e-6 * peak
    as_it_comes = spectrum(kind, raw, fermi, settings)
    assert broken * peak < np.abs(as_it_comes[:, ~ALLOWED]).max() < 0.2 * peak


def test_linear_light_injects_no_current_into_gallium_arsenide(gallium_arsenide):
    """Time reversal forbids it; also where the whole zone is summed, because H might be complex."""
    _, data, fermi = gallium_arsenide
    whole = replace(data, H=replace(data.H, entries=data.H.entries.astype(complex)))
    found = direct_current(whole, "injection", fermi, light(3, 0, 8, 17, width=0.3))
    assert not found.conditions.reversal
    turned = direct_current(data, "injection", fermi, light(3, 0, 8, 17, width=0.3))
    assert turned.conditions.reversal
    assert np.abs(turned.values.real).max() == 0
    size = np.abs(spectrum("injection", strained(data), fermi, light(3, 0, 8, 17, width=0.3)).imag).max()  # of circular light
    assert np.abs(found.values).max() < 1e-9 * size


def strained(data):
    """H with some of its bonds 2 % stronger: without the group, and with time reversal."""
    first = (data.S.pairs[:, 3] == 0) & (data.S.pairs[:, 4] == 1) & (data.S.pairs[:, 0] == 0)
    second = (data.S.pairs[:, 3] == 1) & (data.S.pairs[:, 4] == 0) & (data.S.pairs[:, 0] == 0)
    chosen = np.repeat(first | second, data.S.shapes.prod(axis=1))
    return replace(data, H=replace(data.H, entries=np.where(chosen, 1.02 * data.H.entries, data.H.entries)))


def test_silicon_has_no_second_order(shared_data, gallium_arsenide):
    """Inversion through the middle of the bond, which its own H keeps as well, 1.6 meV from its images under the other operations."""
    raw, fermi = read(shared_data, "si2")
    settings = light(3, 0, 6, 7, width=0.3)
    for kind in ("shift", "harmonic"):
        size = np.abs(spectrum(kind, *gallium_arsenide[1:], settings)).max()
        for data in (raw, raw.symmetrized()):
            assert np.abs(spectrum(kind, data, fermi, settings)).max() < 1e-8 * size


def test_responses_with_r_of_the_overlap_engine(shared_data, gallium_arsenide):
    """OpenMX integrates r on its grid, the engine along the bonds: they differ by 2e-4 Angstrom, the responses by less."""
    _, data, fermi = gallium_arsenide
    _, engine = engine_of(shared_data, "gaas")
    ours = replace(data, r=engine.compute(data.system, "position", data.S.pairs))
    assert 1e-6 < np.abs(ours.r.entries - data.r.entries).max() < 2e-4
    settings = light(3, 0, 8, 9, width=0.3)
    for kind in ("shift", "harmonic"):
        one, other = (spectrum(kind, h, fermi, settings) for h in (data, ours))
        assert np.abs(one - other).max() < 1e-4 * np.abs(one).max()
    one, other = (optical_response(h, fermi, settings).susceptibility for h in (data, ours))
    assert np.abs(one - other).max() < 1e-5 * np.abs(one).max()


def test_kramers_and_kronig_of_gallium_arsenide(gallium_arsenide):
    """The real part of epsilon at each photon energy from the imaginary parts at every second other one (Maclaurin's formula)."""
    _, data, fermi = gallium_arsenide
    found = optical_response(data, fermi, light(2, 0, 150, 3001, width=0.3))
    E, epsilon = found.energies, found.epsilon[:, 0, 0]
    for place in range(0, 161, 5):
        other = slice(1 - place % 2, None, 2)
        integral = (E[other] * epsilon.imag[other] / (E[other] ** 2 - E[place] ** 2)).sum() * 2 * E[1]
        assert 1 + 2 / np.pi * integral == pytest.approx(epsilon.real[place], abs=0.01 * np.abs(epsilon).max())
