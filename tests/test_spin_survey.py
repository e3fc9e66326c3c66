"""What the spin of a training set is found to be: parts of H, magnetic elements, sizes of their moments."""

from dataclasses import replace

import numpy as np
import pytest
from spin_case import make_spin_structure

from deeph.nn.spin_survey import survey_spin
from deeph.runtime.errors import ModelError


def magnet(seed: int = 0, carbon: float = 2.0, silicon: float = 0.1):
    """A structure with moments of these sizes, Bohr magneton."""
    structure = make_spin_structure("magnetic", seed)
    size = np.where(structure.system.numbers == 6, carbon, silicon)
    return replace(structure, moments=size[:, None] * structure.moments / np.linalg.norm(structure.moments, axis=1)[:, None])


def non_magnetic(seed: int = 0, *, recorded: bool = True):
    """A structure whose H keeps time reversal."""
    structure = make_spin_structure("spin-orbit", seed)
    return replace(structure, moments=np.zeros((structure.system.n_atoms, 3)) if recorded else None)


def test_the_mean_is_that_of_magnetic_atoms():
    """Non-magnetic structures of the same elements do not make the moments smaller."""
    parts, magnetic = survey_spin([magnet(0), non_magnetic(1), non_magnetic(2), non_magnetic(3, recorded=False)], "spinor")
    assert parts == ["A0", "B0", "A", "B"]
    assert magnetic == {6: pytest.approx(2.0)}


def test_an_element_that_is_magnetic_in_few_structures():
    """Its mean over all structures is small, but where it has a moment this is no induced one."""
    _, magnetic = survey_spin([magnet(0, silicon=1.5), *(magnet(seed, silicon=0.02) for seed in range(1, 8))], "spinor")
    assert magnetic == {6: pytest.approx(2.0), 14: pytest.approx(1.5)}


def test_induced_moments_are_small_ones():
    _, magnetic = survey_spin([magnet(seed, silicon=0.2) for seed in range(2)], "spinor")
    assert list(magnetic) == [6]
    _, magnetic = survey_spin([magnet(seed, carbon=0.3, silicon=0.2) for seed in range(2)], "spinor")
    assert magnetic == {6: pytest.approx(0.3), 14: pytest.approx(0.2)}


def test_without_odd_parts_nothing_is_magnetic():
    """Moments of a run without magnetism are noise."""
    structure = replace(non_magnetic(), moments=np.full((non_magnetic().system.n_atoms, 3), 1e-5))
    assert survey_spin([structure], "spinor") == (["A0", "B"], {})


def test_what_is_refused():
    with pytest.raises(ModelError, match=r"1 structures \(the first is number 2\) have a magnetic H but no magnetic moments"):
        survey_spin([magnet(0), replace(magnet(1), moments=None)], "spinor")
    with pytest.raises(ModelError, match="all magnetic moments of the training set are zero"):
        survey_spin([replace(magnet(0), moments=np.zeros_like(magnet(0).moments))], "spinor")
