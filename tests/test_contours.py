"""Contours of constant energy against closed formulas, densities of states and exact models; maps; the command."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from lattice_models import changed_basis, graphene, hypercubic, one_orbital_model
from scipy.integrate import quad
from tight_binding import HONEYCOMB, haldane, tight_binding
from topology_cases import S0, SX, SY, kane_mele

from deeph.files.store import write_folder
from deeph.runtime.errors import DataError, UsageError
from postprocess.cli.contours import main
from postprocess.contours import smooth
from postprocess.contours.contours import find_contours
from postprocess.contours.lines import find_crossings
from postprocess.contours.maps import MapOf, compute_map
from postprocess.contours.plane import make_plane
from postprocess.contours.quantities import with_quantities
from postprocess.eigen.solver import Eigensolver
from postprocess.geometry.geometry import Geometry
from postprocess.lattice.mesh import IDENTITY, reduced_mesh
from postprocess.output.contour_text import contour_lines, map_lines
from postprocess.output.records import read_record
from postprocess.states.fermi import FermiLevel
from postprocess.states.mesh_levels import compute_mesh_levels
from postprocess.states.tetrahedra import TetrahedronCount

ZERO = FermiLevel(0.0, 0.0, 0.0, "given")
A = 2.46


def square_filling(energy):
    """Part of the zone where -2 cos x - 2 cos y lies below an energy."""

    def width(x):
        return np.arccos(np.clip(-energy / 2 - np.cos(x), -1, 1)) / np.pi

    return quad(width, 0, np.pi, limit=500, points=[np.arccos(np.clip(-energy / 2 - s, -1, 1)) for s in (1, -1)])[0] / np.pi


@pytest.mark.parametrize("energy", [-3.9, 0.7])
def test_points_areas_and_filling_of_a_square_lattice(energy):
    """In a basis that is not orthogonal: points solve the formula, areas are the integral of arccos, positive around electrons."""
    data = changed_basis(hypercubic(2))
    plane = make_plane(data)
    found = find_contours(data, plane, [energy], divisions=(18, 18), tolerance=1e-6)
    (line,) = found.lines
    x, y = 2 * np.pi * line.k[:, :2].T
    assert np.abs(-2 * np.cos(x) - 2 * np.cos(y) - energy).max() < 1e-6
    assert np.abs(line.off).max() < 1e-6
    assert line.closed
    part = square_filling(energy)
    assert found.filled[0, 0, 0] == pytest.approx(part, abs=1e-4)
    assert line.area / plane.area == pytest.approx(part if energy < 0 else part - 1, abs=1e-4)
    assert found.carriers(0, 0, 0) == pytest.approx(2 * (part if part < 0.5 else part - 1) / 4e-16, rel=1e-2)
    assert np.linalg.norm(np.diff(line.xy, axis=0), axis=1).max() < 1.5 * np.linalg.norm(plane.basis[0]) / 18


@pytest.mark.parametrize("n", [28, 31, 42])
def test_needles_do_not_depend_on_the_mesh(n):
    """A pocket three times as long as wide, oblique to the mesh, which it crosses between points: one line with the area of the formula."""
    hops = [((1, 2, 0), 0, 0, -1.0), ((0, 1, 0), 0, 0, -0.1)]
    data = one_orbital_model(np.diag([2.0, 3.0, 20.0]), [[0, 0, 0]], hops)
    found = find_contours(data, make_plane(data), [-2.1], divisions=(n, n))

    def width(v):
        return np.arccos(np.clip((2.1 - 0.2 * np.cos(v)) / 2, -1, 1)) / np.pi

    end = np.arccos(0.5)
    part = quad(width, 0, end, limit=500)[0] / np.pi
    (line,) = found.lines
    assert line.closed
    assert line.area / found.plane.area == pytest.approx(part, rel=2e-3)
    assert found.filled[0, 0, 0] == pytest.approx(part, rel=2e-3)
    assert np.abs(line.midway).max() == found.midway < 1e-3


@pytest.mark.parametrize(("energy", "n"), [(-2.03, 13), (-2.03, 22), (-2.039, 31)])
def test_needles_thinner_than_a_step(energy, n):
    """Many steps long and a part of one wide, whether points of the mesh lie in it or none: one line, and its area."""
    hops = [((1, 2, 0), 0, 0, -1.0), ((0, 1, 0), 0, 0, -0.02)]
    data = one_orbital_model(np.diag([2.0, 3.0, 20.0]), [[0, 0, 0]], hops)
    found = find_contours(data, make_plane(data), [energy], divisions=(n, n))
    end = np.arccos((-energy - 2) / 0.04)
    part = quad(lambda v: np.arccos((-energy - 0.04 * np.cos(v)) / 2), 0, end, limit=500)[0] / np.pi**2
    (line,) = found.lines
    assert line.area / found.plane.area == pytest.approx(part, rel=5e-3)
    assert found.filled[0, 0, 0] == pytest.approx(part, rel=5e-3)


def strained(t, gap):
    """Graphene with three different hoppings, whose cones lie at no symmetric k, and a mass: E^2 = gap^2 + |f|^2."""
    cell = [[2.46, 0, 0], [-1.23, 1.23 * np.sqrt(3), 0], [0, 0, 20.0]]
    hops = [((0, 0, 0), 0, 0, gap), ((0, 0, 0), 1, 1, -gap), *zip([(0, 0, 0), (-1, 0, 0), (-1, -1, 0)], (0,) * 3, (1,) * 3, t, strict=True)]
    return one_orbital_model(cell, [[0, 0, 5], [1.23, 0.71, 5]], hops)


@pytest.mark.parametrize(
    ("t", "gap", "energy", "n", "accuracy"),
    [((-1, -1.1, -0.93), 0.02, 0.022, 12, 1e-3), ((-1, -1.1, -0.93), 0.02, -0.022, 13, 1e-3), ((-1.9, -1, -1), 0.02, 0.025, 16, 1e-2)],
)
def test_pockets_smaller_than_a_step(t, gap, energy, n, accuracy):
    """Slightly doped massive cones between the points of the mesh, round and elongated: both are found, with the area of the formula."""
    data = changed_basis(strained(t, gap))
    found = find_contours(data, make_plane(data), [energy], divisions=(n, n), tolerance=1e-6)
    cosine = (t[0] ** 2 - t[1] ** 2 - t[2] ** 2) / (2 * t[1] * t[2])
    part = (energy**2 - gap**2) / (4 * np.pi * abs(t[1] * t[2]) * np.sqrt(1 - cosine**2))  # of the zone, each: area over the Jacobian of f
    assert part < 0.1 / n**2  # of a parallelogram of the mesh
    assert [line.area / found.plane.area for line in found.lines] == pytest.approx([np.sign(energy) * part] * 2, rel=accuracy)
    band = int(energy > 0)
    assert found.filled[0, 0].sum() == pytest.approx(1 + np.sign(energy) * 2 * part, abs=2 * accuracy * part)
    assert {line.band for line in found.lines} == {band}
    assert len(found.of(energy)) == 2
    with pytest.raises(DataError, match="no band has the energy"):
        find_contours(data, make_plane(data), [0.99 * gap], divisions=(n, n))


def test_a_ring_narrower_than_a_step_is_told_and_not_drawn_wrong(caplog):
    """E = (cos kx + cos ky - 1.2)^2: rays from inside the ring meet its inner line one way and its outer line the other way."""
    hops = [((1, 0, 0), -1.2), ((0, 1, 0), -1.2), ((2, 0, 0), 0.25), ((0, 2, 0), 0.25), ((1, 1, 0), 0.5), ((1, -1, 0), 0.5)]
    hops = [((0, 0, 0), 0, 0, 1 + 1.2**2), *((R, 0, 0, t) for R, t in hops)]
    data = one_orbital_model([[2.5, 0, 0], [0, 2.5, 0], [0, 0, 20.0]], [[0, 0, 5]], hops)
    with pytest.raises(DataError, match="no band has the energy"):
        find_contours(data, make_plane(data), [0.01], divisions=(12, 12))
    assert "no closed line was found around that place: take a finer mesh" in caplog.text


def test_bands_that_h_has_not():
    data = changed_basis(strained((-1, -1, -1), 0.1))
    with pytest.raises(UsageError, match="band 4: expected bands from 1 to 2"):
        find_contours(data, make_plane(data), [0.5], bands=[3], divisions=(12, 12))


def test_chords_are_not_silent(monkeypatch, caplog):
    """Where points beside a chord cannot be found, the line says how far its middle is off, and a warning does."""
    monkeypatch.setattr(smooth, "REACH", (1e-9,))
    data = hypercubic(2)
    found = find_contours(data, make_plane(data), [-3.0], divisions=(6, 6))
    (line,) = found.lines
    place = int(np.argmax(np.abs(line.midway)))
    x, y = np.pi * (line.k[place] + line.k[(place + 1) % len(line.k)])[:2]
    assert line.midway[place] == pytest.approx(-2 * np.cos(x) - 2 * np.cos(y) + 3)
    assert found.midway > 0.01
    assert "1 of 1 lines are coarse" in caplog.text


def test_bands_that_were_not_asked_for_are_not_counted():
    """Both bands of a Rashba layer cross; the part below of the one that is left out is not known."""
    data = rashba()
    found = find_contours(data, make_plane(data), [-3.0], divisions=(8, 8), bands=[1])
    assert np.isnan(found.filled[0, 0, 0])
    assert 0 < found.filled[0, 0, 1] < 0.5


def test_open_lines_are_not_closed():
    """A lattice that conducts along x only: contours run across the zone, and are told from orbits."""
    hops = [((1, 0, 0), 0, 0, -1.0), ((0, 1, 0), 0, 0, -0.1)]
    data = one_orbital_model(np.diag([2.0, 3.0, 20.0]), [[0, 0, 0]], hops)
    found = find_contours(data, make_plane(data), [0.0], divisions=(16, 16))
    assert [line.closed for line in found.lines] == [False, False]
    assert found.filled[0, 0, 0] == pytest.approx(0.5, abs=1e-4)
    for line in found.lines:
        step = line.k[-1] - line.k[0]
        assert np.abs(step[0]) < 1e-9
        assert abs(step[1]) == pytest.approx(1, abs=1e-9)
        assert np.isnan(line.area)


@pytest.mark.parametrize("energy", [-0.6, 1.3])
def test_areas_are_the_integrated_density_of_states(energy):
    """Luttinger: electrons below an energy by areas of lines, and by triangles of a finer mesh, extrapolated from two."""
    data = changed_basis(graphene())
    found = find_contours(data, make_plane(data), [energy], divisions=(24, 24))
    counted = []
    for n in (36, 72):
        levels = compute_mesh_levels(data, reduced_mesh((n, n, 1), (0, 0, 0), np.stack([IDENTITY, -IDENTITY])))
        counted.append(float(TetrahedronCount(levels)(np.array([energy - 1.0, energy]))[0, 0, 1]))
    assert abs(counted[1] - counted[0]) > 1e-4  # triangles alone are not that good
    assert 2 * found.filled[0].sum() == pytest.approx(counted[1] + (counted[1] - counted[0]) / 3, abs=3e-4)
    one = find_contours(data, make_plane(data), [energy], divisions=(12, 12), bands=[found.lines[0].band])
    assert one.filled[0].sum() == pytest.approx(found.filled[0].sum(), abs=2e-3)
    enclosed = sum(line.area for line in found.lines) / found.plane.area
    whole = 0 if enclosed > 0 else 1
    crossed = found.lines[0].band
    assert found.filled[0, 0, crossed] == pytest.approx(whole + enclosed, abs=1e-5)


def test_cones_of_graphene_are_small_circles():
    """A pocket of radius E / v, v = sqrt(3) a t / 2, at K and K', with enough points to be round."""
    data = graphene(fermi_energy=0.0)
    found = find_contours(data, make_plane(data), [0.05], fermi=ZERO)
    assert len(found.lines) == 2
    radius = 0.05 / (np.sqrt(3) / 2 * A)
    for line in found.lines:
        assert line.area == pytest.approx(np.pi * radius**2, rel=5e-3)
        corner = np.abs(np.linalg.norm(line.xy - line.xy.mean(axis=0), axis=1) / radius - 1)
        assert corner.max() < 0.03
        assert line.frequency == pytest.approx(1.0476e4 * line.area, rel=1e-4)


def test_a_plane_of_a_crystal():
    """Face-centred cubic: points lie in the plane and solve the formula; the section of the zone is an octagon of area 14 (pi/a)^2."""
    a = 4.0
    cell = a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]])
    neighbours = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1)]
    data = one_orbital_model(cell, [[0, 0, 0]], [(R, 0, 0, -1.0) for R in neighbours])
    plane = make_plane(data, (1, 1, -1))
    assert plane.names == ("$k_x$", "$k_y$")
    x, y = plane.zone.T
    assert len(plane.zone) == 8
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    assert area == pytest.approx(14 * (np.pi / a) ** 2)
    assert np.linalg.norm(plane.points["X"]) == pytest.approx(2 * np.pi / a)
    for offset in (0.0, 0.3):
        found = find_contours(data, make_plane(data, (1, 1, -1), offset), [-2.0], divisions=(16, 16))
        k = np.concatenate([line.k for line in found.lines]) @ data.system.reciprocal * a / 2
        assert np.abs(k[:, 2] - np.pi * offset).max() < 1e-9  # along z the plane lies at offset times 2 pi / a
        c = np.cos(k)
        assert np.abs(-4 * (c[:, 0] * c[:, 1] + c[:, 1] * c[:, 2] + c[:, 2] * c[:, 0]) + 2).max() < 1e-5


def rashba(strength=0.4):
    """-2 cos x - 2 cos y + 2 strength (sin y sigma_x - sin x sigma_y)."""
    hops = [((1, 0, 0), 0, 0, -S0 + 1j * strength * SY), ((0, 1, 0), 0, 0, -S0 - 1j * strength * SX)]
    return tight_binding(np.diag([3.0, 3.0, 20.0]), [[0, 0, 0]], [0 * S0], hops, spin="spinor", n_electrons=1.0)


def test_spins_on_the_contours_of_a_rashba_layer():
    """Normal to (sin x, sin y), of length 1, opposite in the two bands."""
    data = rashba()
    found = with_quantities(find_contours(data, make_plane(data), [-3.0], divisions=(20, 20)), data, spin=True)
    assert [line.band for line in found.lines] == [0, 1]
    for line, sign in zip(found.lines, (-1, 1), strict=True):
        x, y = 2 * np.pi * line.k[:, :2].T
        field = np.stack([np.sin(y), -np.sin(x)], axis=1)
        expected = sign * field / np.linalg.norm(field, axis=1)[:, None]
        assert np.abs(line.spins[:, :2] - expected).max() < 1e-9
        assert np.abs(line.spins[:, 2]).max() < 1e-9


def test_curvature_on_contours_and_over_the_zone():
    """Gapped graphene: on a contour near K nearly v^2 D / 4 E^3, opposite at K'; of Haldane's model the mean is the Chern number."""
    data = haldane(mass=0.3, t2=0.0)
    found = with_quantities(find_contours(data, make_plane(data), [0.31], fermi=ZERO, divisions=(36, 36)), data, curvature=True)
    assert len(found.lines) == 2
    v = np.sqrt(3) / 2 * A
    sizes = [line.curvature.mean() for line in found.lines]
    assert sizes[0] == pytest.approx(-sizes[1], rel=1e-6)
    assert abs(sizes[0]) == pytest.approx(v**2 * 0.6 / 4 / 0.31**3, rel=0.02)
    assert found.lines[0].curvature == pytest.approx(Geometry(data, found.lines[0].k).curvature()[:, 2, 1])
    topological = haldane(mass=0.2)
    plane = make_plane(topological)
    one = compute_map(topological, plane, MapOf("curvature", [0]), divisions=(36, 36))
    assert one.values.mean() * plane.area / 2 / np.pi == pytest.approx(1, abs=1e-4)
    both = compute_map(topological, plane, MapOf("curvature", [0, 1]), divisions=(12, 12))
    assert np.abs(both.values).max() < 1e-8


def test_zeros_are_told():
    """Inversion and time reversal: no spin and no curvature, on lines and maps; a Rashba layer has spin in its plane only."""
    data = kane_mele()
    plane = make_plane(data)
    found = with_quantities(find_contours(data, plane, [1.5], divisions=(12, 12)), data, curvature=True, spin=True)
    text = "\n".join(contour_lines(found, None))
    assert all(f"zero         {name} is nowhere" in text for name in ("curvature", "spin-x", "spin-z"))
    assert "zero         spin-z" in "\n".join(map_lines(compute_map(data, plane, MapOf("spin-z", [1]), divisions=(4, 5))))
    layer = rashba()
    found = with_quantities(find_contours(layer, make_plane(layer), [-3.0], divisions=(8, 8)), layer, spin=True)
    text = "\n".join(contour_lines(found, None))
    assert "zero         spin-z" in text
    assert "zero         spin-x" not in text


def test_maps_of_energy_and_spin():
    data = rashba()
    plane = make_plane(data)
    energy = compute_map(data, plane, MapOf("energy", [1]), divisions=(8, 6), fermi=FermiLevel(0.5, 0.5, 0.5))
    x, y = np.meshgrid(2 * np.pi * np.arange(8) / 8, 2 * np.pi * np.arange(6) / 6, indexing="ij")
    k = plane.fractional(np.stack([x, y], axis=-1) / 2 / np.pi) * 2 * np.pi
    x, y = k[..., 0], k[..., 1]
    assert np.allclose(energy.values, -2 * np.cos(x) - 2 * np.cos(y) + 0.8 * np.hypot(np.sin(x), np.sin(y)) - 0.5)
    spin = compute_map(data, plane, MapOf("spin-x", [1]), divisions=(8, 6))
    seen = np.hypot(np.sin(x), np.sin(y)) > 1e-6
    assert np.allclose(spin.values[seen], (np.sin(y) / np.hypot(np.sin(x), np.sin(y) + 1e-300))[seen])


def test_lines_do_not_depend_on_the_order_of_the_mesh():
    """Segments: each crossing begins one and ends one, smaller values to the left."""
    rng = np.random.default_rng(0)
    found = find_crossings(rng.normal(size=(7, 9)))
    assert np.array_equal(np.sort(found.segments[:, 0]), np.arange(len(found.edges)))
    assert np.array_equal(np.sort(found.segments[:, 1]), np.arange(len(found.edges)))
    holes = rng.normal(size=(7, 9))
    holes[3, 3:6] = np.nan
    ends = find_crossings(holes).segments
    assert set(ends[:, 0]) != set(ends[:, 1])


def test_some_bands_of_a_sparse_solver():
    """Levels near an energy, numbered by counting, give the same lines as all levels."""
    data = kane_mele(rashba=0.05)
    plane = make_plane(data)
    whole = find_contours(data, plane, [0.8], divisions=(12, 12), bands=[2])
    part = find_contours(data, plane, [0.8], divisions=(12, 12), bands=[2], solver=Eigensolver(n_bands=2, center=0.9))
    assert [line.area for line in part.lines] == pytest.approx([line.area for line in whole.lines])
    assert part.first_band > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_plane(hypercubic(3)), "choose a plane"),
        (lambda: make_plane(hypercubic(1)), "is a chain"),
        (lambda: make_plane(hypercubic(2), (1, 0, 0)), "has one plane"),
        (lambda: find_contours(hypercubic(2), make_plane(hypercubic(2)), [5.0]), r"reach \+4.0000 eV"),
        (lambda: find_contours(hypercubic(2), make_plane(hypercubic(2)), [0.0], tolerance=0), "positive tolerance"),
        (lambda: compute_map(hypercubic(2), make_plane(hypercubic(2)), MapOf("spin-z", [0])), "has no spin"),
        (lambda: compute_map(hypercubic(2), make_plane(hypercubic(2)), MapOf("energy", [1])), "bands 1 to 1"),
        (lambda: compute_map(graphene(), make_plane(graphene()), MapOf("energy", [0, 1])), "shows one band"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((DataError, UsageError), match=message):
        make()


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("contours")
    write_folder(out / "rashba", replace(rashba(), fermi_energy=-3.0))
    write_folder(out / "cubic", hypercubic(3, fermi_energy=-1.0))
    return out


def test_command(folder, capsys):
    files = [folder / f"c{suffix}" for suffix in (".pdf", ".csv", ".json", ".h5")]
    words = [folder / "rashba", "--energies", 0, "--mesh", 16, 16, "--colour", "spin-y", "--arrows", "--out", *files]
    assert call(*words) == 0
    text = capsys.readouterr().out
    assert "band 1: " in text
    assert "electrons/cm^2" in text
    assert "closed, " in text
    rows = list(csv.reader((folder / "c.csv").open()))[1:]
    assert rows[0] == ["line", "energy", "band", "spin", "k1", "k2", "k3", "kx", "ky", "kz", "off", "midway", "sx", "sy", "sz"]
    record = read_record(folder / "c.h5")
    assert len(rows) - 1 == len(record["k1"])
    assert np.allclose([float(row[13]) for row in rows[1:]], record["sy"], atol=1e-9)
    assert set(read_record(folder / "c.json")) == set(record)
    assert all(file.stat().st_size > 500 for file in files)
    assert call(folder / "rashba", "--energies", 0, "--mesh", 16, 16, "--json", "-q") == 0
    told = json.loads(capsys.readouterr().out)
    assert [line["area"] for line in told["lines"]] == pytest.approx(record["area"].tolist())


def test_command_makes_maps_with_contours(folder, capsys):
    files = [folder / "m.png", folder / "m.csv"]
    words = ["--map", "spin-x", "--arrows", "--bands", 1, "--energies", 0, "--mesh", 16, 16]
    assert call(folder / "rashba", *words, "--out", *files) == 0
    assert "map          spin-x of band 1" in capsys.readouterr().out
    assert all(file.stat().st_size > 500 for file in [*files, folder / "m_map.csv"])
    assert call(folder / "cubic", "--plane", "3=0.25", "--mesh", 12, 12, "--out", folder / "f.png") == 0
    assert "plane        k3 = 0.25" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["cubic"], 1, "choose a plane through it"),
        (["cubic", "--plane", "3=0", "--colour", "spin-z", "--out", "x.png"], 1, "has no spin"),
        (["cubic", "--plane", "0,0,0=1"], 2, "expected an axis or three integers"),
        (["rashba", "--map", "energy"], 2, "add --bands N"),
        (["rashba", "--bands", "0"], 2, "counted from 1"),
        (["rashba", "--energies", "99"], 1, "no band has the energy"),
        (["rashba", "--out", "x.txt"], 2, "expected a name ending in"),
        (["rashba", "--arrows"], 2, "add --out"),
    ],
)
def test_command_refuses(folder, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(folder)
    assert call(*words) == code
    assert message in capsys.readouterr().err
    assert not (folder / "x.png").exists()


def test_honeycomb_zone():
    """A hexagon with K at its corners and M at the middle of an edge, whichever vectors span the cell."""
    for turned in (HONEYCOMB, np.array([HONEYCOMB[0], HONEYCOMB[0] + HONEYCOMB[1], HONEYCOMB[2]])):
        data = replace(graphene(), system=replace(graphene().system, cell=HONEYCOMB))
        data = one_orbital_model(turned, data.system.positions[:1], [((1, 0, 0), 0, 0, -1.0), ((0, 1, 0), 0, 0, -1.0)])
        plane = make_plane(data)
        assert np.allclose(np.linalg.norm(plane.zone, axis=1), 4 * np.pi / 3 / A)
        assert np.linalg.norm(plane.points["K"]) == pytest.approx(4 * np.pi / 3 / A)
        assert np.linalg.norm(plane.points["M"]) == pytest.approx(2 * np.pi / np.sqrt(3) / A)


def test_lines_that_cover_each_other_are_both_seen():
    """Opposite spins on one line: the second is drawn as dashes on the first, by bands and by values; others are whole."""
    data = graphene()
    found = find_contours(data, make_plane(data), [0.5], divisions=(12, 12))
    up, down = ([replace(line, spin=s, spins=np.full((len(line.k), 3), 1.0 - 2 * s)) for line in found.lines] for s in (0, 1))
    moved = [replace(line, k=line.k + 1, xy=line.xy + found.plane.basis.sum(axis=0)) for line in down]  # the same in another period
    both = replace(found, lines=(*up, *moved), filled=np.repeat(found.filled, 2, axis=1))
    ax = both.plot(colour="spin-z")
    drawn = dict.fromkeys((1.0, -1.0), 0.0)
    for lines in ax.collections:
        if (values := lines.get_array()) is not None and lines.get_zorder() == 3:
            length = sum(float(np.linalg.norm(s[1] - s[0])) for s in lines.get_segments())
            drawn[float(values[0])] += length
    assert drawn[-1.0] == pytest.approx(drawn[1.0] / 2, rel=0.1)
    dashes = {line.get_label(): line.is_dashed() for line in both.plot().lines if line.get_label().startswith("band")}
    assert dashes == {"band 2 up": False, "band 2 down": True}
    apart = replace(both, lines=(*up, *[replace(line, xy=line.xy * 1.1) for line in down]))
    assert not any(line.is_dashed() for line in apart.plot().lines if line.get_label().startswith("band"))


def test_names_of_special_points_are_outside_the_zone():
    """K and M lie on its edge; their names do not."""
    from matplotlib.path import Path

    data = graphene()
    found = find_contours(data, make_plane(data), [0.5], divisions=(12, 12))
    ax = found.plot()
    zone = Path(ax.transData.transform(found.plane.zone))
    for text in ax.texts:
        box = text.get_window_extent()
        corners = [(x, y) for x in (box.x0, box.x1) for y in (box.y0, box.y1)]
        inside = zone.contains_points(corners)
        assert inside.all() if text.get_text() == "Γ" else not inside.any()
