"""Components of tensors that the group of a crystal forbids: those of the tables of crystal physics."""

import numpy as np
import pytest
from symmetry_case import random_structure
from tight_binding import haldane

from postprocess.geometry.allowed import forbidden_components, what_is_zero
from postprocess.response.forbidden import forbidden_conductivity, forbidden_third_rank
from postprocess.response.measure import measure
from preprocess.readers import openmx

XYZ = np.eye(3)


def allowed(data, kinds, reversal="even", frames=None):
    forbidden = forbidden_components(data, kinds, frames or [XYZ] * len(kinds), reversal)
    return set(np.array(["".join("xyz"[n] for n in place) for place in np.ndindex(forbidden.shape)])[~forbidden.ravel()])


def test_known_point_groups():
    zincblende, diamond = random_structure("zincblende"), random_structure("diamond")
    assert allowed(zincblende, ["polar"] * 3) == {"xyz", "xzy", "yxz", "yzx", "zxy", "zyx"}
    assert allowed(diamond, ["polar"] * 3) == set()
    assert allowed(diamond, ["polar"] * 2) == {"xx", "yy", "zz"}
    assert allowed(diamond, ["polar", "axial"]) == set()  # a gyrotropic tensor takes a crystal without inversion
    layer = random_structure("MoS2")
    assert {"yyy", "yxx", "xxy", "xyx"} <= allowed(layer, ["polar"] * 3)  # D3h with a mirror normal to x
    assert "xxx" not in allowed(layer, ["polar"] * 3)
    spin_hall = allowed(random_structure("diamond", "spinor", reversal=True), ["spin", "polar", "polar"])
    assert spin_hall == {"xyz", "xzy", "yxz", "yzx", "zxy", "zyx"}


def test_time_reversal():
    """Hall vectors take magnetism; Onsager leaves the symmetric part of a conductivity where it holds."""
    still = random_structure("zincblende", "spinor", reversal=True)
    assert allowed(still, ["axial"], "odd") == set()
    assert allowed(still, ["polar", "polar"], "swapped") == {"xx", "yy", "zz"}


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_tensors_of_light_are_symmetric_in_their_fields(spin):
    """Classes 32 and 4: what only an antisymmetric tensor could have counts as forbidden, with spin or without."""
    trigonal = random_structure("tellurium", spin, reversal=spin == "spinor")
    even, odd = forbidden_third_rank("shift", trigonal, measure(trigonal), reversal=True)
    assert odd.all()
    found = {"".join("xyz"[n] for n in place) for place in np.argwhere(~even)}
    assert {"xyz", "xzy", "yxz", "yzx"} <= found
    assert not {"zxy", "zyx"} & found
    fourfold = random_structure("fourfold axis", spin, reversal=spin == "spinor")
    assert (forbidden_conductivity(fourfold, measure(fourfold), reversal=True) == ~np.eye(3, dtype=bool)).all()


def test_iron(shared_data):
    """The Hall vector lies along the moment; in a frame that is turned every component is allowed."""
    iron = openmx.read(shared_data / "openmx" / "fe_soc_z")
    assert allowed(iron, ["axial"], "odd") == {"z"}
    assert allowed(iron, ["polar", "polar"], "swapped") == {"xx", "xy", "yx", "yy", "zz"}
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert not forbidden_components(iron, ["axial"], [turned], "odd").any()
    assert forbidden_components(iron, ["axial"], [XYZ[:2]], "odd").all()


def test_an_unknown_group_forbids_nothing():
    assert not forbidden_components(haldane(0.2), ["axial"], [XYZ], "odd").any()


@pytest.mark.parametrize(("value", "said"), [(1e-12, "zero by symmetry: yz zx"), (5.4, "yz zx; up to 5.4 S/cm as it is")])
def test_in_words(value, said):
    forbidden = np.array([True, True, False])
    assert what_is_zero(("yz", "zx", "xy"), np.array([value, 0, -650]), forbidden, "S/cm").endswith(said)
    assert what_is_zero(("yz", "zx", "xy"), np.ones(3), ~np.ones(3, bool), "S/cm") == ""
    rounded = np.array([value, 1e-17, -650])
    assert what_is_zero(("yz", "zx", "xy"), rounded, np.array([True, False, False]), "S/cm").endswith("; zero to rounding: zx")
    assert what_is_zero(("yz", "zx", "xy"), 0 * rounded, np.array([True, False, False]), "S/cm") == "zero by symmetry: yz"
    assert what_is_zero(("yz", "zx", "xy"), [2.0, 1e-17, -650], ~np.ones(3, bool), "S/cm") == "zero to rounding: zx"
    every = what_is_zero(("yz", "zx"), np.array([[1e-14, 0], [0, np.nan]]), np.ones(2, bool), "S/cm")
    assert every == "zero by symmetry: yz zx, every component; 1e-14 S/cm at most as computed"
