"""Optics of OpenMX runs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_overlap_engine import engine_of
from test_response import light

import deeph
from deeph.physics.units import CONDUCTANCE
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.hall import FermiScan
from postprocess.response.anomalous import curvature_dipole
from postprocess.response.dichroism import dichroism, edges
from postprocess.response.measure import E2_OVER_HBAR
from postprocess.response.optics import optical_response, smallest_direct_gap
from postprocess.response.scan import Settings
from postprocess.response.second_order import direct_current
from postprocess.response.transitions import Absorption
from postprocess.states.adaptive import Refinement
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


def test_onset_of_bilayer_graphene(shared_data):
    """AB stacking: light reaches the bands that the other layer pushes away at their distance from the touching ones at K, and below.

    Between, the sheet conductivity is that of two parabolic or linear bands (D. S. L. Abergel and V. I. Fal'ko,
    doi:10.1103/PhysRevB.75.155430), here on a fan of k-points around K, whose other parts are images.
    """
    data = hermitian(openmx.read(shared_data / "openmx" / "bilayer_ab").symmetrized())
    low, first, second, high = data.eigenvalues([1 / 3, 1 / 3, 0])[6:10]
    assert second - first < 1e-8
    steps = first - low, high - second
    conditions = light(None, 0.15, 0.6, 91, width=0.01).conditions(data, FermiLevel(first, first, first, "touching bands"))
    reciprocal = 2 * np.pi * np.linalg.inv(data.system.cell).T
    K, radii, n_angles = np.array([1 / 3, 1 / 3, 0]) @ reciprocal, (np.arange(60) + 0.5) * 0.12 / 60, 3
    angles = np.arctan2(K[1], K[0]) + (np.arange(n_angles) + 0.5) * np.pi / 3 / n_angles
    q = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
    chi = Absorption(conditions).of(data)((K + q).reshape(-1, 3) @ data.system.cell.T / (2 * np.pi), 0)["chi"]
    plane = chi.imag[:, :, [0, 4]].mean(axis=2).reshape(len(radii), n_angles, -1).mean(axis=1)
    E = conditions.photons.energies
    per_area = 4 / (2 * np.pi) * (radii[1] - radii[0]) * E2_OVER_HBAR  # two spins, K and K'
    sheet = per_area * E * (radii @ plane)
    rise = np.gradient(sheet, E)
    assert E[np.argmax(rise)] == pytest.approx(np.mean(steps), abs=0.02)
    assert np.abs(np.subtract(*steps)) < 0.02
    inside = rise > 0.3 * rise.max()
    assert (E[inside].min(), E[inside].max()) == pytest.approx((min(steps), max(steps)), abs=0.02)
    gamma, universal = np.mean(steps), np.pi * CONDUCTANCE / 2
    expected = universal * ((E + 2 * gamma) / (E + gamma) + 2 * (gamma / E) ** 2 * (gamma < E))
    away = np.abs(E - gamma) > 0.05
    assert np.abs(sheet / expected - 1)[away].max() < 0.05


def test_curvature_dipole_of_mos2_takes_strain(shared_data, tmp_path):
    """Zero by the threefold axis; 4e-14 m as DFT on a grid leaves it; ten times that in a cell stretched by 0.7 % along one axis.

    Of the training set, whose settings both runs share, it is the cell nearest to uniaxial strain; atoms are displaced by 0.06 Angstrom.
    """
    data, _ = read(shared_data, "mos2_soc_150")
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, shared_data / "mos2_soc" / "022.npz"], check=True)
    strained = deeph.read_folder(next(tmp_path.rglob("POSCAR")).parent)
    stretches = np.linalg.svd(np.linalg.solve(data.system.cell[:2, :2], strained.system.cell[:2, :2]))[1]
    assert stretches - 1 == pytest.approx([0.0071, 0.0], abs=2e-4)
    moved = strained.system.fractional - data.system.fractional
    moved = (moved - np.rint(moved)) @ strained.system.cell
    assert np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() < 0.06
    _, engine = engine_of(shared_data, "mos2")
    strained = replace(strained, r=engine.compute(strained.system, "position", strained.S.pairs))
    size = {}
    for name, h in {"symmetric": data.symmetrized(), "grid": data, "strained": strained}.items():
        top = h.eigenvalues([1 / 3, 1 / 3, 0])[25] - 0.1
        settings = Settings((12, 12, 1), FermiScan(temperature=1000.0), refinement=Refinement(rounds=0))
        size[name] = np.linalg.norm(curvature_dipole(h, FermiLevel(top, top, top, "doped"), settings).at_fermi)
    assert size["symmetric"] < 1e-6 * size["grid"]
    assert size["grid"] < 0.2 * size["strained"]
    assert size["strained"] > 1e-13
