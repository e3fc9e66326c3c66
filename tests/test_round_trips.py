"""Structures of any kind come back bit by bit from both folder formats, with everything they carry."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeph.files.legacy import read_legacy, write_legacy
from deeph.files.matrix_file import read_matrix, write_matrix
from deeph.files.store import read_folder, write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.patterns import EXTRA
from deeph.physics.system import System
from deeph.runtime.errors import DataError

FOLDER = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_structure(seed, spin, extra=("density_matrix",), *, grouped=True):
    """A few atoms of up to three elements with s to g shells; every matrix random."""
    rng = np.random.default_rng(seed)
    n_atoms = int(rng.integers(1, 5))
    numbers = rng.choice([1, 26, 57], n_atoms)
    system = System(
        np.diag([3.0, 3.2, 9.0]) + rng.normal(0, 0.2, (3, 3)), rng.uniform(-2, 5, (n_atoms, 3)), np.sort(numbers) if grouped else numbers
    )
    basis = Basis({z: tuple(rng.integers(0, 5, rng.integers(1, 4)).tolist()) for z in (1, 26, 57)}, spin).restricted(system.numbers)
    pairs = rng.permutation(neighbour_pairs(system, {1: 1.2, 26: 1.7, 57: 1.9}))

    def blocks(*, of_h, components=1):
        shapes = block_shapes(basis, system.numbers, pairs, spin=of_h)
        entries = rng.normal(size=(components, int(shapes.prod(axis=1).sum())))
        return PairBlocks(pairs, shapes, entries + 1j * rng.normal(size=entries.shape) if of_h and spin == "spinor" else entries)

    return Hamiltonian(
        system,
        basis,
        blocks(of_h=False),
        blocks(of_h=True, components=basis.n_spin),
        blocks(of_h=False, components=3),
        fermi_energy=float(rng.normal()),
        n_electrons=float(rng.integers(1, 9)),
        source={"code": "test"},
        moments=rng.normal(size=(n_atoms, 3)),
        extra={name: blocks(of_h=EXTRA[name], components=basis.n_spin if EXTRA[name] else 1) for name in extra},
    )


def assert_same(back, data, *, moments=0.0):
    """All matrices as sets of blocks, and everything else."""
    matrices = [(back.S, data.S), (back.H, data.H), (back.r, data.r), *((back.extra[name], data.extra[name]) for name in data.extra)]
    assert set(back.extra) == set(data.extra)
    for one, other in matrices:
        assert one.n_pairs == other.n_pairs
        assert one.entries.dtype == other.entries.dtype
        assert np.array_equal(one.on_pattern(other.pairs, other.shapes).entries, other.entries)
    for name in ("cell", "positions", "numbers"):
        assert np.array_equal(getattr(back.system, name), getattr(data.system, name))
    assert np.abs(back.moments - data.moments).max() <= moments
    assert (back.basis, back.fermi_energy, back.n_electrons, back.source) == (data.basis, data.fermi_energy, data.n_electrons, data.source)


@FOLDER
@given(seed=st.integers(0, 10**6), spin=st.sampled_from(["none", "collinear", "spinor"]), extra=st.sets(st.sampled_from(sorted(EXTRA))))
def test_current_format(tmp_path, seed, spin, extra):
    data = random_structure(seed, spin, sorted(extra))
    write_folder(tmp_path / "a", data, overwrite=True)
    assert_same(read_folder(tmp_path / "a", positions=True, extra=True), data)


@FOLDER
@given(seed=st.integers(0, 10**6))
def test_current_format_regroups_the_atoms(tmp_path, seed):
    data = random_structure(seed, "spinor", grouped=False)
    order = write_folder(tmp_path / "a", data, overwrite=True)
    assert_same(read_folder(tmp_path / "a", positions=True, extra=True).permuted(np.argsort(order)), data)


@FOLDER
@given(seed=st.integers(0, 10**6), spin=st.sampled_from(["none", "spinor"]), extra=st.sets(st.sampled_from(sorted(EXTRA))))
def test_legacy_format(tmp_path, seed, spin, extra):
    """Moments stand there as angles: they come back to rounding."""
    data = random_structure(seed, spin, sorted(extra), grouped=False)
    write_legacy(tmp_path / "a", data, overwrite=True)
    assert_same(read_legacy(tmp_path / "a"), data, moments=1e-14)


@FOLDER
@given(seed=st.integers(0, 10**6))
def test_through_the_other_format_and_back(tmp_path, seed):
    data = random_structure(seed, "spinor")
    write_legacy(tmp_path / "a", data, overwrite=True)
    write_folder(tmp_path / "b", read_legacy(tmp_path / "a"), overwrite=True)
    assert_same(read_folder(tmp_path / "b", positions=True, extra=True), data, moments=1e-14)


def write_split(folder, data, **info):
    """H = I2 x H0 + H_KB in two files, as DeepH-dock stores it."""
    write_folder(folder, data)
    H = read_matrix(folder / "hamiltonian.h5", data.system.n_atoms)
    n = H.shapes // 2
    base = H.mapped(
        lambda b, _: ((b[..., : b.shape[-2] // 2, : b.shape[-1] // 2] + b[..., b.shape[-2] // 2 :, b.shape[-1] // 2 :]) / 2).real
    )
    assert np.array_equal(base.shapes, n)
    write_matrix(folder / "hkb.h5", replace(H, entries=H.entries - base.to_spinor().entries))
    write_matrix(folder / "hamiltonian.h5", base)
    values = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps({**values, **info}))


@pytest.mark.parametrize("info", [{"split_hkb": True}, {"hamiltonian_storage": "spinless_plus_hkb"}])
def test_split_spin_orbit_is_joined(tmp_path, info):
    data = random_structure(3, "spinor")
    write_split(tmp_path / "a", data, **info)
    back = read_folder(tmp_path / "a")
    assert np.array_equal(back.H.pairs, data.H.pairs)
    assert np.allclose(back.H.entries, data.H.entries, rtol=0, atol=1e-15)
    without = read_matrix(tmp_path / "a" / "hamiltonian.h5", data.system.n_atoms).to_spinor()
    assert np.abs(without.entries - data.H.entries).max() > 0.1


def test_split_spin_orbit_of_shorter_range(tmp_path):
    data = random_structure(3, "spinor")
    write_split(tmp_path / "a", data, split_hkb=True)
    spin_orbit = read_matrix(tmp_path / "a" / "hkb.h5", data.system.n_atoms)
    write_matrix(tmp_path / "a" / "hkb.h5", spin_orbit.selected(np.arange(spin_orbit.n_pairs)[:-1]))
    back = read_folder(tmp_path / "a")
    last = tuple(data.H.pairs[-1].tolist())
    assert np.array_equal(back.H.block(last), read_matrix(tmp_path / "a" / "hamiltonian.h5", data.system.n_atoms).to_spinor().block(last))
    assert np.allclose(back.H.block(tuple(data.H.pairs[0].tolist())), data.H.block(tuple(data.H.pairs[0].tolist())), atol=1e-15)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"split_hkb": 2}, "split_hkb is 2, expected true or false"),
        ({"hamiltonian_storage": "half"}, "hamiltonian_storage 'half'"),
        ({"split_hkb": True, "hamiltonian_storage": "full"}, "keep the one that is right"),
        ({"split_hkb": True, "spin": "none", "spinful": False}, "'spinful' is not true"),
        ({"split_hkb": False}, r"block H\(.*asks for"),
    ],
)
def test_contradictions_about_the_split_are_refused(tmp_path, info, message):
    write_split(tmp_path / "a", random_structure(3, "spinor"), **info)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "a")


def test_split_without_its_second_file(tmp_path):
    write_split(tmp_path / "a", random_structure(3, "spinor"), split_hkb=True)
    (tmp_path / "a" / "hkb.h5").unlink()
    with pytest.raises(DataError, match=r"hkb\.h5 is missing"):
        read_folder(tmp_path / "a")


def spinor_overlap(folder, data, change=0.0):
    """Overlap files as older HPRO writes them: complex, [[S, 0], [0, S]], with one element changed."""
    S = data.S.to_spinor()
    entries = S.entries.astype(complex)
    entries[0, 1] += change
    if (folder / "POSCAR").is_file():
        write_matrix(folder / "overlap.h5", replace(S, entries=entries))
        return
    with h5py.File(folder / "overlaps.h5", "r+") as file:
        for n, key in enumerate(list(file)):
            block = file[key][()]
            del file[key]
            file[key] = np.kron(np.eye(2), block).astype(complex)
            if n == 0:
                file[key][0, -1] += change


@pytest.mark.parametrize("write", [write_folder, write_legacy])
def test_overlap_with_spin(tmp_path, write):
    data = random_structure(5, "spinor")
    read = read_folder if write is write_folder else read_legacy
    write(tmp_path / "a", data)
    spinor_overlap(tmp_path / "a", data)
    back = read(tmp_path / "a")
    assert back.S.entries.dtype == np.float64
    assert np.array_equal(back.S.on_pattern(data.S.pairs, data.S.shapes).entries, data.S.entries)


@pytest.mark.parametrize("write", [write_folder, write_legacy])
@pytest.mark.parametrize("change", [0.1, 0.1j])
def test_overlap_that_depends_on_spin_is_refused(tmp_path, write, change):
    data = random_structure(5, "spinor")
    write(tmp_path / "a", data)
    spinor_overlap(tmp_path / "a", data, change)
    with pytest.raises(DataError, match=r"a.*the overlap has parts of 1\.0e-01 that are not real and the same for both spins"):
        (read_folder if write is write_folder else read_legacy)(tmp_path / "a")


@pytest.mark.parametrize("write", [write_folder, write_legacy])
@pytest.mark.parametrize("name", ["S", "H", "r", "density_matrix"])
def test_a_matrix_with_fewer_blocks_gets_zeros(tmp_path, write, name):
    """No block of any other matrix is lost."""
    data = random_structure(6, "spinor")
    lonely = int(np.flatnonzero(data.S.pairs[:, 3] != data.S.pairs[:, 4])[0])
    key, R = tuple(data.S.pairs[lonely].tolist()), data.S.pairs[lonely].tolist()
    write(tmp_path / "a", data)
    if write is write_folder:
        file = {"S": "overlap", "H": "hamiltonian", "r": "position_matrix"}.get(name, name)
        blocks = read_matrix(tmp_path / "a" / f"{file}.h5", data.system.n_atoms)
        write_matrix(tmp_path / "a" / f"{file}.h5", blocks.selected(np.flatnonzero(np.arange(blocks.n_pairs) != lonely)))
        back = read_folder(tmp_path / "a", positions=True, extra=True)
    else:
        file = {"S": "overlaps", "H": "hamiltonians", "r": "positions", "density_matrix": "density_matrixs"}[name]
        with h5py.File(tmp_path / "a" / f"{file}.h5", "r+") as h5:
            for direction in (", 1", ", 2", ", 3") if name == "r" else ("",):
                del h5[f"[{R[0]}, {R[1]}, {R[2]}, {R[3] + 1}, {R[4] + 1}{direction}]"]
        back = read_legacy(tmp_path / "a")
    found = {
        "S": (back.S, data.S),
        "H": (back.H, data.H),
        "r": (back.r, data.r),
        "density_matrix": (back.extra["density_matrix"], data.extra["density_matrix"]),
    }
    for other, (mine, theirs) in found.items():
        assert mine.n_pairs == theirs.n_pairs
        assert np.array_equal(mine.block(key), 0 * theirs.block(key) if other == name else theirs.block(key))


def test_both_spellings_of_the_density_matrix(tmp_path):
    data = random_structure(1, "none")
    write_legacy(tmp_path / "a", data)
    old, new = tmp_path / "a" / "density_matrixs.h5", tmp_path / "a" / "density_matrices.h5"
    old.rename(new)
    assert_same(read_legacy(tmp_path / "a"), data, moments=1e-14)
    shutil.copy(new, old)
    with pytest.raises(DataError, match=r"density_matrixs\.h5 and density_matrices\.h5: expected one of them"):
        read_legacy(tmp_path / "a")


def test_moments_as_angles(tmp_path):
    data = replace(random_structure(4, "none"), moments=None)
    write_legacy(tmp_path / "a", data)
    assert read_legacy(tmp_path / "a").moments is None
    for row, moment in (
        ([1, 2.0, 90, 0], [2, 0, 0]),
        ([1, 3.0, 90, 90], [0, 3, 0]),
        ([1, 1.5, 180, 0], [0, 0, -1.5]),
        ([0, 4.0, 0, 0], [0, 0, 0]),
    ):
        np.savetxt(tmp_path / "a" / "magmom.txt", [row] * data.system.n_atoms)
        assert np.allclose(read_legacy(tmp_path / "a").moments, [moment] * data.system.n_atoms, atol=1e-15)


@pytest.mark.parametrize("text", ["1 2 3\n", "1 2 0 nan\n", "up\n", "1 1 0 0\n" * 9])
def test_damaged_moments(tmp_path, text):
    write_legacy(tmp_path / "a", random_structure(4, "none"))
    (tmp_path / "a" / "magmom.txt").write_text(text)
    with pytest.raises(DataError, match=r"magmom\.txt"):
        read_legacy(tmp_path / "a")
