"""Local densities of states, images of tunnelling microscopes, and wave functions with their sign: graphene in orbitals with a cutoff."""

import csv
import re
from dataclasses import replace

import ase.build
import numpy as np
import pytest
from facade_case import extended_hueckel
from lattice_models import hypercubic
from pao_files import write_pao
from tight_binding import enlarged

import deeph
from deeph.files.orbitals_file import write_orbitals
from deeph.files.store import write_folder
from deeph.physics.units import CODATA, HBAR2_OVER_MASS
from deeph.runtime.errors import DataError, UsageError
from postprocess.cli import states as states_command
from postprocess.cli.stm import main
from postprocess.density import local
from postprocess.density.constant_current import height_of
from postprocess.density.local import LevelWindow, local_density, states_in_window
from postprocess.density.stm import Tip, take_image
from postprocess.density.surface import Surface
from postprocess.density.vacuum import Vacuum, density_above
from postprocess.eigen.solver import Eigensolver
from postprocess.output.records import read_record
from postprocess.states.grid import Grid
from postprocess.states.realspace import compute_density
from postprocess.states.signed import WaveFunctions, compute_wave_functions, real_combinations
from postprocess.states.states import States
from preprocess.orbitals.basis_files import read_basis

FERMI = -9.9
"""eV, where the pi bands touch at K."""


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """H of graphene in two-centre integrals of carbon orbitals, which are known in space."""
    folder = tmp_path_factory.mktemp("stm")
    basis = f"{write_pao(folder / 'C6.0.pao', 'C', 4, n_functions=(1, 1), smooth=True)}:s1p1"
    data = extended_hueckel(deeph.overlap(ase.build.graphene(vacuum=6), basis=basis), {0: (-20.0,), 1: (-10.0,)})
    orbitals = read_basis([6], [basis])
    write_folder(folder / "graphene", replace(data, fermi_energy=FERMI))
    write_orbitals(folder / "graphene" / "orbitals.h5", orbitals)
    return data, orbitals, folder


def test_the_integral_is_the_number_of_electrons(case, monkeypatch):
    """On a mesh of which half is computed, in slices; the same as state by state at every k, and never negative."""
    data, orbitals, _ = case
    window = LevelWindow(FERMI - 4, FERMI, 0.1)
    shares = states_in_window(data, (3, 3, 1), window)
    assert len(shares) == 5  # of nine
    grid = Grid.with_spacing(data.system, 0.25)
    monkeypatch.setattr(local, "AT_ONCE", 3e5)
    density = local_density(shares, orbitals, grid, data)
    electrons = sum(share.weights.sum() for share in shares)
    assert electrons > 1
    assert density.sum() * grid.volume == pytest.approx(electrons, rel=1e-4)
    assert density.min() >= 0
    whole = np.zeros(grid.shape)
    for k in np.stack(np.meshgrid(np.arange(3) / 3, np.arange(3) / 3, [0.0]), -1).reshape(-1, 3):
        levels = Eigensolver()(data)(k, 0)
        w = 2 / 9 * window.weights(levels.energies)
        chosen = levels.chosen(np.flatnonzero(w > 1e-6), None, None)
        whole += np.tensordot(w[w > 1e-6], compute_density(States(data, k, 0, chosen), orbitals, grid), axes=1)
    assert np.abs(density - whole).max() < 1e-6 * whole.max()


def test_windows():
    """Widths share levels among neighbouring windows; at one energy the weight is a density."""
    energies = np.linspace(-1, 1, 2001)
    first, second, both = (LevelWindow(*ends, 0.07).weights(energies) for ends in ((-0.3, 0.1), (0.1, 0.4), (-0.3, 0.4)))
    assert np.allclose(first + second, both)
    assert LevelWindow(0.1, 0.1, 0.07).weights(energies).sum() * 1e-3 == pytest.approx(1)
    assert np.array_equal(LevelWindow(-0.3, 0.1, 0.0).weights(energies), ((energies > -0.3) & (energies <= 0.1)).astype(float))
    for wrong in ((0.1, 0.0, 0.1), (0.0, 0.0, 0.0), (0.0, 1.0, -1.0)):
        with pytest.raises(UsageError):
            LevelWindow(*wrong)


def image_at(data, orbitals, mesh, height=1.6, side="top", **options):
    shares = states_in_window(data, mesh, LevelWindow(FERMI - 3, FERMI, 0.2))
    return density_above(shares, orbitals, data, Surface.of(data, side), np.array([height]), spacing=0.42, **options)[0]


def test_a_supercell_gives_the_same_image(case):
    """2 x 2 k-points of the cell are Gamma of 2 x 2 cells: phases of periodic images, also of the states continued into vacuum."""
    data, orbitals, _ = case
    big = enlarged(replace(data, n_electrons=8.0), (2, 2, 1))
    for options in ({}, {"vacuum": Vacuum(FERMI + 5, 1.2)}):
        small, large = image_at(data, orbitals, (2, 2, 1), **options), image_at(big, orbitals, (1, 1, 1), **options)
        n = small.shape
        assert np.allclose(large[: n[0], : n[1]], small, rtol=1e-6, atol=0)
        assert np.allclose(large[n[0] :, n[1] :], small, rtol=1e-6, atol=0)
    assert np.ptp(small) > 0.01 * small.mean()


def test_k_across_vacuum_is_refused(case):
    """The image of a layer that lies across the boundary of its cell would have lost the phases of its atoms."""
    data, _, _ = case
    with pytest.raises(UsageError, match="not periodic along lattice vector 3; expected 2 2 1"):
        states_in_window(data, (2, 2, 2), LevelWindow(FERMI - 3, FERMI, 0.2))


def test_both_sides_and_atoms_across_the_boundary(case):
    """A flat sheet looks the same from above and below, wherever the cell is cut."""
    data, orbitals, _ = case
    top = image_at(data, orbitals, (2, 2, 1))
    assert np.allclose(image_at(data, orbitals, (2, 2, 1), side="bottom"), top, rtol=1e-8)
    system = data.system
    moved = replace(system, positions=system.positions + np.diag([0, 0, system.cell[2, 2]])[1:])
    surface = Surface.of(replace(data, system=moved))
    assert np.abs(surface.system.positions[:, 2]).max() < 1e-9


def test_constant_current_follows_the_density(case):
    """At the height that an image shows, the density is the one that was asked for; more current means a lower tip."""
    data, orbitals, _ = case
    shares = states_in_window(data, (3, 3, 1), LevelWindow(FERMI - 3, FERMI, 0.2))
    surface = Surface.of(data)
    image = take_image(shares, orbitals, data, surface, Tip("current", 1.5, spacing=0.5))
    flat = take_image(shares, orbitals, data, surface, Tip(height=1.5, spacing=0.5))
    assert image.setting == pytest.approx(flat.values.mean())
    assert image.values.min() < 1.5 < image.values.max()
    assert np.corrcoef(image.values.ravel(), np.log(flat.values.ravel()))[0, 1] > 0.97
    for place in (int(image.values.argmin()), int(image.values.argmax())):
        at = np.array([image.values.flat[place]])
        there = density_above(shares, orbitals, data, surface, at, spacing=0.5)[0].flat[place]
        assert there == pytest.approx(image.setting, rel=2e-3)
    nearer = take_image(shares, orbitals, data, surface, Tip("current", current=2 * image.setting, spacing=0.5))
    assert (nearer.values < image.values).all()
    assert image.symbols == ("C", "C")


def test_default_current_is_reached_everywhere(case, caplog):
    """Near the atoms the mean density is not reached above the hollows: the default goes down to what is, and a choice is told of it."""
    data, orbitals, _ = case
    surface = Surface.of(data)
    shares = states_in_window(data, (2, 2, 1), LevelWindow(FERMI - 6, FERMI, 0.2))
    mean = take_image(shares, orbitals, data, surface, Tip(height=0.6, spacing=0.5)).values.mean()
    image = take_image(shares, orbitals, data, surface, Tip("current", 0.6, spacing=0.5))
    assert 0 < image.setting < mean
    assert image.values.min() >= 0.5
    assert "the largest that is reached everywhere" in caplog.text
    with pytest.raises(DataError, match=re.escape(f"{image.setting:.3g} electrons/Angstrom^3 are reached everywhere")):
        take_image(shares, orbitals, data, surface, Tip("current", current=float(mean), spacing=0.5))
    at_K = states_in_window(data, (3, 3, 1), LevelWindow(FERMI - 0.2, FERMI + 0.2, 0.1))
    with pytest.raises(DataError, match="have a node"):
        take_image(at_K, orbitals, data, surface, Tip("current", 1.5, spacing=0.3))


def test_in_vacuum_states_decay_with_the_barrier(case):
    """The density is continuous at the plane, and far away that of the slowest component, exp(-2 kappa z)."""
    data, orbitals, _ = case
    # the pi state, which is the same in all cells, and two sigma states
    shares = states_in_window(data, (1, 1, 1), LevelWindow(FERMI - 3, FERMI, 0.0))
    surface, energy = Surface.of(data), shares[0].energies
    vacuum = Vacuum(FERMI + 4.5, 1.3)
    at = np.array([1.3, 1.3 + 1e-9, 8.0, 9.0])
    density = density_above(shares, orbitals, data, surface, at, spacing=0.3, vacuum=vacuum)
    assert np.allclose(density[0], density[1], rtol=1e-6)
    kappa = np.sqrt(2 * (vacuum.level - energy.min()) / HBAR2_OVER_MASS)  # of pi; the sigma states have no part that is even in the plane
    slope = -np.log(density[3].mean() / density[2].mean())
    assert slope == pytest.approx(2 * kappa, rel=0.01)
    corrugation = [float(np.ptp(one) / one.mean()) for one in density]
    assert corrugation[3] < 0.01 * corrugation[0]  # what varies in the plane decays faster
    with pytest.raises(DataError, match="above the vacuum level"):
        density_above(shares, orbitals, data, surface, at, spacing=0.5, vacuum=Vacuum(float(energy.min()) - 0.1, 1.3))


def test_tails_of_levels_above_the_vacuum_are_in_the_window(case):
    """What a widened level has in the window decays as there, also if the level itself lies above the vacuum level."""
    data, orbitals, _ = case
    exact, wide = (states_in_window(data, (1, 1, 1), LevelWindow(FERMI - 3, FERMI, width)) for width in (0.0, 2.0))
    assert max(share.energies.max() for share in wide) == FERMI < max(Eigensolver()(data)(np.zeros(3), 0).energies)
    vacuum, at = Vacuum(FERMI + 0.5, 1.3), np.array([5.0, 6.0])
    density = density_above(wide, orbitals, data, Surface.of(data), at, spacing=0.5, vacuum=vacuum)
    slowest = 2 * np.sqrt(2 * 0.5 / HBAR2_OVER_MASS)
    assert -np.log(density[1].mean() / density[0].mean()) > slowest
    assert len(exact[0].energies) < len(wide[0].energies)


def test_heights_between_planes():
    """Exactly where the density decays exponentially; refused where it is never, or always, so large."""
    at = np.linspace(1, 3, 5)
    density = np.exp(-2 * at)[:, None, None] * np.array([[1.0, 2.0]])
    assert np.allclose(height_of(density, at, 0.03), -np.log(0.03 / np.array([[1.0, 2.0]])) / 2)
    for value, message in ((1e-9, "larger current"), (0.2, "smaller current")):
        with pytest.raises(DataError, match=message):
            height_of(density, at, value)


def states_at(data, k, n):
    return States(data, np.array(k), 0, Eigensolver()(data)(np.array(k), 0).chosen(np.arange(n), None, None))


@pytest.mark.parametrize("k", [(0, 0, 0), (0.5, 0, 0), (1 / 3, 1 / 3, 0)])
def test_wave_functions_are_orthonormal_on_the_grid(case, k):
    """Normalized, orthogonal to each other, real where k = -k + G, with the phase that the module states."""
    data, orbitals, _ = case
    grid = Grid.with_spacing(data.system, 0.25)
    found = compute_wave_functions(states_at(data, k, 5), orbitals, grid)
    psi = found.psi[:, 0].reshape(5, -1)
    overlap = psi.conj() @ psi.T * grid.volume
    assert np.abs(overlap - np.eye(5)).max() < 1e-3
    square = (psi**2).sum(axis=1)
    assert np.abs(np.angle(square)).max() < 1e-6
    assert (psi.real.max(axis=1) >= (1 - 2e-6) * np.abs(psi.real).max(axis=1)).all()
    assert found.is_real.tolist() == [2 * k[0] % 1 == 0] * 5
    if found.is_real.all():
        assert np.abs(psi.imag).max() < 1e-6
        assert (psi.real.min(axis=1) < -0.05).any()  # signs are there


def test_degenerate_states_are_made_real(case):
    """Random complex combinations of degenerate pairs at Gamma come back real, and still solve the equation."""
    data, _, _ = case
    one = states_at(data, (0, 0, 0), 8)
    rng = np.random.default_rng(1)
    C, start = one.C.astype(complex), 0
    for group in np.split(np.arange(8), np.flatnonzero(np.diff(one.energies) > 1e-6) + 1):
        U = np.linalg.qr(rng.normal(size=(len(group),) * 2) + 1j * rng.normal(size=(len(group),) * 2))[0]
        C[:, group] = C[:, group] @ U
        start = max(start, len(group))
    assert start > 1
    mixed = replace(one, levels=replace(one.levels, vectors=C))
    found = real_combinations(mixed)
    assert np.abs(found.C.imag).max() < 1e-8
    H, S = data.H_bloch.dense(np.zeros(3)), data.S_bloch.dense(np.zeros(3))
    assert np.abs(H @ found.C - S @ found.C * found.energies).max() < 1e-8


@pytest.mark.parametrize("phases", [(0.3, 2 * np.arctan(np.sqrt(2)) - 0.3), (np.pi, np.pi), (np.pi - 1e-9, -np.pi + 1e-9)])
def test_no_phases_keep_degenerate_states_from_being_real(case, phases):
    """Pairs of phases that one fixed combination of the real and the imaginary part of C^T S C takes for equal, or that lie at a cut."""
    data, _, _ = case
    one = real_combinations(states_at(data, (0, 0, 0), 8))
    C, turn = one.C.astype(complex), np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    (pair,) = (g for g in np.split(np.arange(8), np.flatnonzero(np.diff(one.energies) > 1e-6) + 1)[:4] if len(g) == 2)
    C[:, pair] = C[:, pair] * np.exp(0.5j * np.array(phases)) @ turn
    found = real_combinations(replace(one, levels=replace(one.levels, vectors=C)))
    assert np.abs(found.C.imag).max() < 1e-8
    assert np.abs(found.C.conj().T @ data.S_bloch.dense(np.zeros(3)) @ found.C - np.eye(8)).max() < 1e-8


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


def test_command(case, capsys):
    _, _, folder = case
    files = [folder / f"image{suffix}" for suffix in (".png", ".csv", ".json", ".h5")]
    words = ["--mesh", 2, 2, 1, "--spacing", 0.5, "--width", 0.2]
    assert call(folder / "graphene", "--bias", -3, *words, "--height", 1.5, "--cube", folder / "l.cube", "--out", *files) == 0
    text = capsys.readouterr().out
    assert "states       -3.0000 to +0.0000 eV" in text
    assert "image        constant height 1.5 Angstrom above C" in text
    assert all(file.stat().st_size > 500 for file in [*files, folder / "l.cube"])
    record = read_record(folder / "image.h5")
    rows = list(csv.reader((folder / "image.csv").open()))[2:]
    assert np.allclose([float(row[2]) for row in rows], record["values"].ravel(), rtol=1e-6)
    assert call(folder / "graphene", "--bias", 4.5, *words, "--mode", "current", "--height", 3, "--vacuum", 9, "--out", files[0]) == 0
    assert "constant current, density" in capsys.readouterr().out


def test_command_refuses(case, capsys, tmp_path, mini_graphene):
    _, _, folder = case
    sheet = folder / "graphene"
    picture = tmp_path / "x.png"
    write_folder(tmp_path / "bare", mini_graphene)
    for words, code, message in (
        ((tmp_path / "bare", "--bias", 1, "--out", picture), 1, "need the radial functions of the basis"),
        ((sheet, "--bias", -3, "--out", picture, "--height", 9), 1, "the orbitals end"),
        ((sheet, "--bias", -3, "--out", picture, "--height", 0.1), 2, "expected 0.5 or more"),
        ((sheet, "--out", picture), 2, "which levels"),
        ((sheet, "--bias", 1), 2, "nothing to write"),
        ((sheet, "--window", 90, 91, "--out", picture), 1, "--window 90 91: no level lies"),
        ((sheet, "--bias", 90, "--fermi", 200, "--out", picture), 1, "--bias 90: no level lies from +0 to +90 eV around the Fermi level"),
        ((sheet, "--bias", 1, "--current", 1, "--out", picture), 2, "--mode current"),
    ):
        assert call(*words, "--mesh", 1, 1, 1, "--spacing", 0.5) == code
        assert message in capsys.readouterr().err
    assert not picture.exists()


def test_a_crystal_has_no_surface():
    with pytest.raises(DataError, match="a tip needs a surface"):
        Surface.of(hypercubic(3))


def test_parts_of_wave_functions():
    """What cube files and volumes are named after, in one place."""
    psi = np.arange(1, 9).reshape(2, 2, 2, 1, 1) * (1 + 2j)
    two = WaveFunctions(psi, np.array([True, False]))
    assert list(two.parts(0)) == ["up", "down"]
    assert list(two.parts(1)) == ["up_re", "up_im", "down_re", "down_im"]
    assert np.array_equal(two.parts(1)["down_im"], psi[1, 1].imag)
    one = WaveFunctions(psi[:, :1], np.array([True, False]))
    assert list(one.parts(0)) == [""]
    assert list(one.parts(1)) == ["re", "im"]


def test_signed_cubes(case, capsys):
    """One real file at Gamma, two of K; the sum of squares of both is 1."""
    from ase.io.cube import read_cube_data

    _, _, folder = case
    words = [folder / "graphene", "--k", "G", "K", "--n-bands", 1, "--cube", folder / "psi", "--signed", "--spacing", 0.4]
    with pytest.raises(SystemExit) as stop:
        states_command.main([str(w) for w in words])
    assert stop.value.code == 0
    assert sorted(p.name for p in folder.glob("psi_*")) == ["psi_1.cube", "psi_2_im.cube", "psi_2_re.cube"]
    parts = [read_cube_data(str(folder / name))[0] for name in ("psi_1.cube", "psi_2_re.cube", "psi_2_im.cube")]
    volume = abs(np.linalg.det(case[0].system.cell)) / parts[0].size / CODATA.bohr**3
    assert (parts[0] ** 2).sum() * volume == pytest.approx(1, abs=1e-2)
    assert ((parts[1] ** 2).sum() + (parts[2] ** 2).sum()) * volume == pytest.approx(1, abs=1e-2)
    with pytest.raises(SystemExit):
        states_command.main([str(folder / "graphene"), "--signed"])
    assert "add --cube NAME" in capsys.readouterr().err


@pytest.mark.parametrize(("low", "unit"), [(-3, "electrons/Angstrom^3"), (0, "states/(eV Angstrom^3)")])
def test_a_density_at_one_energy_is_a_density_of_states(case, capsys, tmp_path, low, unit):
    """Units on the screen, in all tables, in cube files, and where a current is refused."""
    _, _, folder = case
    words = [folder / "graphene", "--window", low, 0, "--mesh", 3, 3, 1, "--spacing", 0.8, "--width", 0.2, "--height", 1.5]
    files = [tmp_path / "a.csv", tmp_path / "a.json"]
    assert call(*words, "--cube", tmp_path / "a.cube", "--out", *files) == 0
    assert unit in capsys.readouterr().out
    assert f"({unit})" in files[0].read_text().splitlines()[0]
    assert read_record(files[1])["density_unit"] == unit
    assert unit.replace("Angstrom", "bohr") in (tmp_path / "a.cube").read_text().splitlines()[0]
    assert call(*words, "--mode", "current", "--current", 1e9, "--out", files[0]) == 1
    assert f"below 1e+09 {unit} down to" in " ".join(capsys.readouterr().err.split())
