"""The same Hamiltonians in PythTB and WannierBerri, which know orthogonal models: curvature along a path and Hall conductivity."""

import contextlib
import io

import numpy as np
import pytest
from tight_binding import HONEYCOMB, cell_matrices, changed_basis, haldane

from deeph.physics.units import CONDUCTANCE
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.hall import hall_conductivity
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel

PATH = np.linspace([0.02, 0.0, 0.0], [0.6, 0.37, 0.0], 7)


def in_pythtb(data):
    """The model in PythTB, of layers one vacuum apart."""
    pythtb = pytest.importorskip("pythtb")
    make = getattr(pythtb, "tb_model", None)
    if make is None:
        pytest.skip("this PythTB has no tb_model")
    model = make(3, 3, data.system.cell, data.system.fractional)
    R, H = cell_matrices(data.H, data.system.n_atoms)
    model.set_onsite(H[0, np.flatnonzero(~R.any(axis=1))[0]].diagonal().real)
    for vector, matrix in zip(R.tolist(), H[0], strict=True):
        for i, j in np.argwhere(np.abs(matrix) > 0).tolist():
            if any(vector) or i != j:
                model.set_hop(matrix[i, j], i, j, vector, allow_conjugate_pair=True, mode="set") if _first(vector, i, j) else None
    return model


def _first(vector, i, j):
    """Each pair of conjugate hops once."""
    return (vector, i, j) > ([-x for x in vector], j, i)


def test_curvature_along_a_path_as_in_pythtb():
    """Fluxes through small squares, whose error is the square of their size, extrapolated."""
    pythtb = pytest.importorskip("pythtb")
    data = haldane(0.2)
    model = in_pythtb(data)
    expected = []
    area = np.linalg.norm(np.cross(HONEYCOMB[0], HONEYCOMB[1]))
    for k in PATH:
        fluxes = []
        for step in (2e-3, 1e-3):
            grid = pythtb.wf_array(model, [2, 2])
            for a in range(2):
                for b in range(2):
                    grid.solve_on_one_point(k + np.array([(a - 0.5) * step, (b - 0.5) * step, 0]), [a, b])
            fluxes.append(grid.berry_flux([0]) / step**2)
        expected.append((4 * fluxes[1] - fluxes[0]) / 3 * area / (2 * np.pi) ** 2)
    for model_of_ours in (data, changed_basis(data)):
        found = Geometry(model_of_ours, PATH).curvature()[:, 2, 0]
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def wannierberri():
    with contextlib.redirect_stdout(io.StringIO()):
        return pytest.importorskip("wannierberri")


@pytest.fixture(scope="module")
def system(wannierberri):
    """Haldane's model there, by way of PythTB."""
    with contextlib.redirect_stdout(io.StringIO()):
        from wannierberri.system import System_PythTB

        return System_PythTB(in_pythtb(haldane(0.2)))


def test_curvature_and_velocities_as_in_wannierberri(wannierberri, system):
    """The whole vector at single k-points, to rounding, also in a random basis."""
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = [wannierberri.evaluate_k(system, k=k, quantities=["energy", "berry_curvature", "band_gradients"]) for k in PATH]
    for ours in (haldane(0.2), changed_basis(haldane(0.2))):
        g = Geometry(ours, PATH)
        assert np.allclose(g.energies, [t["energy"] for t in theirs], atol=1e-8)
        assert np.allclose(np.moveaxis(g.curvature(), 1, -1), [t["berry_curvature"] for t in theirs], atol=1e-8)
        velocities = np.einsum("kann->kna", g.velocity).real
        assert np.allclose(velocities, [t["band_gradients"] for t in theirs], atol=1e-8)


@pytest.mark.parametrize("energy", [0.0, -1.3, 1.1])
def test_hall_conductivity_as_in_wannierberri(wannierberri, system, energy, tmp_path, monkeypatch):
    """On the same mesh; theirs is in S/m of one spin in the volume of the cell."""
    monkeypatch.chdir(tmp_path)  # where it writes its results
    n = 24
    with contextlib.redirect_stdout(io.StringIO()):
        calculators = {"ahc": wannierberri.calculators.static.AHC(Efermi=np.array([energy]), tetra=False)}
        grid = wannierberri.Grid(system, NK=(n, n, 1), NKFFT=(4, 4, 1))
        result = wannierberri.run(system, grid=grid, calculators=calculators, parallel=False, use_irred_kpt=False, symmetrize=False)
    theirs = result.results["ahc"].data[0, 2] * HONEYCOMB[2, 2] * 1e-10 / CONDUCTANCE  # S/m times the height, in e^2/h
    fermi = FermiLevel(energy, energy, energy, "given")
    for ours in (haldane(0.2), changed_basis(haldane(0.2))):
        found = hall_conductivity(ours, fermi, (n, n, 1), refinement=Refinement(rounds=0))
        assert found.at_fermi[0] / 2 == pytest.approx(theirs, abs=1e-8)
