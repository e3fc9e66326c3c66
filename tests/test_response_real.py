"""Optics of OpenMX runs."""

import numpy as np
import pytest
from test_response import light

from postprocess.response.dichroism import dichroism, edges
from postprocess.response.optics import optical_response, smallest_direct_gap
from postprocess.response.second_order import direct_current
from postprocess.states.fermi import FermiLevel
from preprocess.readers import openmx


def read(shared_data, name):
    data = openmx.read(shared_data / "openmx" / name)
    return data, FermiLevel(data.fermi_energy, data.fermi_energy, data.fermi_energy, "stored")


def test_valleys_of_mos2_take_opposite_light(shared_data):
    data, _ = read(shared_data, "mos2_soc")
    found = dichroism(data, [[1 / 3, 1 / 3, 0], [-1 / 3, -1 / 3, 0]], [24, 25], [26, 27])
    assert np.abs(found.degree).min() > 0.999
    assert found.degree[0, 0] == pytest.approx(-found.degree[0, 1], abs=1e-6)
    assert edges(data, [[0.2, 0.1, 0.0]], data.fermi_energy) == ([25], [26])


def test_optical_onset_of_mos2_is_its_smallest_direct_gap(shared_data):
    data, fermi = read(shared_data, "mos2_soc")
    found = optical_response(data, fermi, light((3, 3, 1), 0, 3, 151, width=0.02))
    assert found.conditions.reversal
    gap, k = smallest_direct_gap(data, (3, 3, 1), found.conditions)
    assert np.abs(np.abs(k[:2]) - 1 / 3).max() < 1e-9  # K is on this mesh
    absorption = np.einsum("maa->m", found.interband.real)
    first = found.energies[np.argmax(absorption > 0.01 * absorption.max())]
    assert first == pytest.approx(gap, abs=3 * 0.02)
    assert gap == pytest.approx(1.6, abs=0.15)


def test_components_and_second_order_of_gallium_arsenide(shared_data):
    """Only xyz and its permutations; what the grid of the run breaks is small. The dielectric tensor is a number."""
    data, fermi = read(shared_data, "gaas")
    settings = light(4, 0, 8, 33, width=0.3)
    found = optical_response(data, fermi, settings)
    epsilon = found.electronic
    off = np.abs(epsilon - epsilon[0, 0] * np.eye(3)).max()
    assert off < 0.02 * epsilon[0, 0]  # H breaks its group by 27 meV, the mesh has much weight at Gamma
    values = direct_current(data, "shift", fermi, settings).values
    allowed = np.array([[[len({a, b, c}) == 3 for c in range(3)] for b in range(3)] for a in range(3)])
    peak = np.abs(values[:, allowed]).max()
    assert peak > 1e-5
    assert np.abs(values[:, ~allowed]).max() < 0.05 * peak


def test_silicon_has_no_shift_current(shared_data):
    data, fermi = read(shared_data, "si2")
    gallium, level = read(shared_data, "gaas")
    settings = light(3, 0, 6, 13, width=0.3)
    none = np.abs(direct_current(data, "shift", fermi, settings).values).max()
    assert none < 0.01 * np.abs(direct_current(gallium, "shift", level, settings).values).max()
