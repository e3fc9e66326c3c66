"""Every documented layout of ABACUS's files, written by the tests, and what happens to damaged ones."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from abacus_files import BOHR, RYDBERG, Layout, dense_cells, made_up, orb_name, stru_text, write_csr, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.readers import abacus, detect
from preprocess.readers.abacus import bands as abacus_bands
from preprocess.readers.kmesh import k_mesh
from preprocess.verify import eigenvalues, verify

HR, SR, RR = (f"data-{name}.csr" for name in ("HR-sparse_SPIN0", "SR-sparse_SPIN0", "rR-sparse"))


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize(
    "layout", [Layout("old"), Layout("bare", out="."), Layout("old", width=8), Layout("new"), Layout("newest", width=8)]
)
def test_round_trip(tmp_path: Path, spin: str, layout: Layout) -> None:
    data = made_up(spin)
    write_run(tmp_path, data, layout)
    found = abacus.read(tmp_path)
    assert (found.basis, found.fermi_energy, found.n_electrons) == (data.basis, 0.25, 17)
    np.testing.assert_allclose(found.system.positions, data.system.positions, atol=1e-12)
    expected = (data.S, data.H, data.r, data.extra["kinetic"])
    for theirs, ours in zip(expected, (found.S, found.H, found.r, found.extra["kinetic"]), strict=True):
        np.testing.assert_allclose(ours.on_pattern(theirs.pairs, theirs.shapes).entries, theirs.entries, atol=1e-9)
    assert found.S.n_pairs == data.H.n_pairs  # the union of the patterns
    assert found.S.hermiticity_error() == found.H.hermiticity_error() == 0
    assert found.source["orbital_radii"] == {"Mo": pytest.approx(4.16 * BOHR), "S": pytest.approx(4.16 * BOHR)}
    assert (found.source["k_grid"], found.source["k_shift"]) == ([2, 2, 1], [0, 0, 0])


def test_entries_dropped_on_one_side_only(tmp_path: Path) -> None:
    """ABACUS leaves out small entries one by one; the partner counts half, and nothing stays asymmetric."""
    data = made_up()
    out = write_run(tmp_path, data)
    cells = dense_cells(data, replace(data.H, entries=data.H.entries / RYDBERG))
    cells[0, 0, 0][0, 0, 1] = 0.0
    cells[0, 0, 0][0, 1, 0] = 2e-8
    write_csr(out / HR, "H", cells, Layout(), 1)
    assert abacus.read(tmp_path).H.hermiticity_error() == 0
    cells[0, 0, 0][0, 1, 0] = 1e-3
    write_csr(out / HR, "H", cells, Layout(), 1)
    with pytest.raises(DataError, match=r"HR-sparse.*Hermitian conjugate by 1.0e-03"):
        abacus.read(tmp_path)


@pytest.mark.parametrize("naming", ["old", "new"])
def test_empty_lattice_vectors(tmp_path: Path, naming: str) -> None:
    """Written with empty lists, with the number 0 only, or (first versions of the newer files) left out although they are counted."""
    data = made_up()
    out = write_run(tmp_path, data, Layout(naming))
    path = out / {"old": HR, "new": "hrs1_nao.csr"}[naming]
    cells = dense_cells(data, replace(data.H, entries=data.H.entries / RYDBERG))
    cells[9, 9, 9] = np.zeros_like(cells[0, 0, 0])
    write_csr(path, "H", cells, Layout(naming), 1)
    full = abacus.read(tmp_path)
    np.testing.assert_allclose(full.H.on_pattern(data.H.pairs, data.H.shapes).entries, data.H.entries, atol=1e-9)
    text = path.read_text()
    cut = text[: text.index("9 9 9 0")].rstrip(" ")
    path.write_text(cut)
    if naming == "old":
        with pytest.raises(DataError, match="truncated"):
            abacus.read(tmp_path)
        return
    np.testing.assert_array_equal(abacus.read(tmp_path).H.entries, full.H.entries)
    path.write_text(cut[: cut.rindex("# CSR values")].rsplit("\n", 2)[0] + "\n")  # one more lattice vector: a truncated file
    with pytest.raises(DataError, match="Hermitian conjugate"):
        abacus.read(tmp_path)


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_overlap_only_runs(tmp_path: Path, spin: str) -> None:
    data = made_up(spin)
    out = write_run(tmp_path, data, Layout("bare", only=("S",)))
    (out / SR).rename(tmp_path / "SR.csr")  # where get_S of older versions puts it
    (tmp_path / "INPUT").write_text(f"INPUT_PARAMETERS\ncalculation get_S\nnspin {4 if spin == 'spinor' else 1}\n")
    found = abacus.read(tmp_path)
    assert found.H is None
    assert found.fermi_energy is None
    assert found.basis.spin == spin  # that of the run, for whoever adds H
    np.testing.assert_allclose(found.S.on_pattern(data.S.pairs, data.S.shapes).entries, data.S.entries, atol=1e-9)
    (tmp_path / "SR.csr").rename(out / "sr_nao.csr")
    assert abacus.read(out).S.n_pairs == found.S.n_pairs  # the OUT folder itself, STRU above it
    assert "sr_nao.csr" in (abacus.detect(tmp_path) or "")


def test_orbitals_from_the_log(tmp_path: Path) -> None:
    for n, layout in enumerate((Layout(orb=False), Layout(orb=False, version="3.11.0"), Layout(log=False))):
        write_run(tmp_path / str(n), made_up(), layout)
        found = abacus.read(tmp_path / str(n))
        assert found.basis.shells == {42: (0, 1, 2), 16: (0, 0, 1)}
        assert found.fermi_energy == (0.25 if layout.log else None)  # of the last iteration
    # the radius comes from the file name where the log is all there is
    assert abacus.read(tmp_path / "0").source["orbital_radii"]["Mo"] == pytest.approx(4 * BOHR)
    stru = tmp_path / "0" / "STRU"
    stru.write_text(stru.read_text().replace("_4au_", "_"))
    assert abacus.read(tmp_path / "0").source["orbital_radii"]["Mo"] == pytest.approx(4.16 * BOHR)  # the longest of the run


def test_moments(tmp_path: Path) -> None:
    out = write_run(tmp_path, made_up("spinor"))
    out.joinpath("mulliken.txt").write_text(
        "STEP: 0\n" + "".join(f"Total Charge on atom:  Mo   14\nTotal Magnetism on atom:  Mo   ({x}, 0, 2.5e-1)\n" for x in (0.5, -1, 2))
    )
    np.testing.assert_array_equal(abacus.read(tmp_path).moments, [[0.5, 0, 0.25], [-1, 0, 0.25], [2, 0, 0.25]])
    out = write_run(tmp_path / "2", made_up("collinear"))
    out.joinpath("mulliken.txt").write_text("".join(f" total magnetism on atom {n}     {n}.5\n" for n in (1, 2, 3)))
    np.testing.assert_array_equal(abacus.read(tmp_path / "2").moments, [[0, 0, 1.5], [0, 0, 2.5], [0, 0, 3.5]])
    out.joinpath("mulliken.txt").write_text(" total magnetism on atom 1     1.5\n")
    assert abacus.read(tmp_path / "2").moments is None


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("name", ["istate.info", "eig_occ.txt"])
def test_eigenvalues_of_every_spin(tmp_path: Path, spin: str, name: str) -> None:
    """From the command line, with the bands ABACUS would print and the electrons below the Fermi level."""
    data = made_up(spin)
    out = write_run(tmp_path / "run", data)
    k, weights = k_mesh([2, 2, 1], [0, 0, 0], fold=False)
    energies = eigenvalues(data, k)
    electrons = float(weights @ (energies < data.fermi_energy).sum(axis=(0, 2))) * (2 if spin == "none" else 1)
    with (tmp_path / "run" / "INPUT").open("a") as file:
        file.write(f"nelec {electrons}\n")
    shown = energies[..., :9]
    k_shown = k + 1e-12
    if name == "istate.info":
        title = "Energy(ev)   Occupation" if len(shown) == 1 else "Spin up Energy(ev)   Occupation   Spin down Energy(ev)   Occupation"
        lines = []
        for n, one in enumerate(k_shown):
            lines += [f"BAND   {title}    Kpoint = {n + 1}      ({one[0]:.16g} {one[1]:.16g} {one[2]:.16g})"]
            lines += [f"  {b + 1} " + " ".join(f"{e:.15g} 0.5" for e in shown[:, n, b]) for b in range(9)] + ["", ""]
    else:
        cartesian = k_shown @ np.linalg.inv(data.system.cell).T * (3.7 * BOHR)
        lines = ["1     # ionic step", " Electronic state energy (eV) and occupations", f" Spin number {len(shown)}"]
        for s, one_spin in enumerate(shown):
            for n, one in enumerate(cartesian):
                lines += [f" spin={s + 1} k-point={n + 1}/{len(k)} Cartesian={one[0]:.8f} {one[1]:.8f} {one[2]:.8f} (299 plane wave)"]
                lines += [f" {b + 1} {e:.15f} 0.0" for b, e in enumerate(one_spin[n])] + [""]
    (out / name).write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "preprocess.cli.preprocess", tmp_path / "run", tmp_path / "data", "--verify", "bands", "--positions"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"bands of {name}" in done.stdout
    (out / name).write_text("\n".join(lines).replace("0.5", "0.6", 1)[:-40])
    with pytest.raises(DataError, match=f"{name} is not a complete list"):
        abacus_bands.read_bands(tmp_path / "run", data.system)


def test_gaussian_smearing_is_counted(tmp_path: Path) -> None:
    """A metal: the sharp count is off, the smeared one is exact."""
    from scipy.special import erfc

    data = made_up()
    write_run(tmp_path, data)
    k, weights = k_mesh([2, 2, 1], [0, 0, 0], fold=True)
    filled = erfc((eigenvalues(data, k) - data.fermi_energy) / (0.1 * RYDBERG))
    with (tmp_path / "INPUT").open("a") as file:
        file.write(f"nelec {weights @ filled.sum(axis=(0, 2)):.10f}\nsmearing_method gaussian\nsmearing_sigma 0.1\n")
    found = abacus.read(tmp_path)
    assert "electrons to 1e-0" in verify(found, "basic")
    with pytest.raises(DataError, match="electrons"):
        verify(replace(found, source=found.source | {"smearing": "fixed"}), "basic")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K_POINTS\n0\nGamma\n4 1 3 0 0 0\n", ([4, 1, 3], [0, 0, 0])),
        ("K_POINTS // list\n0 // automatic\nMP\n4 3 2 0 0 1\n", ([4, 3, 2], [0.5, 0, 0])),
        ("K_POINTS\n0\nGamma\n4 4 4 0.5 0 0\n", ([4, 4, 4], [0.5, 0, 0])),
        ("K_POINTS\n0\nGamma\n4 4 4 0.3 0 0\n", None),
        ("K_POINTS\n2\nLine\n0 0 0 5\n0.5 0 0 1\n", None),
        ("", None),
    ],
)
def test_k_mesh(tmp_path: Path, text: str, expected: tuple[list[int], list[float]] | None) -> None:
    write_run(tmp_path, made_up())
    (tmp_path / "KPT").write_text(text)
    source = abacus.read(tmp_path).source
    assert ((source["k_grid"], source["k_shift"]) if expected else source.get("k_grid")) == expected


def _append_second_step(run: Path) -> None:
    path = run / "OUT.ABACUS" / HR
    path.write_text(path.read_text() + path.read_text().replace("STEP: 0", "STEP: 1"))


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(run: Path) -> None:
        path = run / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return apply


def _nan(run: Path) -> None:
    path = run / "OUT.ABACUS" / HR
    lines = path.read_text().splitlines()
    lines[4] = " nan " + lines[4].split(None, 1)[1]
    path.write_text("\n".join(lines))


def _unknown_orbitals(run: Path) -> None:
    (run / orb_name(16)).unlink()
    (run / "OUT.ABACUS" / "running_scf.log").unlink()


def _to_npz(run: Path) -> None:
    for path in (run / "OUT.ABACUS").glob("data-*"):
        path.unlink()
    (run / "OUT.ABACUS" / "hrs1_nao.npz").write_bytes(b"PK")


def _spinor_overlap(run: Path) -> None:
    write_run(run / "other", made_up("spinor"))
    (run / "other" / "OUT.ABACUS" / SR).replace(run / "OUT.ABACUS" / SR)


def _second_spin_missing(run: Path) -> None:
    write_run(run, made_up("collinear"))
    (run / "OUT.ABACUS" / "data-HR-sparse_SPIN1.csr").unlink()


def _moved_atoms(run: Path) -> None:
    data = made_up()
    (run / "STRU").write_text(stru_text(System(data.system.cell, data.system.positions[[0, 2, 1]], data.system.numbers)))


DAMAGE = {
    r"HR-sparse_SPIN0.csr, line \d+: .*truncated": lambda run: (run / "OUT.ABACUS" / HR).write_text(
        (run / "OUT.ABACUS" / HR).read_text()[:20000].rsplit("\n", 1)[0]
    ),
    r"holds data-HR-sparse_SPIN0.csr, .*but no overlap": lambda run: (run / "OUT.ABACUS" / SR).unlink(),
    r"holds 23 x 23 matrices, but the atoms of STRU have 20 orbitals": _edit(orb_name(16), "Porbital-->       1", "Porbital-->       0"),
    r"orbitals of S are unknown: S_gga_4au.*running_scf.log does not list": _unknown_orbitals,
    r"SR-sparse_SPIN0.csr holds 46 x 46 matrices, .*HR-sparse_SPIN0.csr 23 x 23": _spinor_overlap,
    r"nspin 2 run.*a file is missing": _second_spin_missing,
    r"HR-sparse_SPIN0.csr, lines 5 to \d+: NaN": _nan,
    r"line \d+: a second ionic step": _append_second_step,
    r"binary file": lambda run: (run / "OUT.ABACUS" / HR).write_bytes(np.arange(99).tobytes()),
    r"hrs1_nao.npz, which is not supported.*out_mat_hs2 1": _to_npz,
    r"'calculation cell-relax' moves": _edit("INPUT", "calculation scf", "calculation cell-relax"),
    r"STRU does not belong to the matrices: atoms \d and \d .*overlap": _moved_atoms,
    r"STRU cannot be read": lambda run: (run / "STRU").unlink(),
    r"SR-sparse_SPIN0.csr, line \d+: the row pointers are not all numbers": _edit(f"OUT.ABACUS/{SR}", "\n 0 ", "\n x "),
    r"line \d+: rows or columns that do not fit": _edit(f"OUT.ABACUS/{SR}", "\n 0 ", "\n 1 "),
    r"SR-sparse_SPIN0.csr, line 9: \d+ entries in a 4 x 4 matrix": _edit(f"OUT.ABACUS/{SR}", "S(R): 23", "S(R): 4"),
    r"gamma-only run": _edit(f"OUT.ABACUS/{HR}", "STEP: 0", "# representation: gamma-only folded matrix"),
    r"more lines than the header": lambda run: (run / "OUT.ABACUS" / SR).open("a").write("1 2 3\n"),
    r"gives Mo the orbitals .*which are of S": _edit("STRU", orb_name(42), orb_name(16)),
    r"holds data-SR-sparse_SPIN0.csr and srs1_nao.csr": lambda run: (run / "OUT.ABACUS" / "srs1_nao.csr").write_text("copy"),
    r"matrices in OUT.ABACUS, OUT.B": lambda run: write_run(run, made_up(), Layout(out="OUT.B")),
    r"smearing_sigma is .wide., expected a number": _edit("INPUT", "smearing_method fixed", "smearing_sigma wide"),
    r"HR-sparse_SPIN0.csr holds zeros only": lambda run: write_csr(
        run / "OUT.ABACUS" / HR, "H", {(0, 0, 0): np.zeros((1, 23, 23))}, Layout(), 1
    ),
    r"no dimension and number of lattice vectors": lambda run: (run / "OUT.ABACUS" / HR).write_text("some text\n" * 30),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_runs(tmp_path: Path, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    write_run(run, made_up(), Layout(width=8))
    DAMAGE[message](run)
    with pytest.raises(DataError, match=message):
        abacus.read(run)
    assert abacus.detect(run)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([str(run), "data"])
    assert end.value.code == 1
    assert "failed  run" in capsys.readouterr().out
    assert not (tmp_path / "error.log").exists()  # no traceback
    assert not list((tmp_path / "data").glob("*"))


def test_spin_dependent_overlap_is_refused(tmp_path: Path) -> None:
    data = made_up("spinor")
    out = write_run(tmp_path, data)
    cells = dense_cells(data, data.S, double=True)
    cells[0, 0, 0] = cells[0, 0, 0] + 0j
    cells[0, 0, 0][0, 1, 0] = cells[0, 0, 0][0, 0, 1] = 1e-3  # up with down
    write_csr(out / SR, "S", cells, Layout(), 4)
    with pytest.raises(DataError, match=r"unit matrix of spin by 1.0e-03"):
        abacus.read(tmp_path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Hamiltonian]:
    folder = tmp_path_factory.mktemp("small")
    out = write_run(folder, made_up(), Layout(only=("H", "S"), width=8))
    return folder, (out / HR).read_text(), abacus.read(folder)


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 0.99999))
def test_a_truncated_file_is_never_read(small: tuple[Path, str, Hamiltonian], place: float) -> None:
    folder, text, _ = small
    (folder / "OUT.ABACUS" / HR).write_text(text.rstrip()[: int(place * len(text.rstrip()))])
    with pytest.raises(DataError, match="HR-sparse"):
        abacus.read(folder)


def test_detected_by_its_files(tmp_path: Path) -> None:
    write_run(tmp_path, made_up(), Layout(only=("H", "S")))
    assert detect(tmp_path).read is abacus.read
    assert abacus.detect(tmp_path / "nothing") is None
