"""H, S and r in the files of other programs, read back by small readers that follow the formats' descriptions."""

import json
import logging
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from conftest import ROOT
from export_cases import K_POINTS, bloch, levels, magnet, read_hamgnn, read_hr, read_petsc, read_sparse, read_tb, te_chain
from test_round_trips import random_structure
from tight_binding import haldane

from deeph.files.store import write_folder
from deeph.physics.conventions import TARGETS, target_order
from deeph.physics.harmonics import solid_harmonics
from deeph.runtime.errors import DataError, UsageError
from postprocess.cli.export import FORMATS as NAMES
from postprocess.cli.export import main
from postprocess.export import formats
from postprocess.export.formats import FORMATS, export, make
from postprocess.geometry.positions import ATOMS, MATRIX
from preprocess.readers import deeptb, openmx


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return te_chain(tmp_path_factory.mktemp("te"))


@pytest.fixture(params=["none", "collinear", "spinor"])
def case(request, mini_graphene, chain):
    """A structure of each spin."""
    return {"none": mini_graphene, "collinear": magnet(mini_graphene), "spinor": chain}[request.param]


def all_levels(h, k):
    """Levels of both spins together."""
    return np.sort(np.concatenate(np.atleast_2d(h.eigenvalues(k))))


def test_wanniertools(tmp_path, case):
    export(case, "wanniertools", tmp_path / "wt")
    H, S = read_sparse(tmp_path / "wt" / "hr.dat"), read_sparse(tmp_path / "wt" / "overlap.dat")
    for k in K_POINTS:
        assert np.abs(levels(bloch(H, k), bloch(S, k)) - all_levels(case, k)).max() < 1e-8
    text = (tmp_path / "wt" / "wt.in").read_text()
    spinor = case.basis.spin != "none"
    assert f"SOC = {int(spinor)}" in text
    counts = re.search(r"PROJECTORS\n([\d ]+)\n", text)[1].split()
    assert [int(x) for x in counts] == case.basis.n_orbitals(case.system.numbers).tolist()
    assert int(re.search(r"NumOccupied = (\d+)", text)[1]) == round(case.n_electrons / (1 if spinor else 2))
    if spinor:  # all up, then all down
        n = len(bloch(S, K_POINTS[1])) // 2
        assert np.abs(bloch(S, K_POINTS[1])[:n, n:]).max() == 0
        assert np.array_equal(bloch(S, K_POINTS[1])[:n, :n], bloch(S, K_POINTS[1])[n:, n:])


def test_petsc(tmp_path, case):
    export(case, "petsc", tmp_path / "of_R")
    export(case, "petsc", tmp_path / "of_k", k=list(K_POINTS))
    R = [tuple(row) for row in np.loadtxt(tmp_path / "of_R" / "R.dat", int).tolist()]
    H, S = (dict(zip(R, read_petsc(tmp_path / "of_R" / name), strict=True)) for name in ("H.petsc", "S.petsc"))
    of_k = zip(K_POINTS, *(read_petsc(tmp_path / "of_k" / name) for name in ("H.petsc", "S.petsc")), strict=True)
    assert np.array_equal(np.loadtxt(tmp_path / "of_k" / "k.dat"), K_POINTS)
    for k, H_k, S_k in of_k:
        expected = all_levels(case, k)
        assert np.abs(levels(bloch(H, k), bloch(S, k)) - expected).max() < 1e-8
        assert np.abs(levels(H_k, S_k) - expected).max() < 1e-8


def test_real_petsc_holds_no_complex_numbers(tmp_path, chain):
    with pytest.raises(DataError, match=r"H\.petsc has complex elements"):
        export(chain, "petsc", tmp_path / "a", scalars="real")
    assert not list(tmp_path.iterdir())


def test_deeptb(tmp_path, case):
    """By our reader of DeePTB's folders, and one block of the file itself."""
    export(case, "deeptb", tmp_path / "C.0")
    back = deeptb.read(tmp_path / "C.0")
    for k in K_POINTS:
        assert np.abs(all_levels(back, k) - all_levels(case, k)).max() < 1e-8
    info = json.loads((tmp_path / "C.0" / "info.json").read_text())
    assert info == {"nframes": 1, "natoms": case.system.n_atoms, "pos_type": "cart", "pbc": list(case.system.pbc)}
    with h5py.File(tmp_path / "C.0" / "overlaps.h5") as file:
        block = file["0"]["0_0_0_0_0"][()]
    assert np.array_equal(block, case.S.block((0, 0, 0, 0, 0))[0])


def test_deeptb_sorts_the_shells(tmp_path):
    """'2s1p' cannot say s p s: the orbitals are put in its order."""
    h = hermitian_random(5, "spinor")
    assert any(list(shells) != sorted(shells) for shells in h.basis.shells.values())
    export(h, "deeptb", tmp_path / "a")
    back = deeptb.read(tmp_path / "a")
    assert {z: tuple(sorted(shells)) for z, shells in h.basis.shells.items()} == dict(back.basis.shells)
    for k in K_POINTS:
        assert np.abs(levels(back.H_bloch.dense(k)) - levels(h.H_bloch.dense(k))).max() < 1e-10


def hermitian_random(seed, spin):
    """Random H, S, r of several elements, shells and atoms in any order; S is Hermitian, but no overlap of anything."""
    h = random_structure(seed, spin, (), grouped=False)
    keep = np.flatnonzero(h.S.partners >= 0)
    parts = {name: getattr(h, name).selected(keep).hermitized() for name in ("H", "S")}
    return replace(h, r=h.r.selected(keep), **parts)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_every_target_is_a_signed_permutation(seed, spin, tmp_path):
    """H(k) in another order has the same eigenvalues, whatever the shells."""
    from postprocess.export.layout import elements

    h = hermitian_random(seed, spin)
    for target in TARGETS:
        if target == "hamgnn" and max(l for shells in h.basis.shells.values() for l in shells) > 3:
            continue  # OpenMX has no g
        found = elements(h, h.H, target)
        H = {}
        for R in range(len(found.R)):
            H[tuple(found.R[R])] = np.zeros((h.n_orbitals,) * 2, found.values.dtype)
            these = found.cell == R
            H[tuple(found.R[R])][found.row[these], found.column[these]] = found.values[0, these]
        for k in K_POINTS[:2]:
            assert np.abs(levels(bloch(H, k)) - levels(h.H_bloch.dense(k))).max() < 1e-10


AXES = {
    "wannier90": {1: ["z", "x", "y"], 2: ["3z2-r2", "xz", "yz", "x2-y2", "xy"]},
    "hamgnn": {1: ["x", "y", "z"], 2: ["3z2-r2", "x2-y2", "xy", "xz", "yz"]},
    "deeptb": {1: ["y", "z", "x"], 2: ["xy", "yz", "3z2-r2", "xz", "x2-y2"]},
    "sisl": {1: ["-y", "z", "-x"], 2: ["xy", "-yz", "3z2-r2", "-xz", "x2-y2"]},
}
"""As the programs' manuals list them."""
FUNCTIONS = {
    "x": lambda p: p[0], "y": lambda p: p[1], "z": lambda p: p[2], "xy": lambda p: p[0] * p[1], "yz": lambda p: p[1] * p[2],
    "xz": lambda p: p[0] * p[2], "x2-y2": lambda p: p[0] ** 2 - p[1] ** 2, "3z2-r2": lambda p: 2 * p[2] ** 2 - p[0] ** 2 - p[1] ** 2,
}  # fmt: skip


@pytest.mark.parametrize("target", AXES)
@pytest.mark.parametrize("l", [1, 2])
def test_orders_are_those_of_the_manuals(target, l):
    points = np.random.default_rng(1).normal(size=(20, 3))
    ours = solid_harmonics(l, points)[l * l :]
    index, signs = target_order(TARGETS[target], (l,))
    for name, row in zip(AXES[target][l], signs[:, None] * ours[index], strict=True):
        expected = FUNCTIONS[name.strip("-")](points.T) * (-1 if name.startswith("-") else 1)
        assert np.corrcoef(row, expected)[0, 1] == pytest.approx(1, abs=1e-12)


def test_hoptb(tmp_path, case):
    """The files that model.jl reads: H, S, r by the names [R1, R2, R3, i, j(, direction)], blocks transposed in Julia."""
    export(case, "hoptb", tmp_path / "hop")
    folder = tmp_path / "hop"
    widths = [sum(2 * int(l) + 1 for l in line.split()) for line in (folder / "orbital_types.dat").read_text().splitlines()]
    start, total = np.concatenate([[0], np.cumsum(widths)]), sum(widths)
    spins = 1 if case.basis.spin == "none" else 2

    def read(name, components):
        out = {}
        with h5py.File(folder / name) as file:
            for key in file:
                R1, R2, R3, i, j, *direction = json.loads(key)
                n = direction[0] - 1 if direction else 0
                matrix = out.setdefault((R1, R2, R3), np.zeros((components, spins * total, spins * total), complex))[n]
                block, rows, columns = file[key][()], start[i - 1], start[j - 1]
                full = block if name == "hamiltonians.h5" else np.kron(np.eye(spins), block)
                for s in range(spins):
                    for t in range(spins):
                        part = full[s * widths[i - 1] : (s + 1) * widths[i - 1], t * widths[j - 1] : (t + 1) * widths[j - 1]]
                        a, b = s * total + rows, t * total + columns
                        matrix[a : a + widths[i - 1], b : b + widths[j - 1]] = part
        return out

    H, S, r = read("hamiltonians.h5", 1), read("overlaps.h5", 1), read("positions.h5", 3)
    for k in K_POINTS:
        assert np.abs(levels(bloch(H, k)[0], bloch(S, k)[0]) - all_levels(case, k)).max() < 1e-8
    cell = np.loadtxt(folder / "lat.dat").T
    for R in r:  # r(R)_ij = r(-R)_ji + R S, from the lattice origin
        turned = r[tuple(-x for x in R)].swapaxes(1, 2) + (np.array(R) @ cell)[:, None, None] * S[R]
        assert np.abs(r[R] - turned).max() < 1e-4  # numerical integrals of the DFT code
    text = (folder / "model.jl").read_text()
    assert f"spins = {spins}" in text
    assert f"r: {MATRIX}" in text
    assert {"sethopping!", "setoverlap!", "setposition!"} <= set(re.findall(r"\w+!", text))


def test_hoptb_of_a_complex_h_without_spin(tmp_path):
    """Julia refuses complex numbers in a TBModel{Float64}."""
    export(haldane(), "hoptb", tmp_path / "hop")
    assert "TBModel{ComplexF64}" in (tmp_path / "hop" / "model.jl").read_text()


def test_without_r_the_approximation_is_named(tmp_path, mini_graphene, caplog):
    h = replace(mini_graphene, r=None)
    with caplog.at_level(logging.INFO, "deeph"):
        export(h, "hoptb", tmp_path / "hop")
        export(h, "wannier90", tmp_path / "w90", mesh=(2, 2, 1))
    assert caplog.text.count(ATOMS) == 2
    assert ATOMS in (tmp_path / "hop" / "model.jl").read_text()
    assert ATOMS in (tmp_path / "w90" / "wannier90_tb.dat").read_text().splitlines()[0]
    with h5py.File(tmp_path / "hop" / "positions.h5") as file:
        onsite = file["[0, 0, 0, 2, 2, 1]"][()]
    assert np.abs(onsite - h.system.positions[1, 0] * h.S.block((0, 0, 0, 1, 1))[0]).max() < 1e-12


PLACES = {6: [0, 3, 4, 5], 52: [0, 3, 4, 5, 6, 7, 8, 9, 10]}


def test_hamgnn(tmp_path, mini_graphene, chain):
    """Single precision: levels to 1e-4 eV, the blocks to rounding."""
    for name, h in (("none", mini_graphene), ("collinear", magnet(mini_graphene)), ("spinor", chain)):
        export(h, "hamgnn", tmp_path / f"{name}.npz")
        counts = {z: sorted(shells) for z, shells in h.basis.shells.items()}
        places = {z: slots(shells) for z, shells in counts.items()}
        H, S = read_hamgnn(tmp_path / f"{name}.npz", places)
        for k in K_POINTS:
            assert np.abs(27.2113845 * levels(H(k), S(k)) - all_levels(h, k)).max() < 1e-4
    data = np.load(tmp_path / "none.npz", allow_pickle=True)["graph"].item()[0]
    block = data.Hon.numpy()[1].reshape(14, 14)[np.ix_([0, 3, 4, 5], [0, 3, 4, 5])] * 27.2113845  # s, px, py, pz
    ours = mini_graphene.H.block((0, 0, 0, 1, 1))[0][np.ix_([0, 3, 1, 2], [0, 3, 1, 2])]
    assert np.abs(block - ours).max() < 1e-5
    assert np.allclose(data.pos.numpy() * 0.529177249, mini_graphene.system.positions, atol=1e-6)


def slots(shells):
    """Places of sorted shells among s s s p p d d f of HamGNN."""
    first, width = {0: 0, 1: 3, 2: 9, 3: 19}, {0: 1, 1: 3, 2: 5, 3: 7}
    out = []
    for l in sorted(set(shells)):
        out += range(first[l], first[l] + shells.count(l) * width[l])
    return out


def test_hamgnn_refuses_what_has_no_place(tmp_path, mini_graphene):
    h = hermitian_random(5, "none")  # shells up to g
    with pytest.raises(UsageError, match="does not fit into HamGNN's places"):
        export(h, "hamgnn", tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_wannier90(tmp_path, case, caplog):
    """Levels on the mesh are exact, elsewhere as good as the printed truncation; hr and tb hold the same H; r is Hermitian."""
    mesh = (5, 5, 1)
    with caplog.at_level(logging.INFO, "deeph"):
        export(case, "wannier90", tmp_path / "w90", mesh=mesh)
    printed = float(re.search(r"truncation error of the levels up to (\S+) eV", caplog.text)[1])
    H = read_hr(tmp_path / "w90" / "wannier90_hr.dat")
    cell, H_tb, r = read_tb(tmp_path / "w90" / "wannier90_tb.dat")
    assert np.array_equal(cell, case.system.cell)
    assert set(H) == set(H_tb) == set(r)
    for R in H:
        turned = tuple(-x for x in R)
        assert np.abs(H[R] - H_tb[R]).max() == 0
        assert np.abs(H[R] - H[turned].conj().T).max() < 1e-10
        assert np.abs(r[R] - r[turned].conj().swapaxes(1, 2)).max() < 1e-10
    for k in (np.array(n) / mesh for n in ((0, 0, 0), (1, 3, 0), (4, 2, 0))):
        assert np.abs(levels(bloch(H, k)) - all_levels(case, k)).max() < 1e-8
    for k in ([0.1, 0.1, 0], [0.3, 0.5, 0], [0.21, 0.07, 0]):
        assert np.abs(levels(bloch(H, k)) - all_levels(case, k)).max() <= 1.05 * printed
    centres = np.array([line.split()[1:] for line in (tmp_path / "w90" / "wannier90_centres.xyz").read_text().splitlines()[2:]], float)
    n = len(H[0, 0, 0])
    assert np.abs(centres[:n] - np.diagonal(r[0, 0, 0], axis1=1, axis2=2).T.real).max() < 1e-10
    assert np.abs(centres[n:] - case.system.positions).max() < 1e-10


def test_zero_at_the_fermi_level(tmp_path, mini_graphene):
    export(mini_graphene, "petsc", tmp_path / "a", k=[K_POINTS[1]], zero="fermi")
    H, S = (read_petsc(tmp_path / "a" / name)[0] for name in ("H.petsc", "S.petsc"))
    expected = mini_graphene.eigenvalues(K_POINTS[1]) - mini_graphene.fermi_energy
    assert np.abs(levels(H, S) - expected).max() < 1e-10
    with pytest.raises(DataError, match="Fermi level is not known"):
        export(replace(mini_graphene, fermi_energy=None), "petsc", tmp_path / "b", zero="fermi")


def test_a_table_for_the_command_and_the_conventions():
    assert tuple(FORMATS) == NAMES
    assert set(TARGETS) == set(FORMATS)
    page = (ROOT / "docs" / "export.md").read_text()
    assert all(f"`{name}`" in page for name in FORMATS)


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("w90", {}, "there is no format 'w90'; expected one of wannier90"),
        ("sisl", {"mesh": (2, 2, 1)}, "mesh is an option of wannier90, wannierberri, pythtb, kwant, not of sisl"),
        ("wannier90", {"k": [K_POINTS[0]]}, "k is an option of petsc, not of wannier90"),
        ("wannier90", {"mesh": (2, 0, 1)}, "three positive numbers of k-points"),
        ("kwant", {}, r"kwant has no files; from Python: deeph.read\(FOLDER\).to_kwant\(\)"),
        ("sisl", {"scalars": "real"}, "scalars is an option of petsc, not of sisl"),
        ("petsc", {"zero": "vacuum"}, "expected 'h' or 'fermi'"),
    ],
)
def test_wrong_usage(tmp_path, mini_graphene, to, options, message):
    with pytest.raises(UsageError, match=message):
        export(mini_graphene, to, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_kept(tmp_path, mini_graphene):
    for to, name in (("petsc", "folder"), ("hamgnn", "a.npz")):
        export(mini_graphene, to, tmp_path / name)
        with pytest.raises(DataError, match="exists already and is kept"):
            export(mini_graphene, to, tmp_path / name)
        export(mini_graphene, to, tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "folder"]


def test_nothing_is_left_of_what_failed(tmp_path, mini_graphene, monkeypatch):
    def broken(folder, h):
        (folder / "half").write_text("")
        raise DataError("in the middle")

    monkeypatch.setitem(formats.FORMATS, "petsc", replace(FORMATS["petsc"], write=broken, options=()))
    with pytest.raises(DataError, match="in the middle"):
        export(mini_graphene, "petsc", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path, mini_graphene, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="sisl is not installed: pip install sisl"):
        export(mini_graphene, "sisl", tmp_path / "a.nc")
    with pytest.raises(UsageError, match="pythtb is not installed"):
        mini_graphene.to_pythtb()
    with pytest.raises(UsageError, match=r"hoptb has no Python object; h.export\('hoptb', OUT\) writes its files"):
        make(mini_graphene, "hoptb")


def test_an_overlap_alone_is_refused(tmp_path, mini_graphene):
    with pytest.raises(DataError, match="holds only the overlap"):
        export(replace(mini_graphene, H=None, extra={}), "petsc", tmp_path / "a")


def test_large_cells_are_told_what_keeps_the_overlap(tmp_path, mini_graphene, monkeypatch):
    monkeypatch.setattr("postprocess.export.loewdin.DENSE_LARGEST", 7)
    with pytest.raises(UsageError, match=r"8 orbitals are too many for orthonormal orbitals.*keep the overlap"):
        export(mini_graphene, "wannier90", tmp_path / "a")


def test_the_command_takes_the_positions_of_the_folder(tmp_path, mini_graphene, capsys, caplog):
    write_folder(tmp_path / "data", mini_graphene)
    with pytest.raises(SystemExit) as done:
        main([str(tmp_path / "data"), str(tmp_path / "out"), "--to", "wannier90", "--mesh", "3", "3", "1"])
    assert done.value.code == 0
    said = capsys.readouterr().err
    assert f"r: {MATRIX}" in said
    assert "truncation error" in said
    assert f"wrote {tmp_path / 'out'}" in said
    with pytest.raises(SystemExit) as done:
        main([str(tmp_path / "data"), str(tmp_path / "k"), "--to", "petsc", "--k", "K", "1/3,0,0"])
    assert done.value.code == 0
    assert len(read_petsc(tmp_path / "k" / "H.petsc")) == 2
    with pytest.raises(SystemExit) as done:
        main([str(tmp_path / "data"), str(tmp_path / "k"), "--to", "petsc"])
    assert done.value.code == 1
    said = capsys.readouterr().err
    assert "exists already and is kept" in said
    assert "--overwrite" in said


def test_a_zeroth_order_h_moves_with_the_energy_zero(mini_graphene):
    """H - H0, which networks learn, stays; it was left out without a word."""
    H0 = replace(mini_graphene.H, entries=0.9 * mini_graphene.H.entries)
    h = replace(mini_graphene, extra={"H0": H0, "density_matrix": mini_graphene.H}, fermi_energy=-3.0)
    moved = h.with_potential(3.0)
    assert moved.fermi_energy == 0
    assert np.allclose(moved.H.entries - moved.extra["H0"].entries, h.H.entries - H0.entries, atol=1e-12)
    assert np.abs(moved.extra["H0"].entries - H0.entries).max() > 2.9
    assert np.array_equal(moved.extra["density_matrix"].entries, mini_graphene.H.entries)
    assert not h.with_potential(np.array([0.1, -0.1])).extra


def test_the_command_reads_a_zeroth_order_h(tmp_path, mini_graphene, monkeypatch):
    """Folders have it in a file of its own, which only HamGNN's format has a place for."""
    H0 = replace(mini_graphene.H, entries=0.9 * mini_graphene.H.entries)
    write_folder(tmp_path / "data", replace(mini_graphene, extra={"H0": H0}))
    seen = []
    monkeypatch.setattr("postprocess.export.formats.export", lambda h, *_, **__: seen.append(h))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "data"), str(tmp_path / "out.npz"), "--to", "hamgnn"])
    assert set(seen[0].extra) == {"H0"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["si2", "gaas", "mos2_soc", "fe_bcc_spin", "fe_nc_soc"])
def test_real_runs_keep_their_levels(shared_data, tmp_path, name):
    """The forms that keep the overlap, with real bases and spins."""
    h = openmx.read(shared_data / "openmx" / name)
    export(h, "wanniertools", tmp_path / "wt")
    export(h, "petsc", tmp_path / "petsc", k=list(K_POINTS[1:2]))
    export(h, "deeptb", tmp_path / "deeptb")
    expected = all_levels(h, K_POINTS[1])
    H, S = read_sparse(tmp_path / "wt" / "hr.dat"), read_sparse(tmp_path / "wt" / "overlap.dat")
    assert np.abs(levels(bloch(H, K_POINTS[1]), bloch(S, K_POINTS[1])) - expected).max() < 1e-8
    H, S = (read_petsc(tmp_path / "petsc" / file)[0] for file in ("H.petsc", "S.petsc"))
    assert np.abs(levels(H, S) - expected).max() < 1e-8
    assert np.abs(all_levels(deeptb.read(tmp_path / "deeptb"), K_POINTS[1]) - expected).max() < 1e-8
