"""DeePTB and dftio folders written in their layouts: frames, spin, half of the blocks, older names, and damage."""

import ast
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from test_round_trips import random_structure

from deeph.files.store import read_folder
from deeph.physics.pairs import half_pairs, is_onsite
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.discover import find_runs
from preprocess.readers import deeptb, detect
from preprocess.verify import check_bands, eigenvalues

LETTERS = "spdfg"
PLURAL = {"S": "overlaps.h5", "H": "hamiltonians.h5", "density_matrix": "density_matrices.h5"}


def frame_data(seed=2, spin="none", shift=0.0):
    """A Hermitian structure whose numbers are exact in single precision."""
    data = random_structure(seed, spin, ("density_matrix",), grouped=False)
    keep = np.flatnonzero(data.S.partners >= 0)

    def single(blocks):
        whole = blocks.selected(keep).hermitized()
        return replace(
            whole, entries=(whole.entries.astype(np.complex64 if spin == "spinor" and np.iscomplexobj(whole.entries) else np.float32))
        )

    S, H, density = single(data.S), single(data.H), single(data.extra["density_matrix"])
    S = S.mapped(lambda b, p: np.where(is_onsite(p)[:, None, None], np.eye(*b.shape[-2:]), 0.01 * b).astype(np.float32))
    shells = {z: tuple(sorted(ls)) for z, ls in data.basis.shells.items()}
    system = replace(data.system, positions=data.system.positions + shift)
    return replace(
        data, system=system, basis=replace(data.basis, shells=shells), S=S, H=H, r=None, moments=None, extra={"density_matrix": density},
        fermi_energy=None, n_electrons=None,
    )  # fmt: skip


def write(folder, frames, *, names=PLURAL, first_atom=0, first_frame=0, half=False):
    """The ``dat`` format of dftio."""
    folder.mkdir(parents=True, exist_ok=True)
    plural = names is PLURAL
    one = frames[0]
    np.savetxt(folder / "cell.dat", np.concatenate([f.system.cell for f in frames]))
    np.savetxt(folder / ("positions.dat" if plural else "position.dat"), np.concatenate([f.system.positions for f in frames]))
    np.savetxt(folder / ("atomic_numbers.dat" if plural else "atomic_number.dat"), one.system.numbers, fmt="%d")
    np.savetxt(folder / "pbc.dat", np.array([True] * 3))
    shells = {SYMBOLS[z]: "".join(f"{ls.count(l)}{LETTERS[l]}" for l in sorted(set(ls))) for z, ls in one.basis.shells.items()}
    (folder / "basis.dat").write_text(str(shells))
    for name, file in names.items():
        with h5py.File(folder / file, "w") as h5:
            for number, frame in enumerate(frames, start=first_frame):
                blocks = {"S": frame.S, "H": frame.H}.get(name) or frame.extra[name]
                kept = (
                    np.concatenate([half_pairs(blocks.pairs), np.flatnonzero(is_onsite(blocks.pairs))]) if half else range(blocks.n_pairs)
                )
                group = h5.create_group(str(number))
                for n in kept:
                    R1, R2, R3, i, j = blocks.pairs[n].tolist()
                    group[f"{i + first_atom}_{j + first_atom}_{R1}_{R2}_{R3}"] = blocks.take(np.array([n]))[0, 0]
    return folder


def assert_same(back, data):
    assert back.basis == data.basis
    assert np.array_equal(back.system.positions, data.system.positions)
    assert np.array_equal(back.system.numbers, data.system.numbers)
    for one, other in ((back.S, data.S), (back.H, data.H), (back.extra["density_matrix"], data.extra["density_matrix"])):
        assert one.entries.dtype == (np.complex128 if np.iscomplexobj(other.entries) else np.float64)
        assert one.n_pairs == other.n_pairs
        assert np.array_equal(one.on_pattern(other.pairs, other.shapes).entries, other.entries)


@pytest.mark.parametrize("spin", ["none", "spinor"])
@pytest.mark.parametrize("seed", range(4))
def test_one_frame(tmp_path, spin, seed):
    data = frame_data(seed, spin)
    folder = write(tmp_path / "Si.0", [data])
    assert detect(folder).read is deeptb.read
    assert_same(deeptb.read(folder), data)


@pytest.mark.parametrize("how", [{"half": True}, {"first_atom": 1}, {"first_frame": 1}])
def test_layouts_of_other_versions(tmp_path, how):
    data = frame_data()
    assert_same(deeptb.read(write(tmp_path / "a", [data], **how)), data)


def test_basis_with_a_line_for_each_atom(tmp_path):
    """DeePTB's own reader of ABACUS writes it so."""
    data = frame_data()
    folder = write(tmp_path / "a", [data])
    shells = ast.literal_eval((folder / "basis.dat").read_text())
    lines = [shells[symbol] for symbol in data.system.symbols]
    (folder / "basis.dat").write_text("".join(f"{line}\n" for line in lines))
    assert_same(deeptb.read(folder), data)
    (folder / "basis.dat").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="one line '2s2p1d' for each atom"):
        deeptb.read(folder)


def test_names_of_older_versions(tmp_path):
    data = frame_data()
    old = {"S": "overlap.h5", "H": "hamiltonian.h5", "density_matrix": "density_matrix.h5"}
    assert_same(deeptb.read(write(tmp_path / "a", [data], names=old)), data)


def test_blocks_of_zeros_are_left_out(tmp_path):
    data = frame_data()
    folder = write(tmp_path / "a", [data])
    shape = data.S.take(np.flatnonzero((data.S.pairs == (0, 0, 0, 0, 0)).all(1))).shape[-2:]
    for file in PLURAL.values():
        with h5py.File(folder / file, "r+") as h5:
            h5["0/0_0_5_0_0"] = h5["0/0_0_-5_0_0"] = np.zeros(shape, np.float32)
    assert_same(deeptb.read(folder), data)


def test_frames_become_structures(tmp_path, capsys):
    one = frame_data()
    frames = [one, frame_data(shift=0.25), frame_data(shift=0.5)]
    folder = write(tmp_path / "runs" / "md.0", frames)
    found = find_runs([tmp_path / "runs"])
    assert [path.name for path in found] == ["frame_0000", "frame_0001", "frame_0002"]
    for path, data in zip(found, frames, strict=True):
        assert_same(deeptb.read(path), data)
    with pytest.raises(DataError, match=r"3 frames; read them one by one"):
        deeptb.read(folder)
    with pytest.raises(DataError, match=r"frame 7 \(counted from 0\) was asked for; frames: 3 in overlaps\.h5"):
        deeptb.read(folder / "frame_0007")
    with pytest.raises(SystemExit) as done:
        main([str(tmp_path / "runs"), str(tmp_path / "out"), "-q", "--verify", "off"])  # its overlap is random
    assert done.value.code == 0
    assert "3 ok" in capsys.readouterr().out
    back = read_folder(tmp_path / "out" / "frame_0002")
    assert back.source["frame"] == 2
    assert np.allclose(np.sort(back.system.positions, axis=0), np.sort(frames[2].system.positions, axis=0), atol=1e-14)


def test_trajectory_and_fractional_positions(tmp_path):
    from ase.io import write as write_ase

    frames = [frame_data(), frame_data(shift=0.25)]
    folder = write(tmp_path / "a", frames)
    (tmp_path / "info.json").write_text(json.dumps({"nframes": 2, "pos_type": "frac", "pbc": True}))
    np.savetxt(folder / "positions.dat", np.concatenate([f.system.fractional for f in frames]))
    (folder / "pbc.dat").unlink()
    assert np.allclose(deeptb.read(folder / "frame_0001").system.positions, frames[1].system.positions, atol=1e-13)
    for name in ("cell", "positions", "atomic_numbers"):
        (folder / f"{name}.dat").unlink()
    write_ase(folder / "xdat.traj", [f.system.to_ase() for f in frames])
    assert_same(deeptb.read(folder / "frame_0001"), frames[1])


def test_molecule_gets_a_box(tmp_path):
    data = frame_data()
    folder = write(tmp_path / "a", [data])
    np.savetxt(folder / "pbc.dat", np.zeros(3))
    system = deeptb.read(folder).system
    assert system.pbc == (False, False, False)
    assert (np.diag(system.cell) >= 20).all()


@pytest.mark.parametrize("flat", [False, True])
def test_eigenvalues(tmp_path, flat):
    one = frame_data()
    frames = [one, replace(one, H=replace(one.H, entries=2 * one.H.entries))]
    folder = write(tmp_path / "a", frames)
    k = np.array([[0, 0, 0], [0.1, 0.2, 0.3]])
    energies = np.stack([eigenvalues(frame, k)[0] for frame in frames])
    np.save(folder / "kpoints.npy", k)
    np.save(folder / "eigenvalues.npy", energies.reshape(-1, energies.shape[-1]) if flat else energies)
    path = folder / "frame_0001"
    back = deeptb.read(path)
    reference = deeptb.read_bands(path, back.system)
    assert "eigenvalues.npy" in check_bands(back, reference)
    with pytest.raises(DataError, match="differ"):
        check_bands(back, reference._replace(energies=reference.energies + 0.01))
    np.save(folder / "eigenvalues.npy", energies[0, :, :-1].ravel()[:-1])
    with pytest.raises(DataError, match="do not fit to 2 frames"):
        deeptb.read_bands(path, back.system)
    content = (folder / "kpoints.npy").read_bytes()
    for text in (b"\0", b"(", b"'"):  # numpy reads the head as Python
        (folder / "kpoints.npy").write_bytes(content[:64] + text + content[65:])
        with pytest.raises(DataError, match=r"kpoints\.npy is not a complete array of numbers"):
            deeptb.read_bands(path, back.system)
    (folder / "kpoints.npy").unlink()
    with pytest.raises(DataError, match=r"has no kpoints\.npy: there"):
        deeptb.read_bands(path, back.system)


def edit(folder, name, key, change):
    with h5py.File(folder / name, "r+") as h5:
        value = change(h5[key][()])
        del h5[key]
        if value is not None:
            h5[key] = value


def nan(block):
    block[0, 0] = np.nan
    return block


def skewed(block):
    block[0, -1] += 5
    return block


def edit_group(folder, name):
    with h5py.File(folder / "overlaps.h5", "r+") as h5:
        if name == "0":
            del h5["0"]
        h5.create_group(name)


def damage_name(folder):
    with h5py.File(folder / "overlaps.h5", "r+") as h5:
        h5["0/first block"] = np.zeros((2, 2))


@pytest.mark.parametrize(("part", "accepted"), [(0.5e-3, True), (2e-3, False)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_accepted_asymmetry_is_a_part_of_the_largest_element(tmp_path, part, accepted, scale):
    data = frame_data()
    data = replace(data, H=replace(data.H, entries=np.float32(scale) * data.H.entries))
    folder = write(tmp_path / "a", [data])
    largest = np.abs(data.H.entries).max()

    def skew(block):
        block[0, 1] += part * largest
        return block

    edit(folder, "hamiltonians.h5", "0/0_0_0_0_0", skew)
    if accepted:
        assert deeptb.read(folder).H.hermiticity_error() == 0
    else:
        with pytest.raises(DataError, match="H differs from its Hermitian conjugate by"):
            deeptb.read(folder)


def twice(folder):
    with h5py.File(folder / "overlaps.h5", "r+") as h5:
        h5["0/00_0_0_0_0"] = h5["0/0_0_0_0_0"][()]


DAMAGE = {
    "no overlap": (lambda f: (f / "overlaps.h5").unlink(), r"no overlaps\.h5"),
    "cut": (lambda f: (f / "hamiltonians.h5").write_bytes((f / "hamiltonians.h5").read_bytes()[:900]), r"hamiltonians\.h5"),
    "nan": (lambda f: edit(f, "hamiltonians.h5", "0/0_0_0_0_0", nan), r"hamiltonians\.h5: block 0_0_0_0_0 .* not finite"),
    "shape": (lambda f: edit(f, "overlaps.h5", "0/0_0_0_0_0", lambda b: b[:, :-1]), "not of the shape"),
    "skewed": (lambda f: edit(f, "hamiltonians.h5", "0/0_0_0_0_0", skewed), "differs from its Hermitian conjugate by"),
    "name": (damage_name, "a dataset .first block.; expected names i_j_R1_R2_R3"),
    "complex": (lambda f: edit(f, "hamiltonians.h5", "0/0_0_0_0_0", lambda b: b + 1j), "type complex64 is not finite, or is not of"),
    "twice": (twice, "two datasets for one block"),
    "text": (lambda f: edit(f, "overlaps.h5", "0/0_0_0_0_0", lambda b: b.astype("S8")), r"overlaps\.h5"),
    "empty": (lambda f: edit_group(f, "0"), "has no blocks"),
    "gap": (lambda f: edit_group(f, "5"), "expected the groups"),
    "frames": (lambda f: edit_group(f, "1"), r"2 in overlaps\.h5, 1 in hamiltonians\.h5"),
    "no cell": (lambda f: (f / "cell.dat").unlink(), r"cell\.dat is not a table"),
    "no positions": (lambda f: (f / "positions.dat").write_text("x"), r"positions\.dat is not a table"),
    "numbers": (lambda f: (f / "atomic_numbers.dat").write_text("1\n"), r"atomic_numbers\.dat"),
    "basis text": (lambda f: (f / "basis.dat").write_text("__import__('os')"), r"basis\.dat is neither a basis"),
    "basis shells": (lambda f: (f / "basis.dat").write_text("{'Fe': '2s*'}"), r"'2s\*'; expected numbers of shells"),
    "basis element": (lambda f: (f / "basis.dat").write_text("{'C': '2s'}"), "no orbitals known for"),
    "pbc": (lambda f: (f / "pbc.dat").write_text("yes no"), "expected three of True and False"),
    "pbc bytes": (lambda f: (f / "pbc.dat").write_bytes(b"\xff\xfe 1 1"), "expected three of True and False"),
    "info": (lambda f: (f / "info.json").write_text("{"), r"info\.json is not readable"),
    "pos_type": (lambda f: (f / "info.json").write_text('{"pos_type": "bohr"}'), "pos_type 'bohr'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_folders_are_refused(tmp_path, case):
    folder = write(tmp_path / "a", [frame_data()])
    spoil, message = DAMAGE[case]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        deeptb.read(folder)
    assert find_runs([tmp_path / "a"])  # the pipeline reports it as a failed run
