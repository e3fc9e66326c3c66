"""Responses to light of DFT in its own non-orthogonal basis, against PYATB (doi:10.1016/j.cpc.2023.108844) on the same H, S and r.

It leaves out transitions beyond one and a half times its list of photon energies, of which the real parts are not independent: the lists
here reach beyond the highest level.
"""

import numpy as np
import pytest
from pyatb_case import solver_of
from test_response import MESH_ONLY

from deeph.physics.units import HBAR
from postprocess.eigen.hermitian import hermitian
from postprocess.response.harmonic import PICOMETRE, Harmonic
from postprocess.response.light import Broadening, Photons
from postprocess.response.measure import CHARGE, E2_OVER_HBAR, METRE, measure
from postprocess.response.optics import E2_OVER_EPS0, optical_response
from postprocess.response.second_order import DirectCurrent
from postprocess.response.transitions import LightSettings
from postprocess.states.fermi import FermiLevel
from preprocess.readers import openmx

GENERAL = np.array([[0.1, 0.23, 0.05], [-0.1, -0.23, -0.05]])
SYMMETRIC_PAIRS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


@pytest.fixture(scope="module")
def compared(shared_data, tmp_path_factory):
    """By name of the run: the structure, its Fermi level, and PYATB's object."""
    known = {}

    def get(name):
        if name not in known:
            data = openmx.read(shared_data / "openmx" / name)
            fermi = FermiLevel(data.fermi_energy, data.fermi_energy, data.fermi_energy)
            known[name] = hermitian(data), fermi, solver_of(data, tmp_path_factory.mktemp(name))
        return known[name]

    return get


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a log


def settings(divisions, photons, width, shape="lorentzian"):
    return LightSettings(divisions, photons, Broadening(width, shape), refinement=MESH_ONLY)


@pytest.mark.parametrize(("name", "mesh"), [("gaas", (3, 3, 3)), ("mos2_soc", (3, 3, 1))])
def test_linear_response(compared, name, mesh):
    """Its conductivity is that of the photon energy plus i times the width, whose product with the susceptibility has no remainder."""
    data, fermi, theirs = compared(name)
    width, photons = 0.05, Photons(0.5, 150.0, 300)
    filled = round(data.n_electrons) // (1 if data.basis.spin == "spinor" else 2)
    k = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij"), -1).reshape(-1, 3)
    numbers = 0.5, 0.5, width, filled
    spin = 4 if data.basis.spin == "spinor" else 1
    sigma, chi = (
        np.moveaxis(x.reshape(3, 3, -1), -1, 0) for x in theirs.tb_solver.get_optical_conductivity(spin, 300, *numbers, k, len(k), 1)
    )
    found = optical_response(data, fermi, settings(mesh, photons, width))
    d = len(found.measure.names)
    height = abs(np.linalg.det(data.system.cell)) / found.measure.size  # it counts per volume; layers have 1 Angstrom^(3 - d)
    chi, sigma = chi[:, :d, :d] * height, sigma[:, :d, :d] * (height * METRE ** (3 - d))
    complex_energy = photons.energies[:, None, None] + 1j * width
    ours = -1j * complex_energy * found.susceptibility * (E2_OVER_HBAR / E2_OVER_EPS0 * METRE ** (2 - d))
    assert np.abs(found.susceptibility.real).max() > 5
    assert np.abs(chi - found.susceptibility).max() < 1e-7 * np.abs(found.susceptibility).max()
    assert np.abs(sigma - ours).max() < 1e-7 * np.abs(ours).max()


def test_joint_density_of_states(compared):
    """It counts 1 a transition of spinors, but 4 where levels have no spin, as if light turned spins over."""
    data, fermi, theirs = compared("gaas")
    from pyatb.fermi.jdos import JDOS

    photons = Photons(0.5, 12.0, 116)
    jdos = JDOS(theirs)
    filled = round(data.n_electrons) // 2
    jdos.set_parameters(filled, (0.5, 12.04), 0.1, 0.2, np.array([3, 3, 3]))
    found = optical_response(data, fermi, settings((3, 3, 3), photons, 0.2 / np.sqrt(2), "gaussian"))
    assert found.joint.max() > 1
    inside = photons.energies < 10  # it leaves out what lies above the list
    assert np.abs(jdos.get_jdos() / 2 - found.joint)[inside].max() < 1e-6 * found.joint.max()


def test_shift_current(compared):
    """With the same sign, microampere per V^2; where no levels are nearly degenerate, whose denominators it widens by 0.04 eV."""
    data, fermi, theirs = compared("gaas")
    photons, width, k = Photons(1.0, 15.0, 141), 0.1, GENERAL[:1]
    light = settings(None, photons, width / np.sqrt(2), "gaussian")
    per = -np.pi * E2_OVER_HBAR * measure(data).per_size(3) / 4 * 2 * 1e6
    tensor = DirectCurrent("shift", light.conditions(data, fermi)).of(data)(k, 0)["tensor"][0].real.reshape(-1, 3, 3, 3)
    ours = np.stack([per * tensor[:, :, b, c] for b, c in SYMMETRIC_PAIRS], axis=2)
    filled = round(data.n_electrons) // 2
    found = theirs.tb_solver.get_shift_current(1, 141, 0.1, 1.0, 1, width, filled, k, 1, 1).reshape(3, 6, -1)
    assert np.abs(ours).max() > 900
    assert np.abs(np.moveaxis(found, -1, 0) - ours).max() < 1e-6 * np.abs(ours).max()


def test_second_harmonic(compared):
    """At k and -k, which together have no term that only magnets have. Its charge is +e, and its unit e^3/(2e10 hbar^2): 2.2 % too much."""
    data, fermi, theirs = compared("gaas")
    photons, width = Photons(0.37, 0.37 + 2.5 * 59, 60), 0.05
    light = settings(None, photons, width)
    tensor = Harmonic(light.conditions(data, fermi)).of(data)(GENERAL, 0)["tensor"].sum(axis=0).reshape(60, 27)
    found = theirs.tb_solver.get_second_harmonic(0, width, 60, 2.5, 0.37, fermi.energy, 1, GENERAL).T
    assert np.abs(tensor).max() > 30
    assert np.abs(found + tensor).max() < 1e-9 * np.abs(tensor).max()
    nanometre = E2_OVER_EPS0 * PICOMETRE / 1e3
    unit = CHARGE**3 / (HBAR * CHARGE) ** 2 / 2e10
    assert unit / nanometre == pytest.approx(1.0219, rel=1e-4)
