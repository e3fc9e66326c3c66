"""Pictures and responses by the methods of a Hamiltonian: what the functions behind the commands give, and plain numbers in results."""

from dataclasses import fields, is_dataclass, replace

import ase.build
import numpy as np
import pytest
from facade_case import extended_hueckel
from pao_files import write_pao
from tight_binding import changed_basis, haldane, with_spinors

import deeph
from deeph import DeephError
from deeph.files.orbitals_file import read_orbitals, write_orbitals
from postprocess.contours.contours import find_contours
from postprocess.contours.plane import make_plane
from postprocess.density.local import LevelWindow, states_in_window
from postprocess.density.stm import Surface, Tip, take_image
from postprocess.states.fermi import find_fermi_level
from preprocess.orbitals.basis_files import read_basis

FERMI = -9.9
WINDOW = (-4.0, 0.0)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """Graphene in two-centre integrals of carbon orbitals, and the file of these."""
    folder = tmp_path_factory.mktemp("pictures")
    basis = f"{write_pao(folder / 'C6.0.pao', 'C', 4, n_functions=(1, 1), smooth=True)}:s1p1"
    data = extended_hueckel(deeph.overlap(ase.build.graphene(vacuum=6), basis=basis), {0: (-20.0,), 1: (-10.0,)})
    write_orbitals(folder / "orbitals.h5", read_basis([6], [basis]))
    return replace(data, fermi_energy=FERMI), folder / "orbitals.h5"


@pytest.fixture(scope="module")
def chern():
    """A Chern insulator of spinors with one filled band."""
    return replace(changed_basis(with_spinors(haldane(0.2), 0, 30)), n_electrons=1.0)


def numpy_scalars(value, place=""):
    """Where a result holds numpy scalars; arrays may."""
    if isinstance(value, np.generic):
        return [place]
    if is_dataclass(value) and not isinstance(value, deeph.Hamiltonian):
        return [found for f in fields(value) for found in numpy_scalars(getattr(value, f.name), f"{place}.{f.name}")]
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in numpy_scalars(item, f"{place}[{name!r}]")]
    if isinstance(value, list | tuple):
        return [found for n, item in enumerate(value) for found in numpy_scalars(item, f"{place}[{n}]")]
    return []


def test_contours_and_maps(sheet, chern):
    h, _ = sheet
    found = h.contours([-1.0, 1.0], mesh=(12, 12))
    expected = find_contours(h, make_plane(h), [-1.0, 1.0], fermi=find_fermi_level(h), divisions=(12, 12))
    assert [line.area for line in found.lines] == [line.area for line in expected.lines]
    assert found.title == "C2"
    coloured = chern.contours(-1.0, bands=[0], mesh=(12, 12), curvature=True, spin=True, fermi=0.0, positions="atoms", tolerance=1e-3)
    assert coloured.lines[0].curvature.shape == (len(coloured.lines[0].k),)
    assert coloured.positions.startswith("approximated")
    some = h.contours(1.0, mesh=(8, 8), n_bands=6, around=FERMI)
    assert some.lines
    plane = chern.zone_map("curvature", 0, mesh=(8, 8))
    assert plane.values.shape == (8, 8)
    assert chern.zone_map("spin-x", [0], mesh=(4, 4), arrows=True).spins.shape == (4, 4, 3)
    assert not numpy_scalars([found, coloured, plane])


def test_bands_of_edges(sheet):
    h, _ = sheet
    found = h.edge_bands("b", 4, "GX", points=5)
    assert set(found.weights) == {"edge 1", "edge 2"}
    assert found.fermi_origin == "that of the crystal that was cut"
    assert np.allclose(found.energies, h.cut("b", 4).bands("GX", points=5).energies)
    wide = h.edge_bands("b", 4, "GX", points=5, edge=2)
    assert np.allclose(wide.weights["edge 1"] + wide.weights["edge 2"], 1)
    assert not numpy_scalars([found, found.gap])


def test_densities_and_images(sheet, tmp_path):
    h, orbitals = sheet
    shares = states_in_window(h, (3, 3, 1), LevelWindow(FERMI + WINDOW[0], FERMI + WINDOW[1], 0.1))
    density = h.local_density(WINDOW, orbitals, mesh=(3, 3, 1), width=0.1, spacing=0.3)
    assert density.integral == pytest.approx(sum(share.weights.sum() for share in shares), rel=1e-3)
    density.save(tmp_path / "valence.cube")
    assert (tmp_path / "valence.cube").stat().st_size > 500
    image = h.stm(WINDOW, orbitals, mesh=(3, 3, 1), width=0.1, spacing=0.4, height=1.5)
    functions = read_orbitals(orbitals)
    expected = take_image(shares, functions, h, Surface.of(h), Tip(height=1.5, spacing=0.4))
    assert np.array_equal(image.values, expected.values)
    same = h.stm(-4.0, functions, mesh=(3, 3, 1), width=0.1, spacing=0.4, height=1.5)
    assert np.array_equal(same.values, image.values)
    assert not numpy_scalars([image, density])


def test_states_and_wave_functions(sheet, tmp_path):
    h, orbitals = sheet
    (states,) = h.states("K")
    assert np.allclose(states.energies, h.eigenvalues("K"))
    near = h.states([[0, 0, 0], [0.5, 0, 0]], n_bands=2)
    assert [len(one.energies) for one in near] == [2, 2]
    psi, other = h.wave_functions([0, 0, 0], orbitals, [0, 3], spacing=0.25)
    assert psi.signed
    assert psi.integral == pytest.approx(1, abs=1e-3)
    assert psi.values.min() < psi.values.max()
    assert other.energy == pytest.approx(h.eigenvalues()[3])
    psi.save(tmp_path / "psi.cube")
    (square,) = h.wave_functions("G", orbitals, [0], signed=False, spacing=0.25)
    assert np.allclose(square.values, psi.values**2, atol=1e-9)
    (complex_one,) = h.wave_functions([0.2, 0.1, 0], orbitals, [0], spacing=0.25)
    assert set(complex_one.parts) == {"re", "im"}
    complex_one.save(tmp_path / "wave.cube")
    assert {path.name for path in tmp_path.glob("*.cube")} == {"psi.cube", "wave_re.cube", "wave_im.cube"}
    with pytest.raises(DeephError, match="re, im"):
        complex_one.values  # noqa: B018 - a property


def test_without_dense_matrices(chern):
    dense = chern.berry_curvature("GK", [0], points=4)
    sparse = chern.berry_curvature("GK", [0], points=4, solver="sparse")
    assert np.allclose(sparse.curl, dense.curl, atol=1e-8)
    for method in ("levels", "kpm"):
        options = {"temperature": 5000.0, "n_vectors": 2}
        found = chern.optics((2, 2, 1), photons=(0.5, 4), points=3, broadening=1.0, method=method, **options)
        assert found.sigma.shape == (3, 2, 2)
        assert not numpy_scalars(found)


def test_options_of_responses_are_named(chern):
    for method in ("dense", "levels"):
        with pytest.raises(
            DeephError, match=r"option 'n_energies': expected one of .*temperature.*scissor" if method == "dense" else "n_vectors"
        ):
            chern.optics((2, 2, 1), method=method, n_energies=3)
    shift = chern.optics((2, 2, 1), "shift", photons=(0.5, 4), points=3)
    assert len(repr(shift)) < 200
    assert shift.unit == "A m/V^2"


def test_static_responses(chern):
    found = chern.static_response("spin-hall", (6, 6, 1), rounds=0)
    assert found["spin-hall"].temperature == 0
    parts = chern.static_response("transport", (6, 6, 1), window=(-1, 1), points=3, rounds=0, fermi=-1.0)
    assert parts["drude"].values.shape == (3, 4)
    assert not numpy_scalars([found, parts])


def test_results_hold_plain_numbers(sheet, chern):
    """A gap printed its flags as np.False_."""
    h, _ = sheet
    bands = h.bands("GMKG", points=12)
    assert "np." not in repr(bands.gap)
    results = [bands, bands.gap, h.dos((-3, 3), mesh=(4, 4, 1)), h.mulliken((3, 3, 1)), find_fermi_level(h)]
    results += [chern.berry_curvature("GK", points=3), chern.hall_conductivity((6, 6, 1), rounds=1), chern.optics((4, 4, 1), points=3)]
    assert not numpy_scalars(results)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda h: h.contours(tolerances=1), "expected one of tolerance, positions, around"),
        (lambda h: h.contours(plane=(1, 0)), "three integers"),
        (lambda h: h.contours(plane=(1, 0, 0)), "leave out the plane"),
        (lambda h: h.zone_map("magic", 0), "expected one of energy"),
        (lambda h: h.edge_bands("b", 4, edge=3), "do not meet"),
        (lambda h: h.stm(1.0, "none.h5", mode="sideways"), "'height' or 'current'"),
        (lambda h: h.stm(1.0, "none.h5", tip=1), "expected one of current, start"),
        (lambda h: h.local_density((0, 1), "none.h5"), "none.h5"),
        (lambda h: h.wave_functions("nowhere", {}), "not a k-point"),
        (lambda h: h.berry_curvature("GK", solver="magic"), "'auto', 'dense' or 'sparse'"),
        (lambda h: h.berry_curvature("GK", [0, 2], solver="sparse"), "neighbouring bands"),
        (lambda h: h.optics((4, 4, 1), method="magic"), "auto, dense, levels, kpm"),
        (lambda h: h.optics((4, 4, 1), "shift", method="kpm"), "expected the conductivity"),
        (lambda h: h.static_response("magic"), "transport, spin-hall, nernst, dipole"),
    ],
)
def test_wrong_calls_are_explained(chern, call, said):
    with pytest.raises(DeephError, match=said):
        call(chern)
