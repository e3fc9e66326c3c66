"""Labels must mean the point of the lattice, whatever cell the user has chosen."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from postprocess.lattice.kpath import make_kpath, read_kpath
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
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


STRAINED = HEX120 @ np.diag([1.01, 0.995, 1])
SHEARED = HEX120 @ np.array([[1.012, 0.005, 0], [-0.002, 0.998, 0], [0, 0, 1]])


@pytest.mark.parametrize(("cell", "own"), [(STRAINED, "2D centred rectangular"), (SHEARED, "2D oblique")])
def test_strained_cell_offers_the_symmetric_lattice_and_says_so(caplog, cell, own):
    strained = one_atom(cell)
    path = make_kpath(strained, "GMKG", n_points=40)
    assert np.allclose(path.k[path.bounds[2]], (1 / 3, 1 / 3, 0))
    assert "strained" in caplog.text
    assert [lattice.lattice for lattice in special_points(strained)] == [own, "2D hexagonal"]
    assert make_kpath(strained, "GXS", n_points=40).labels == ("G", "X", "S")  # of its own lattice
    usual = make_kpath(strained, n_points=100)
    assert shortest(np.array([1 / 3, 1 / 3, 0]), strained) == pytest.approx(
        max(np.linalg.norm(usual.k @ strained.reciprocal, axis=1)), rel=0.02
    )  # passes the corners of the zone


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("ratio", "lattices"), [(1.01, ["tetragonal", "cubic"]), (1.0001, ["cubic"]), (0.98, ["tetragonal", "cubic"])])
def test_a_tetragonal_crystal_close_to_cubic_keeps_its_points(caplog, axis, ratio, lattices):
    """BaTiO3: c/a = 1.01. Z, R and A are X, M and R of the cubic lattice, split."""
    edges = np.full(3, 3.99)
    edges[axis] *= ratio
    crystal = one_atom(np.diag(edges))
    known = special_points(crystal)
    assert [k.lattice.split()[-1] for k in known] == lattices
    if len(known) == 1:
        return
    c = np.eye(3)[axis]
    assert np.abs(known[0].points["Z"]) == pytest.approx(c / 2)
    assert np.abs(known[0].points["A"]) == pytest.approx(np.full(3, 1 / 2))
    assert np.abs(known[0].points["M"]) == pytest.approx((1 - c) / 2)
    assert set("ZRA") <= set(make_kpath(crystal).labels)
    caplog.clear()
    path = make_kpath(crystal, "GXMGR", n_points=50)
    assert np.abs(path.k[-1] @ c) == pytest.approx(1 / 2)  # R of the tetragonal lattice ...
    assert np.abs(path.k[-1]).sum() == pytest.approx(1)
    assert [r.levelname for r in caplog.records] == ["WARNING"]  # ... which is not R of the cubic one
    assert "cubic" in caplog.text


def test_an_orthorhombic_crystal_close_to_cubic_keeps_its_points():
    points = special_points(one_atom(np.diag([4.0, 4.03, 4.06])))[0].points
    assert set("GXYZSTUR") == set(points)


def test_noise_is_no_strain():
    """1e-4 in every component leaves each lattice of ASE what it is without."""
    from ase.lattice import all_variants

    rng = np.random.default_rng(2)
    for lattice in all_variants():
        if lattice.ndim < 3:
            continue
        cell = np.array(lattice.tocell())
        cell *= 3 / abs(np.linalg.det(cell)) ** (1 / 3)
        expected = [known.lattice for known in special_points(one_atom(cell))]
        for _ in range(3):
            noisy = one_atom(cell @ (np.eye(3) + rng.uniform(-1e-4, 1e-4, (3, 3))))
            assert [known.lattice for known in special_points(noisy)] == expected


def nearest(k, system):
    """How many reciprocal lattice vectors are as near to k as the nearest one, 3 at a corner of the zone, 2 on an edge; is Gamma one."""
    axes = np.flatnonzero(periodic_directions(system))
    G = np.zeros((81**2, 3))
    G[:, axes] = np.stack(np.meshgrid(*[np.arange(-40, 41)] * 2, indexing="ij"), -1).reshape(-1, 2)
    distance = np.linalg.norm((k + G) @ in_plane_reciprocal(system), axis=1)
    return int((distance < distance.min() + 1e-6).sum()), np.linalg.norm(k @ in_plane_reciprocal(system)) < distance.min() + 1e-6


@st.composite
def slab_cells(draw, plane):
    """A cell with other lattice vectors of the same plane, any vacuum vector, turned, left-handed, with vacuum along any axis."""
    m, n, tilt, angle = draw(st.integers(-2, 2)), draw(st.integers(-2, 2)), draw(st.floats(-9, 9)), draw(st.floats(0, 6))
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2] = np.array([[1, m], [0, 1]]) @ np.array([[1, 0], [n, 1]]) @ plane, (tilt, 1, 20)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return (np.diag([draw(st.sampled_from([-1, 1])), 1, 1]) @ cell @ turn)[draw(st.permutations([0, 1, 2]))]


@settings(deadline=None)
@given(st.data(), st.floats(1, 3), st.floats(0.2, 0.9))
def test_points_of_centred_rectangles_lie_on_the_edge_of_the_zone(data, length, ratio):
    """Whatever the cell: X and A1 are corners of the zone, Y and S halve edges."""
    system = one_atom(data.draw(slab_cells(length * np.array([[1, ratio], [1, -ratio]]))))
    if min(abs(ratio - x) for x in (1 / np.sqrt(3), 1)) < 0.05:
        return  # nearly hexagonal or square
    (known,) = special_points(system)
    assert known.lattice == "2D centred rectangular"
    assert {name: nearest(k, system) for name, k in known.points.items()} == {
        "G": (1, True), "Y": (2, True), "S": (2, True), "X": (3, True), "A1": (3, True),
    }  # fmt: skip
    assert make_kpath(system).labels == ("G", "X", "S", "A1", "Y", "G")


@settings(deadline=None)
@given(st.data(), st.floats(2.3, 3), st.floats(0.2, 0.8))
def test_points_of_oblique_planes_lie_on_the_edge_of_the_zone(data, width, shift):
    system = one_atom(data.draw(slab_cells(np.array([[2, 0], [shift, width]]))))
    known = special_points(system)
    assert known[0].lattice == "2D oblique"
    assert {name: nearest(k, system) for name, k in known[0].points.items()} == {
        "G": (1, True), "X": (2, True), "Y": (2, True), "S": (2, True), "H": (3, True), "H1": (3, True),
    }  # fmt: skip
    assert make_kpath(system).labels == ("G", "Y", "H", "S", "H1", "X", "G")


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


@pytest.mark.parametrize("text", [None, "G", "Gamma"])
def test_the_path_of_a_molecule_is_gamma(text):
    path = make_kpath(one_atom(10 * np.eye(3)), text)
    assert path.k.tolist() == [[0, 0, 0]]
    assert (path.labels, path.ticks.tolist(), path.bounds.tolist()) == (("G",), [0], [0, 1])
    with pytest.raises(UsageError, match="at least two k-points"):
        make_kpath(one_atom(HEX120), "G")


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


INPUT = "Scf.Ecut 150 # Ry\nBand.Nkpath 2\n<Band.kpath   # of the plane\n 20 0. 0 0  0.5 0 0  g M\n15 .5 0 0 1/3 1/3 0 M K\nBand.kpath>\n"
INPUT = INPUT.replace("1/3", "0.333333333")


@pytest.mark.parametrize(
    "change",
    [
        str,
        str.upper,
        str.lower,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("0.5 ", "5.d-1 ").replace(" .5 ", " 0.5D+00 "),
        lambda text: "\N{BYTE ORDER MARK}" + text.split("path ")[-1].replace("# of the plane\n", "").replace("Band.kpath>\n", ""),
    ],
)
def test_forms_of_the_same_file(tmp_path, change):
    file = tmp_path / "input.dat"
    file.write_bytes(change(INPUT).encode())
    path = read_kpath(file, one_atom(HEX120))
    assert [label.upper() for label in path.labels] == ["G", "M", "K"]
    assert np.diff(path.bounds).tolist() == [20, 15]
    assert path.k[[0, 20, 34]] == pytest.approx(np.array([[0, 0, 0], [0.5, 0, 0], [0.333333333, 0.333333333, 0]]))


def test_comments_may_be_in_any_encoding(tmp_path):
    file = tmp_path / "input.dat"
    file.write_bytes(INPUT.replace("# Ry", "# \xc5ngstr\xf6m").encode("latin-1"))
    assert len(read_kpath(file, one_atom(HEX120)).k) == 35


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no k-path"),
        ("5 0 0 0 0.5 0 0 G\n", "line 1: .*not a path segment"),
        ("x 0 0 0 0.5 0 0 G M\n", "line 1: .*not a path segment"),
        ("5 0 0 zero 0.5 0 0 G M\n", "line 1: .*not a path segment"),
        ("5 0 0 0 0.5 0 0 G M\n1 0.5 0 0 0 0 0 M G\n", "line 2: .*at least 2 k-points"),
        ("5 0 0 0 0.5 0 0 G M\n\n5 0.5 0 0 0.5 0 0 M G\n", "line 3: .*two different"),
        ("5 0 0 0 nan 0 0 G M\n", "line 1: .*finite"),
        ("5 0 0 0 inf 0 0 G M\n", "line 1: .*finite"),
        ("\n<Band.kpath\n5 0 0 0 0.5 0 0 G M\n", "line 2: .*only one of its two ends"),
    ],
)
def test_damaged_path_files(tmp_path, content, message):
    file = tmp_path / "K_PATH"
    file.write_text(content)
    with pytest.raises(DataError, match=f"K_PATH.*{message}"):
        read_kpath(file, one_atom(HEX120))
