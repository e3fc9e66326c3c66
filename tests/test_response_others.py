"""The same model in WannierBerri, which knows orthogonal ones: conductivity, shift and injection current; MoS2 after Loewdin."""

import contextlib
import io

import numpy as np
import pytest
from test_geometry_others import in_pythtb
from test_response import FERMI
from tight_binding import HONEYCOMB, changed_basis, haldane

from postprocess.response.light import Broadening, Photons
from postprocess.response.optics import optical_response
from postprocess.response.second_order import direct_current
from postprocess.response.transitions import LightSettings
from postprocess.states.fermi import FermiLevel
from preprocess.readers import openmx

MESH = (24, 24, 1)
PHOTONS = Photons(1.5, 6, 10)
WIDTH = 0.2


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Of one spin and in the volume of the cell, made those of the sheet."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(tmp_path_factory.mktemp("wannierberri")):
        wannierberri = pytest.importorskip("wannierberri")
        from wannierberri.system import System_PythTB

        system = System_PythTB(in_pythtb(haldane(0.3, 1.1)))
        dynamic = wannierberri.calculators.dynamic
        common = {"Efermi": np.array([0.0]), "omega": PHOTONS.energies, "kBT": 0.0}
        gauss = common | {"smr_fixed_width": WIDTH * np.sqrt(2), "smr_type": "Gaussian"}
        calculators = {
            "optics": dynamic.OpticalConductivity(smr_fixed_width=WIDTH, smr_type="Lorentzian", **common),
            "shift": dynamic.ShiftCurrent(sc_eta=1e-9, **gauss),
            "injection": dynamic.InjectionCurrent(**gauss),
        }
        grid = wannierberri.Grid(system, NK=MESH, NKFFT=(4, 4, 1))
        result = wannierberri.run(system, grid=grid, calculators=calculators, parallel=False, use_irred_kpt=False, symmetrize=False)
    height = HONEYCOMB[2, 2] * 1e-10
    return {name: result.results[name].data[0] * height for name in calculators}


@pytest.mark.parametrize("change", [lambda data: data, changed_basis])
def test_conductivity_and_currents_as_in_wannierberri(theirs, change):
    """Theirs divides by E + i eta where ours divides by E; their shift current has the sign of charges +e, and a time in fs."""
    data = change(haldane(0.3, 1.1))
    found = optical_response(data, FERMI, LightSettings(MESH, PHOTONS, Broadening(WIDTH, "lorentzian")))
    z = 1 + 1j * WIDTH / PHOTONS.energies[:, None, None]
    ours = found.hall + (found.interband - found.hall) * z
    assert np.abs(ours - 2 * theirs["optics"][:, :2, :2]).max() < 1e-8 * np.abs(ours).max()
    settings = LightSettings(MESH, PHOTONS, Broadening(WIDTH))
    shift = direct_current(data, "shift", FERMI, settings).values
    assert np.abs(shift + 2 * theirs["shift"][:, :2, :2, :2]).max() < 1e-6 * np.abs(shift).max()
    injection = direct_current(data, "injection", FERMI, settings).values
    assert np.abs(injection - 2e15 * theirs["injection"][:, :2, :2, :2]).max() < 1e-6 * np.abs(injection).max()


@pytest.mark.slow
def test_loewdin_orbitals_of_mos2_tend_to_the_responses_of_its_own(shared_data, tmp_path):
    """WannierBerri with an orthonormal model of the DFT: its truncation in R is all that differs, and goes with its mesh.

    The levels are exact on 6 x 6 k-points, which are part of each mesh but the second; velocities and dipoles are not.
    """
    pytest.importorskip("wannierberri")
    data = openmx.read(shared_data / "openmx" / "mos2").symmetrized()
    level = data.fermi_energy
    photons = Photons(1.0, 6.0, 26)
    found = optical_response(
        data, FermiLevel(level, level, level, "stored"), LightSettings((6, 6, 1), photons, Broadening(WIDTH, "lorentzian"))
    )
    ours = found.hall + (found.interband - found.hall) * (1 + 1j * WIDTH / photons.energies[:, None, None])
    difference = {n: np.abs(in_wannierberri(data, n, photons, tmp_path) - ours).max() / np.abs(ours).max() for n in (6, 9, 12)}
    assert difference[6] > 0.02
    assert difference[9] < 0.6 * difference[6]
    assert difference[12] < 0.01


def in_wannierberri(data, mesh, photons, folder):
    """(m, 2, 2) sheet conductivity at 6 x 6 k-points of Loewdin orbitals made on a mesh, two spins."""
    import wannierberri

    with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(folder):
        system = data.to_wannierberri(mesh=(mesh, mesh, 1))
        calculator = wannierberri.calculators.dynamic.OpticalConductivity(
            Efermi=np.array([data.fermi_energy]), omega=photons.energies, kBT=0.0, smr_fixed_width=WIDTH, smr_type="Lorentzian"
        )
        grid = wannierberri.Grid(system, NK=(6, 6, 1), NKFFT=(6, 6, 1))
        result = wannierberri.run(
            system, grid=grid, calculators={"optics": calculator}, parallel=False, use_irred_kpt=False, symmetrize=False
        )
    return 2 * result.results["optics"].data[0][:, :2, :2] * data.system.cell[2, 2] * 1e-10
