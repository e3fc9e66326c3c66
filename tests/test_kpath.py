"""Labels must mean the point of the lattice, whatever cell the user has chosen."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from postprocess.lattice.kpath import make_kpath, read_kpath
from postprocess.lattice.periodic import periodic_directions
from postprocess.lattice.special_points import special_points

A = 2.46
HEX120 = np.array([[A, 0, 0], [-A / 2, A * np.sqrt(3) / 2, 0], [0, 0, 18]])
HEX60 = np.array([[A, 0, 0], [A / 2, A * np.sqrt(3) / 2, 0], [0, 0, 18]])
FCC = 2.715 * (1 - np.eye(3))


@pytest.fixture(autouse=True)
def _messages(caplog):
    logger = logging.getLogger("deeph")
    logger.propagate = True
    with caplog.at_level(logging.INFO, "deeph"):
        yield


def one_atom(cell, position=(0, 0, 0)):
    return System(np.array(cell, float), np.array([position], float), np.array([6]))


def shortest(k, system):
    """Length of k in the first Brillouin zone, 1/Angstrom."""
    G = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 2, [0], indexing="ij"), -1).reshape(-1, 3)
    return np.linalg.norm((k + G) @ system.reciprocal, axis=1).min()


@pytest.mark.parametrize(("cell", "K"), [(HEX120, (1 / 3, 1 / 3, 0)), (HEX60, (1 / 3, 2 / 3, 0))])
def test_K_of_both_hexagonal_cells(cell, K):
    (known,) = special_points(one_atom(cell))
    assert known.lattice == "2D hexagonal"
    assert np.allclose(known.points["K"], K)


@given(st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.floats(0, 2 * np.pi), st.permutations([0, 1, 2]))
def test_hexagonal_points_do_not_depend_on_the_description_of_the_cell(m, n, flip, angle, axes):
    T = np.array([[1, m, 0], [0, 1, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [n, 1, 0], [0, 0, 1]])
    rotation = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    cell = (np.diag([-1 if flip else 1, 1, 1]) @ T @ HEX120 @ rotation)[axes]
    system = one_atom(cell)
    (known,) = special_points(system)
    G, M, K = (known.points[name] @ system.reciprocal for name in "GMK")
    assert np.linalg.norm(K - G) == pytest.approx(4 * np.pi / (3 * A))
    assert np.linalg.norm(M - G) == pytest.approx(2 * np.pi / (np.sqrt(3) * A))
    assert np.linalg.norm(K - M) == pytest.approx(2 * np.pi / (3 * A))  # neighbours on the zone boundary


def test_wrong_K_would_be_noticed():
    system = one_atom(HEX60)
    assert shortest(np.array([1 / 3, 2 / 3, 0]), system) == pytest.approx(4 * np.pi / (3 * A))
    assert shortest(np.array([1 / 3, 1 / 3, 0]), system) < 0.6 * 4 * np.pi / (3 * A)


@pytest.mark.parametrize(
    ("cell", "lattice", "label", "k"),
    [
        ([[3, 0, 0], [0, 3, 0], [0, 0, 15]], "2D square", "M", (0.5, 0.5, 0)),
        ([[3, 0, 0], [0, 4, 0], [0, 0, 15]], "2D rectangular", "Y", (0, 0.5, 0)),
        ([[3, 0, 0], [0.7, 4, 0], [0, 0, 15]], "2D oblique", "S", (0.5, 0.5, 0)),
        ([[3, 0, 0], [0, 12, 0], [0, 0, 15]], "1D chain", "X", (0.5, 0, 0)),
        (FCC, "3D face-centred cubic", "L", (0.5, 0.5, 0.5)),
    ],
)
def test_lattices(cell, lattice, label, k):
    (known,) = special_points(one_atom(cell))
    assert known.lattice == lattice
    assert np.allclose(known.points[label], k)


def test_left_handed_bulk_cell_has_the_same_points():
    points = special_points(one_atom(FCC[[1, 0, 2]]))[0].points
    reciprocal = one_atom(FCC[[1, 0, 2]]).reciprocal
    a = 2 * 2.715
    assert np.linalg.norm(points["X"] @ reciprocal) == pytest.approx(2 * np.pi / a)
    assert np.linalg.norm(points["L"] @ reciprocal) == pytest.approx(np.sqrt(3) * np.pi / a)


def test_vacuum_is_recognized_across_the_boundary_of_the_cell():
    split = System(HEX120, np.array([[0, 0, 0.3], [0, 1.4, 17.5]]), np.array([6, 6]))
    assert periodic_directions(split) == (True, True, False)
    assert periodic_directions(one_atom(FCC)) == (True, True, True)


def test_strained_cell_offers_the_symmetric_lattice_and_says_so(caplog):
    strained = one_atom(HEX120 @ np.diag([1.01, 0.995, 1]))
    path = make_kpath(strained, "GMKG", n_points=40)
    assert np.allclose(path.k[path.bounds[2]], (1 / 3, 1 / 3, 0))
    assert "strained" in caplog.text
    assert make_kpath(strained, "GXS", n_points=40).labels == ("G", "X", "S")  # its own, oblique lattice


def test_forms_of_the_same_path():
    system = one_atom(HEX120)
    expected = make_kpath(system, "GMKG", n_points=50)
    for text in (None, "G-M-K-G", "GAMMA-M-K-GAMMA", "ΓMKΓ", "g M K g", "G M=1/2,0,0 K=1/3,1/3,0 G=0,0,0"):
        path = make_kpath(system, text, n_points=50)
        assert path.labels == expected.labels
        assert np.allclose(path.k, expected.k)
    assert expected.distances[-1] == pytest.approx((3 + np.sqrt(3)) * 2 * np.pi / (3 * A))
    assert np.array_equal(expected.distances[expected.bounds[:-1]], expected.ticks[:-1])


@given(st.integers(6, 200))
def test_sampling(n_points):
    path = make_kpath(one_atom(HEX120), "GMK|GK'", n_points=n_points)
    assert len(path.k) == n_points
    assert path.labels == ("G", "M", "K|G", "K'")
    assert (np.diff(path.distances) >= 0).all()
    for points in path.segments:
        steps = np.diff(path.k[points] @ one_atom(HEX120).reciprocal, axis=0)
        assert np.allclose(np.linalg.norm(steps, axis=1), np.diff(path.distances[points]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GXK", r"'X' is not a k-point .*hexagonal.*K \(0.3333, 0.3333, 0\)"),
        ("G", "at least two"),
        ("", "at least two"),
        ("GM|", "at least two"),
        ("G M=1/2,x,0", "three fractional coordinates"),
        ("G M=1/0,0,0", "three fractional coordinates"),
        ("G 0.5,0", "three fractional coordinates"),
        ("GG", "same k-point"),
    ],
)
def test_wrong_paths(text, message):
    with pytest.raises(UsageError, match=message):
        make_kpath(one_atom(HEX120), text)


@pytest.mark.parametrize("n_points", [-1, 0, 3])
def test_too_few_points(n_points):
    with pytest.raises(UsageError, match=f"{n_points} k-points .* 2 segments.* at least 4"):
        make_kpath(one_atom(HEX120), "GMK", n_points=n_points)


def test_the_longest_step_is_as_short_as_possible():
    """One point more on any other segment, taken from a longer step, would be better; so no step may allow that."""
    path = make_kpath(one_atom(FCC), n_points=40)
    assert len(path.k) == 40
    lengths, counts = np.diff(path.ticks), np.diff(path.bounds)
    steps = lengths / (counts - 1)
    for n in np.flatnonzero(counts > 2):
        assert lengths[n] / (counts[n] - 2) >= steps.max() - 1e-12


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 202), (0.5, 403), (0.1, 600), (2.2, 100)])
def test_the_usual_number_of_points_grows_with_the_path(scale, expected):
    path = make_kpath(one_atom(HEX120 * np.array([scale, scale, 1])), "GMKG")
    assert len(path.k) == expected
    if scale in (1.0, 0.5):
        assert np.diff(path.distances).max() < 0.0205


def test_molecule_has_no_default_path():
    with pytest.raises(UsageError, match="molecule"):
        make_kpath(one_atom(10 * np.eye(3)))


def test_openmx_input(shared_data, caplog):
    """The 60-degree cell of OpenMX's twisted bilayer: its K is a corner of the zone, and so is ours."""
    lattice = np.array([[6.5085482252, 0, 0], [3.2542741126, 5.6365681048, 0], [0, 0, 16]])
    system = one_atom(lattice)
    path = read_kpath(shared_data / "openmx" / "tbg28" / "tbg28.dat", system)
    assert path.labels == ("G", "M", "K", "G")
    assert np.diff(path.bounds).tolist() == [20, 15, 20]
    ours = special_points(system)[0].points
    assert np.allclose(path.k[path.bounds[2]], ours["K"])
    assert shortest(path.k[path.bounds[1]], system) == pytest.approx(shortest(ours["M"], system))
    assert not caplog.text


def test_file_with_the_K_of_another_cell_is_reported(tmp_path, caplog):
    file = tmp_path / "K_PATH"
    file.write_text("5 0 0 0  0.3333333 0.3333333 0  GAMMA K\n")
    read_kpath(file, one_atom(HEX120))
    assert not caplog.text
    read_kpath(file, one_atom(HEX60))
    assert "K at [0.3333, 0.3333, 0.0] is not that point" in caplog.text


@pytest.mark.parametrize("content", ["", "5 0 0 0 0.5 0 0 G\n", "x 0 0 0 0.5 0 0 G M\n", "5 0 0 zero 0.5 0 0 G M\n"])
def test_damaged_path_files(tmp_path, content):
    file = tmp_path / "K_PATH"
    file.write_text(content)
    with pytest.raises(DataError, match="K_PATH"):
        read_kpath(file, one_atom(HEX120))
