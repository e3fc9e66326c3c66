"""What must not pass in silence, and what must not be refused: the same rule for the readers of all codes."""

from pathlib import Path

import numpy as np
import pytest
from abacus_files import SHELLS, Layout, made_up, orb_name, orb_text
from abacus_files import write_run as write_abacus
from aims_files import Run, add_eigenvalues, random_hamiltonian, write_bands, write_log
from aims_files import write_run as write_aims
from openmx_files import unpack_run

from deeph.files.store import read_folder
from deeph.runtime.errors import DataError
from preprocess.discover import Job
from preprocess.orbitals.orb import read_orb, read_orb_shells
from preprocess.orbitals.pao import read_pao
from preprocess.pipeline import Options, convert
from preprocess.readers import abacus, aims, openmx
from preprocess.readers.aims.input import Species, read_control
from preprocess.readers.openmx.input import read_species, read_structure

HR, SR = "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def to_dos(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


# ---- which matrices a run has


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_abacus_scf_without_h_is_refused(tmp_path, spin):
    """Also with nspin 4, where the overlap alone passed as a run without spin."""
    out = write_abacus(tmp_path, made_up(spin))
    for path in out.glob("data-HR*"):
        path.unlink()
    with pytest.raises(DataError, match=r"but no H .* of this 'calculation scf'"):
        abacus.read(tmp_path)
    (tmp_path / "INPUT").unlink()  # then the name of the log tells
    with pytest.raises(DataError, match="but no H"):
        abacus.read(tmp_path)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_overlap_only_has_the_spin_of_the_run(tmp_path, spin):
    out = write_abacus(tmp_path / "run", made_up(spin), Layout(only=("S",), log=False))
    nspin = {"none": 1, "collinear": 2, "spinor": 4}[spin]
    (tmp_path / "run" / "INPUT").write_text(f"INPUT_PARAMETERS\nCalculation GET_S\nNSPIN {nspin}\n")
    (out / "INPUT").write_text("INPUT_PARAMETERS\n")
    outcome = convert(Job(tmp_path / "run", tmp_path / "data"), Options())
    assert outcome.status == "ok"
    assert f"spin {spin}, overlap only: " in outcome.reason
    assert read_folder(tmp_path / "data").basis.spin == spin


def test_second_spin_beside_spinors(tmp_path):
    out = write_abacus(tmp_path, made_up("spinor"))
    (out / "data-HR-sparse_SPIN1.csr").write_bytes((out / HR).read_bytes())
    with pytest.raises(DataError, match=r"SPIN1\.csr is the second spin of an nspin 2 run, but data-HR-sparse_SPIN0\.csr holds spinors"):
        abacus.read(tmp_path)


# ---- one basis an element


def with_two_labels(folder: Path) -> Path:
    """An ABACUS run whose two molybdenum atoms are of two species with files of their own."""
    write_abacus(folder, made_up())
    name = orb_name(42)
    lines = (folder / "STRU").read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("Mo // element"))
    first, second = lines[at + 3 : at + 5]
    lines[at : at + 5] = ["Mo1", "0.0", "1", first, "Mo2", "0.0", "1", second]
    text = "\n".join(lines)
    species = next(line for line in lines if line.startswith("Mo 1.0"))
    text = text.replace(species, "\n".join(species.replace("Mo", f"Mo{n}", 1) for n in (1, 2)), 1)
    text = text.replace(name, f"{name}\nother.orb", 1)
    (folder / "STRU").write_text(text + "\n")
    return folder


def test_abacus_files_of_one_element(tmp_path):
    run = with_two_labels(tmp_path / "run")
    text = orb_text(42, SHELLS[42])
    (run / "other.orb").write_text(text)  # the same shells and radius, another file
    with pytest.raises(DataError, match=r"STRU: Mo has two bases, Mo_gga_4au_60Ry_made\.orb .* and other\.orb"):
        abacus.read(run)
    edit(run / "STRU", "other.orb", orb_name(42))
    assert abacus.read(run).system.n_atoms == 3
    (run / "wider").mkdir()
    (run / "wider" / orb_name(42)).write_text(orb_text(42, SHELLS[42], mesh=421))  # the same name and shells, another radius
    stru = (run / "STRU").read_text().replace(orb_name(42), f"wider/{orb_name(42)}", 1)
    (run / "STRU").write_text(stru)
    with pytest.raises(DataError, match="Mo has two bases"):
        abacus.read(run)


def test_openmx_pseudopotentials_of_one_element():
    text = (
        "<Definition.of.Atomic.Species\n C1 C6.0-s2p2d1 C_PBE13\n C2 C6.0-s2p2d1 {}\nDefinition.of.Atomic.Species>\n"
        "<Atoms.SpeciesAndCoordinates\n 1 C1 0 0 0 2 2\n 2 C2 0 0 1 2 2\nAtoms.SpeciesAndCoordinates>\n"
    )
    assert len(read_species(text.format("C_PBE13"), 2)) == 2
    with pytest.raises(DataError, match=r"C has two bases, C6\.0-s2p2d1 with C_PBE13 and C6\.0-s2p2d1 with C_CA13"):
        read_species(text.format("C_CA13"), 2)


def test_aims_species_of_one_element(tmp_path):
    folder = write_aims(tmp_path / "run", Run(random_hamiltonian("none")))
    control, geometry = folder / "control.in", folder / "geometry.in"
    text = control.read_text()
    own = text[text.index("species S\n") :].split("species heavy")[0]
    control.write_text(text + own.replace("species S", "species S_other"))
    lines = geometry.read_text().splitlines()
    last = max(n for n, line in enumerate(lines) if " S " in line)
    geometry.write_text("\n".join(lines).replace(lines[last], lines[last].replace(" S ", " S_other ")) + "\n")
    aims.read(folder)  # another name, the same functions
    control.write_text(text + own.replace("species S", "species S_other").replace("hydro 4 f 7", "hydro 4 f 7.2"))
    with pytest.raises(DataError, match=r"geometry\.in: S has two bases, \(.*hydro 4 f 7\) and \(.*hydro 4 f 7\.2\)"):
        aims.read(folder)


def test_pyscf_contractions_of_one_element():
    gto = pytest.importorskip("pyscf.gto")
    from preprocess.readers.pyscf.run import basis_of

    first = [[0, (3.0, 0.2), (0.5, 0.9)]]
    second = [[0, (2.0, 0.2), (0.5, 0.9)]]  # the same shells and the same smallest exponent
    same = gto.M(atom="H@1 0 0 0; H@2 0 0 0.74", basis={"H@1": first, "H@2": first}, verbose=0)
    assert basis_of(same) == ({"H": [0]}, {"H": 0.5})
    with pytest.raises(DataError, match="H has two bases"):
        basis_of(gto.M(atom="H@1 0 0 0; H@2 0 0 0.74", basis={"H@1": first, "H@2": second}, verbose=0))


# ---- numbers, keywords and line ends


def test_abacus_inputs_in_other_dress(tmp_path):
    out = write_abacus(tmp_path / "a", made_up())
    given = "INPUT_PARAMETERS\ncalculation scf\nsmearing_method fd\nsmearing_sigma 0.01\nnelec 17\nnupdown 0\n"
    (tmp_path / "a" / "INPUT").write_text(given)
    plain = abacus.read(tmp_path / "a")
    dress = given.upper().replace("0.01", "1.d-2").replace("17", "1.7D1").replace("UPDOWN 0", "updown 0.d0")
    (tmp_path / "a" / "INPUT").write_text(dress)
    stru = tmp_path / "a" / "STRU"
    edit(stru, "LATTICE_CONSTANT", "lattice_constant")
    edit(stru, "3.7", "3.7d0")
    to_dos(*(p for p in (tmp_path / "a").iterdir() if p.is_file()), *(p for p in out.iterdir() if p.is_file()))
    dressed = abacus.read(tmp_path / "a")
    assert (dressed.n_electrons, dressed.fermi_energy, dict(dressed.source)) == (17.0, plain.fermi_energy, dict(plain.source))
    np.testing.assert_array_equal(dressed.H.entries, plain.H.entries)
    np.testing.assert_array_equal(dressed.system.positions, plain.system.positions)


@pytest.mark.parametrize(("charge", "electrons"), [("0.d0", 0.0), ("1.d-2", 0.01), ("-1.0D+00", -1.0)])
def test_aims_inputs_in_other_dress(tmp_path, charge, electrons):
    folder = write_aims(tmp_path / "run", Run(random_hamiltonian("none"), control=("occupation_type gaussian 0.02",)))
    plain = aims.read(folder)
    control = folder / "control.in"
    edit(control, "occupation_type gaussian 0.02", f"OCCUPATION_TYPE Gaussian 2.d-2\nSpin None\nCharge {charge}")
    edit(control, "species", "SPECIES")
    to_dos(*folder.iterdir())
    dressed = aims.read(folder)
    assert dressed.n_electrons == plain.n_electrons - electrons
    assert dict(dressed.source) == dict(plain.source)
    np.testing.assert_array_equal(dressed.H.entries, plain.H.entries)
    edit(control, f"Charge {charge}", "Charge none")
    with pytest.raises(DataError, match="charge is 'none', expected a number"):
        aims.read(folder)


def test_aims_keywords_may_follow_a_species(tmp_path):
    """FHI-aims reads the general keywords wherever they stand: a charge at the end was not seen."""
    folder = write_aims(tmp_path / "run", Run(random_hamiltonian("none")))
    before = aims.read(folder).n_electrons
    with (folder / "control.in").open("a") as file:
        file.write("charge 2.\n")
    assert aims.read(folder).n_electrons == before - 2
    assert read_control(folder / "control.in").species["S"] == Species(16, ("valence 3 s 2.", "hydro 4 f 7"))


DAT = """Atoms.Number 2
<Definition.of.Atomic.Species
 C C6.0-s2p2d1 C_PBE13
Definition.of.Atomic.Species>
Atoms.SpeciesAndCoordinates.Unit Ang
<Atoms.SpeciesAndCoordinates
 1 C 0.0 0.0 0.5 2.0 2.0
 2 C 0.0 1.42 0.5 2.0 2.0
Atoms.SpeciesAndCoordinates>
Atoms.UnitVectors.Unit Ang
<Atoms.UnitVectors
 2.46 0.0 0.0
 0.0 4.26 0.0
 0.0 0.0 10.0
Atoms.UnitVectors>
scf.system.charge 0.01
"""


def test_openmx_inputs_in_other_dress(tmp_path):
    (tmp_path / "a.dat").write_text(DAT)
    dress = DAT.replace("scf.system.charge 0.01", "SCF.System.CHARGE 1.d-2").replace("4.26", "4.26d0").replace("<Atoms", "< ATOMS")
    (tmp_path / "b.dat").write_text(dress)
    to_dos(tmp_path / "b.dat")
    (system, species, electrons), (other, *rest) = read_structure(tmp_path / "a.dat"), read_structure(tmp_path / "b.dat")
    assert electrons == pytest.approx(7.99)
    assert rest == [species, electrons]
    np.testing.assert_array_equal(system.positions, other.positions)
    np.testing.assert_array_equal(system.cell, other.cell)
    (tmp_path / "a.dat").write_text(DAT.replace("0.01", "neutral"))
    with pytest.raises(DataError, match=r"a\.dat: .*scf\.system\.charge are not understood"):
        read_structure(tmp_path / "a.dat")


# ---- references hold finite numbers


@pytest.mark.parametrize("bad", ["inf", "nan", "1e999"])
def test_bands_are_finite(tmp_path, bad):
    run = unpack_run("mini_graphene", tmp_path / "openmx")
    system = openmx.read(run).system
    band = run / "mini_graphene.Band"
    lines = band.read_text().splitlines()
    for n in (0, 1, len(lines) - 1):  # Fermi level, reciprocal vectors, energies
        changed = list(lines)
        changed[n] = " ".join([*changed[n].split()[:-1], bad])
        band.write_text("\n".join(changed) + "\n")
        with pytest.raises(DataError, match=r"mini_graphene\.Band .*is not a finite number"):
            openmx.read_bands(run, system)

    data = random_hamiltonian("none")
    folder = write_aims(tmp_path / "aims", Run(data))
    k, energies = np.zeros((1, 3)), np.array([[[-3.0, 1.0]]])
    write_log(folder, -5.0)
    add_eigenvalues(folder, k, energies)
    text = (folder / "aims.out").read_text()
    (folder / "aims.out").write_text(text.replace("       1.00000", f"       {bad}"))
    with pytest.raises(DataError, match="is not a finite number"):
        aims.read_bands(folder, data.system)
    write_bands(folder, np.zeros((3, 3)), np.zeros((1, 3, 2)), -5.0)
    path = min(folder.glob("band1*.out"))
    path.write_text(" ".join([*path.read_text().split("\n")[0].split()[:-1], bad]) + "\n")
    with pytest.raises(DataError, match="is not a finite number"):
        aims.read_bands(folder, data.system)

    out = write_abacus(tmp_path / "abacus", made_up())
    (out / "istate.info").write_text(f"BAND   Energy(ev)   Occupation   Kpoint = 1   (0 0 0)\n  1  -3.0  1\n  2  {bad}  0\n")
    with pytest.raises(DataError, match=r"istate\.info .*is not a finite number"):
        abacus.read_bands(tmp_path / "abacus", made_up().system)


# ---- orbital files


@pytest.mark.parametrize("field", ["Element", r"Radius Cutoff(a.u.)", "Number of"])
def test_orb_head_lacks_a_field(tmp_path, field):
    path = tmp_path / "Mo.orb"
    path.write_text(orb_text(42, SHELLS[42]))
    assert read_orb_shells(path)[:2] == (42, SHELLS[42])
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith(field)) + "\n")
    for read in (read_orb_shells, read_orb):
        with pytest.raises(DataError, match="does not begin with the element, the cutoff and the numbers of orbitals"):
            read(path)


def test_changed_numbers_of_an_orb_are_noticed(tmp_path):
    """Functions of one atom overlap as in the matrix of the run; where a file is normalized, all its functions are."""
    write_abacus(tmp_path, made_up())
    path = tmp_path / orb_name(16)
    lines = path.read_text().splitlines()
    second = [n for n, line in enumerate(lines) if "Type" in line][1]
    words = lines[second + 32].split()  # at 1.2 Bohr
    lines[second + 32] = " ".join([*words[:2], "5.0e+00", words[3]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"functions 1 and 2 overlap by 0\.\d+, but in data-SR-sparse_SPIN0\.csr by 0\.0"):
        abacus.read(tmp_path)


def test_norms_of_a_real_orb(shared_data, tmp_path):
    text = (shared_data / "peers" / "abacus" / "Si-integrals" / "Si_gga_8au_60Ry_2s2p1d.orb").read_text()
    path = tmp_path / "Si.orb"
    path.write_text(text)
    assert read_orb(path).ls == (0, 0, 1, 1, 2)
    lines = text.splitlines()
    words = lines[-150].split()  # in the only d function, which no other one of its l could betray
    lines[-150] = " ".join([f"{1.01 * float(words[0]):.12e}", *words[1:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"orbital 5 has the norm .*a number in it was changed"):
        read_orb(path)
    path.write_text(text.replace("Radius Cutoff(a.u.)         8", "Radius Cutoff(a.u.)         9"))
    with pytest.raises(DataError, match="the cutoff in the head is 9 Bohr"):
        read_orb(path)
    path.write_text(text.replace("SUMMARY", "summing up"))
    assert read_orb(path).ls == (0, 0, 1, 1, 2)  # the frame around the head is none of its data


def test_pao_rows_ascend(shared_data, tmp_path):
    text = (shared_data / "openmx" / "PAO" / "C6.0.pao").read_text()
    path = tmp_path / "C6.0.pao"
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("<pseudo.atomic.orbitals.L=0")) + 1
    numbers = [line.split() for line in lines]
    bent = " ".join([numbers[first + 50][0], f"{1.0001 * float(numbers[first + 50][1]):.12e}", *numbers[first + 50][2:]])
    for spoiled, row in (
        ([*lines[: first + 50], lines[first + 49], *lines[first + 50 :]], 51),
        ([*lines[: first + 50], lines[first + 20], *lines[first + 51 :]], 51),
        ([*lines[: first + 50], bent, *lines[first + 51 :]], 51),
    ):
        path.write_text("\n".join(spoiled) + "\n")
        with pytest.raises(DataError, match=rf"C6\.0\.pao, line {first + row}: log r = .*expected r that ascends"):
            read_pao(path, "s1p1")
    other = "\r\n".join(lines).replace("AtomSpecies", "ATOMSPECIES").replace("pseudo.atomic.orbitals", "Pseudo.Atomic.Orbitals") + "\r\n"
    path.write_bytes(other.encode())
    dressed = read_pao(path, "s1p1")
    path.write_text(text)
    plain = read_pao(path, "s1p1")
    assert dressed.number == 6
    assert all(np.array_equal(a.values, b.values) for a, b in zip(dressed.shells, plain.shells, strict=True))
    for n in range(first, next(n for n in range(first, len(lines)) if "L=0>" in lines[n])):
        lines[n] = " ".join([*numbers[n][:2], *(f"{1.2 * float(x):.8e}" for x in numbers[n][2:])])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="has the norm"):
        read_pao(path, "s1")
