"""Occupations averaged over the cell that a k-point stands for: integrals of metals that do not jump from mesh to mesh."""

import numpy as np
import pytest
from lattice_models import hypercubic
from tight_binding import changed_basis, haldane, with_spinors

from postprocess.geometry import hall
from postprocess.geometry.cell_occupation import CellOccupation
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.hall import hall_conductivity
from postprocess.states.adaptive import Refinement
from postprocess.states.cells import second_moment
from postprocess.states.fermi import FermiLevel

EXACT = -0.2440
"""e^2/h of Haldane's model (M = 0.2) with the Fermi level within the lower band, from 250 x 250 k-points; to 2e-4."""


def error_on(n, cells=True):
    fermi = FermiLevel(-1.2, -1.2, -1.2, "given")
    with pytest.MonkeyPatch.context() as patch:
        if not cells:
            patch.setattr(hall, "_cells", lambda *_: None)
        return abs(hall_conductivity(haldane(0.2), fermi, (n, n, 1), refinement=Refinement(0)).at_fermi[0] - EXACT)


def test_a_metal_converges_without_jumps():
    """The error falls with the mesh, as its square; with steps it is a matter of luck."""
    averaged, steps = ([error_on(n, cells) for n in (16, 18, 24, 34)] for cells in (True, False))
    assert averaged == sorted(averaged, reverse=True)
    assert averaged[-1] < 1.5e-3
    assert steps != sorted(steps, reverse=True)
    assert max(steps) > 3 * max(averaged)


def test_insulators_have_no_smearing():
    """A gap of 39 meV, which linear bands in the cells beside K would close."""
    averaged = [hall_conductivity(haldane(0.5), FermiLevel(0.0, 0.0, 0.0), (24, 24, 1), refinement=Refinement(0)).at_fermi[0]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hall, "_cells", lambda *_: None)
        steps = [hall_conductivity(haldane(0.5), FermiLevel(0.0, 0.0, 0.0), (24, 24, 1), refinement=Refinement(0)).at_fermi[0]]
    assert averaged == steps


def test_the_filled_part_of_a_cell_is_that_of_linear_bands():
    """A chain: half at the Fermi level, all or nothing far from it, a width of a step over root 12 times the slope."""
    chain = hypercubic(1)
    g = Geometry(chain, [[0.25, 0, 0]])
    (energy,), slope, step = g.energies[0], abs(g.velocity[0, 0, 0, 0]), 0.05
    moment = np.zeros((3, 3))
    moment[0, 0] = step**2 / 12
    occupation = CellOccupation(tuple(map(tuple, moment.tolist())), (((-9.0, 9.0),),))
    width = slope * step / np.sqrt(12)
    filled = occupation(g, energy + width * np.array([-9, -1, 0, 1, 9]))[0, 0]
    assert filled == pytest.approx([0, 0.1586553, 0.5, 0.8413447, 1], abs=1e-6)
    gapped = CellOccupation(occupation.moment, (((-9.0, energy - 1),),))
    assert gapped(g, np.array([energy + 1e-9]))[0, 0] == [1.0]


def test_levels_that_nearly_touch_are_filled_alike():
    """Large and opposite curvatures of two filled levels cancel, also where one of them crosses the Fermi level elsewhere, and one not."""
    g = Geometry(changed_basis(with_spinors(haldane(0.2))), [[0.21, 0.13, 0]])
    edges = ((-9.0, 9.0), (-9.0, -8.0), (-9.0, 9.0), (-9.0, 9.0))
    occupation = CellOccupation(tuple(map(tuple, (0.01 * np.eye(3)).tolist())), (edges,))
    filled = occupation(g, np.array([g.energies[0, 0] + 0.05]))[0, :, 0]
    assert g.energies[0, 1] == pytest.approx(g.energies[0, 0], abs=1e-9)
    assert filled[0] == pytest.approx(filled[1], abs=1e-9)
    assert 0.5 < filled[0] < 1


@pytest.mark.parametrize("n", [(5, 5, 5), (5, 5, 1)])
def test_moments_of_cells(n):
    """Of a cube a^2/12 in each direction; of a bcc zone isotropic; none where there is one point."""
    a = 2.0 / 5
    cube = second_moment(2.0 * np.eye(3), n)
    assert np.allclose(cube, np.diag([a**2 / 12 if m > 1 else 0.0 for m in n]), rtol=0.02)
    if n[2] > 1:
        bcc = second_moment(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]]), n)
        assert np.allclose(bcc, bcc[0, 0] * np.eye(3), atol=1e-12)
