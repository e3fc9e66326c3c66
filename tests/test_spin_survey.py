"""What the spin of a training set is found to be: parts of H, magnetic elements, sizes of their moments."""

import json
from dataclasses import replace

import numpy as np
import pytest
from spin_case import SPIN_TINY, make_spin_structure

from deeph.files.training_set import MissingError, TrainingSet
from deeph.nn.fit import fit_model
from deeph.nn.model import HamiltonianModel
from deeph.nn.spin_survey import survey_spin
from deeph.physics.magnetism import NO_SPIN_ORBIT, OWN, exchange_fields, largest_parts
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.runtime.errors import DataError, UsageError
from preprocess.inspect.spin_checks import check_moments


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
    with pytest.raises(MissingError, match=r"structure 2 of the training set: H breaks time reversal .* has no moments"):
        survey_spin([magnet(0), replace(magnet(1), moments=None)], "spinor")
    with pytest.raises(DataError, match=r"structure 1 .* no recorded moment is larger than 0 Bohr magneton"):
        survey_spin([replace(magnet(0), moments=np.zeros_like(magnet(0).moments))], "spinor")


def test_magnetic_elements_are_a_setting():
    """Moments that are a fifth of the largest ones are taken for induced ones unless the user knows better."""
    structures = [magnet(seed, silicon=0.4) for seed in range(2)]
    assert list(survey_spin(structures, "spinor")[1]) == [6]
    assert survey_spin(structures, "spinor", ("Si", "C"))[1] == {6: pytest.approx(2.0), 14: pytest.approx(0.4)}
    assert survey_spin(structures, "spinor", ("C",)) == survey_spin(structures, "spinor")
    config = SPIN_TINY.model_copy(update={"magnetic_elements": ("C", "Si")})
    model = fit_model(config, structures)
    assert list(model.magnetic) == [6, 14]
    again = HamiltonianModel.from_description(json.loads(json.dumps(model.description())))
    assert (again.config, list(again.magnetic)) == (config, [6, 14])


@pytest.mark.parametrize(
    ("structures", "chosen", "words"),
    [
        ([magnet()], ("C", "Fe"), r"magnetic_elements: Fe has no magnetic moment .* are C 2, Si 0\.1"),
        ([magnet(silicon=0.0)], ("Si",), "magnetic_elements: Si has no magnetic moment"),
        ([non_magnetic()], ("C",), "C has no magnetic moment in the training set; no H there is magnetic"),
    ],
)
def test_chosen_elements_without_moments_are_named(structures, chosen, words):
    with pytest.raises(UsageError, match=words):
        survey_spin(structures, "spinor", chosen)


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_one_threshold_says_whether_there_is_spin_orbit_coupling(size):
    """The check before training and the network learned of coupling at different sizes."""
    structure = non_magnetic()
    parts = {"A0": 1.0, "B": size * NO_SPIN_ORBIT}

    def only(blocks, _pairs):
        own = split_spin(blocks, "spinor")
        return join_spin({"A0": own["A0"], "B": own["B"] * parts["B"] / largest}, "spinor")

    largest = largest_parts(structure.H, "spinor")["B"]
    weak = replace(structure, H=structure.H.mapped(only))
    found = TrainingSet()
    found.add(weak, train=True)
    assert ("B" in survey_spin([weak], "spinor")[0]) == ("with spin-orbit" in found.spin_text) == (size > 1)


def test_one_share_says_whether_a_moment_is_induced():
    """The check of moments against exchange fields left out all below half a Bohr magneton and below half of the largest."""
    data = magnet(silicon=2.0 * (OWN + 0.05))
    assert survey_spin([data], "spinor")[1].keys() == {6, 14}
    moments = -exchange_fields(data)
    size = np.where(data.system.numbers == 6, 0.4, 0.4 * (OWN + 0.05))
    moments *= (size / np.linalg.norm(moments, axis=1))[:, None]
    assert check_moments(replace(data, moments=moments)).verdict == "ok"
    moments[data.system.numbers == 14] *= -1
    assert "(Si): 180 degrees" in check_moments(replace(data, moments=moments)).text
