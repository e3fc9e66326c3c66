"""SIESTA's text files: the fdf input, band lines, and the basis files."""

import re
from pathlib import Path

import numpy as np
import pytest
from siesta_files import model, rows_of, write_bands, write_hsx, write_texts

from deeph.physics.system import System
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError
from preprocess.orbitals.ion import read_ion
from preprocess.overlap.two_centre import TwoCentre
from preprocess.readers import siesta
from preprocess.readers.siesta.bands import read_bands
from preprocess.readers.siesta.files import read_orb_indx
from preprocess.readers.siesta.input import read_fdf
from preprocess.structures.inputs.siesta import input_files
from preprocess.structures.settings import Settings
from preprocess.verify import check_bands, eigenvalues

BOHR = SIESTA_5.bohr
CELL = np.array([[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.5, 5.0]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.5, -1.0, 6.0]])
SPECIES = "%block ChemicalSpeciesLabel\n 1 6 C.pbe # carbon\n 2 1 H\n%endblock ChemicalSpeciesLabel\n"


def block(name: str, rows: np.ndarray, tail: tuple[str, ...] = ("", "", "")) -> str:
    lines = [" ".join(f"{x:.15f}" for x in row) + f" {t}" for row, t in zip(rows, tail, strict=False)]
    return f"%block {name}\n" + "\n".join(lines) + f"\n%endblock {name}\n"


def lattice(constant: float = 4.0, unit: str = "Ang") -> str:
    return f"LatticeConstant {constant} {unit}\n" + block("LatticeVectors", CELL / 4.0)


def atoms(coordinates: np.ndarray) -> str:
    return block("AtomicCoordinatesAndAtomicSpecies", coordinates, ("2", "1"))


FORMS = {
    "Ang": POSITIONS,
    "NotScaledCartesianAng": POSITIONS,
    "Bohr": POSITIONS / BOHR,
    "NotScaledCartesianBohr": POSITIONS / BOHR,
    "LatticeConstant": POSITIONS / 4.0,
    "ScaledCartesian": POSITIONS / 4.0,
    "Fractional": POSITIONS @ np.linalg.inv(CELL),
    "scaled_by-lattice.vectors": POSITIONS @ np.linalg.inv(CELL),
}


def read(folder: Path, text: str):
    (folder / "run.fdf").write_text(text)
    return read_fdf(folder / "run.fdf")


def check(system) -> None:
    assert np.abs(system.cell - CELL).max() < 1e-12
    assert np.abs(system.positions - POSITIONS).max() < 1e-12
    assert system.symbols == ["H", "C"]


@pytest.mark.parametrize("form", FORMS)
def test_formats_of_coordinates(tmp_path, form):
    check(read(tmp_path, f"{lattice()}{SPECIES}atomic_coordinates.FORMAT = {form}\nNumber-of-atoms: 2\n{atoms(FORMS[form])}"))


def test_bohr_is_the_default(tmp_path):
    check(read(tmp_path, f"{lattice(4.0 / BOHR, '')}{SPECIES}{atoms(POSITIONS / BOHR)}"))


def test_inputs_we_write_are_read_back(tmp_path):
    system = System(CELL, POSITIONS, np.array([1, 6]))
    elements = {symbol: {"basis": "DZP"} for symbol in ("H", "C")}
    settings = Settings.model_validate({"run": {"code": "siesta", "k_grid": (2, 2, 2)}, "elements": elements})
    check(read(tmp_path, input_files(system, settings, (2, 2, 2))["siesta.fdf"]))


def test_lattice_parameters(tmp_path):
    system = read(
        tmp_path, f"LatticeConstant 2.0 Ang\n%block LatticeParameters\n 1. 1.5 2.d0 80 95 110\n%endblock\n{SPECIES}{atoms(POSITIONS)}"
    )
    a, b, c = system.cell
    lengths = np.linalg.norm(system.cell, axis=1)
    angles = np.degrees(np.arccos([b @ c, a @ c, a @ b] / (lengths.prod() / lengths)))
    assert lengths == pytest.approx([2, 3, 4])
    assert angles == pytest.approx([80, 95, 110])


def test_a_cubic_cell_needs_no_vectors(tmp_path):
    assert read(tmp_path, f"LatticeConstant 5 Ang\n{SPECIES}{atoms(POSITIONS)}").cell.tolist() == np.diag([5.0] * 3).tolist()


def test_origin_is_added(tmp_path):
    shift = np.array([0.25, -0.5, 1.0])
    check(
        read(
            tmp_path,
            f"{lattice()}{SPECIES}AtomicCoordinatesFormat Ang\n{block('AtomicCoordinatesOrigin', shift[None])}{atoms(POSITIONS - shift)}",
        )
    )


def test_included_files(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "lattice.fdf").write_text(lattice() + "AtomicCoordinatesFormat Bohr\n")
    (tmp_path / "species.fdf").write_text(SPECIES + "LatticeConstant 99 Ang\n")
    (tmp_path / "atoms.dat").write_text(atoms(POSITIONS))
    text = "AtomicCoordinatesFormat Ang\n%include part/lattice.fdf\nChemicalSpeciesLabel < species.fdf\n"
    check(read(tmp_path, text + "%block AtomicCoordinatesAndAtomicSpecies < atoms.dat\n"))  # the first of two settings counts
    bare = "\n".join(atoms(POSITIONS).splitlines()[1:-1])
    (tmp_path / "atoms.dat").write_text(bare)
    check(read(tmp_path, text + "%block AtomicCoordinatesAndAtomicSpecies < atoms.dat\n"))


WHOLE = f"{lattice()}{SPECIES}AtomicCoordinatesFormat Ang\n{atoms(POSITIONS)}"
WRONG = {
    "SuperCell": (WHOLE + block("SuperCell", 2 * np.eye(3)), "SuperCell is not supported"),
    "Z matrix": (WHOLE + "%block Zmatrix\n%endblock\n", "Zmatrix is not supported"),
    "no cell": (WHOLE.replace("LatticeConstant", "Other"), "no LatticeConstant"),
    "unit": (WHOLE.replace("4.0 Ang", "4.0 parsec"), "expected a number and one of"),
    "no end": (WHOLE.replace("%endblock ChemicalSpeciesLabel\n", ""), "has no %endblock"),
    "no species": (WHOLE.replace("ChemicalSpeciesLabel", "Other"), "ChemicalSpeciesLabel is missing"),
    "ghost": (WHOLE.replace(" 2 1 H", " 2 -1 H"), "ghost atoms"),
    "unknown species": (WHOLE.replace(" 2 1 H", " 3 1 H"), "atomic numbers from 0"),
    "count": (WHOLE + "NumberOfAtoms 3\n", "NumberOfAtoms is 3, but the block of coordinates has 2"),
    "format": (WHOLE.replace("Format Ang", "Format parsec"), "none of SIESTA's formats"),
    "word": (WHOLE.replace("0.100000000000000", "x"), "does not hold 4 numbers"),
    "vectors": (WHOLE.replace(" 1.250000000000000 \n", " 1.250000000000000\n 1 1 1\n"), "expected 3"),
    "origin": (WHOLE + "AtomicCoordinatesOrigin COP\n", "AtomicCoordinatesOrigin COP"),
    "no atoms": (WHOLE.replace("AtomicCoordinatesAnd", "Other"), "no block AtomicCoordinates"),
    "missing file": (WHOLE + "%include other.fdf\n", "run.fdf includes it"),
    "loop": (WHOLE + "%include run.fdf\n", "includes itself"),
    "no name": (WHOLE + "%include\n", "no file name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_explained(tmp_path, name):
    text, message = WRONG[name]
    assert text != WHOLE
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


@pytest.fixture(params=[1, 2, 8], ids=lambda n: f"nspin {n}")
def run(request, tmp_path):
    rows = rows_of(model(request.param), request.param)
    write_hsx(tmp_path / "run.HSX", rows)
    write_texts(tmp_path, rows)
    return tmp_path, rows


PATH = np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0], [0.5, 0.25, 0.1], [0.5, 0.5, 0.2]])
LINES = "BandLinesScale ReciprocalLatticeVectors\n%block BandLines\n1 0. 0. 0. \\Gamma\n2 0.5 0. 0. X\n2 0.5 0.5 0.2\n%endblock BandLines\n"


def write_line_bands(folder: Path, rows, shift: float = 0.0) -> None:
    cartesian = PATH @ (2 * np.pi * np.linalg.inv(rows.data.system.cell / BOHR).T)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(cartesian, axis=0), axis=1))])
    write_bands(folder / "run.bands", length[:, None], eigenvalues(rows.data, PATH) + shift, lines=True)


def test_band_lines(run):
    folder, rows = run
    (folder / "run.fdf").write_text(LINES)
    write_line_bands(folder, rows)
    data = siesta.read(folder)
    reference = read_bands(folder, data.system)
    assert np.abs(reference.k - PATH).max() < 1e-14
    check_bands(data, reference)
    write_line_bands(folder, rows, 2e-4)
    with pytest.raises(DataError, match=r"differ from run\.bands"):
        check_bands(data, read_bands(folder, data.system))


def test_band_points_in_units_of_pi_over_a(run):
    folder, rows = run
    cell = rows.data.system.cell / BOHR
    cartesian = PATH @ (2 * np.pi * np.linalg.inv(cell).T)
    points = cartesian * 7.0 / np.pi
    (folder / "run.fdf").write_text(
        "LatticeConstant 7.0 Bohr\n%block BandPoints\n" + "\n".join(" ".join(f"{x:.12f}" for x in p) for p in points) + "\n%endblock\n"
    )
    write_bands(folder / "run.bands", cartesian, eigenvalues(rows.data, PATH), lines=False)
    data = siesta.read(folder)
    check_bands(data, read_bands(folder, data.system))


def test_band_lines_in_capitals_with_fortran_exponents_and_dos_line_ends(tmp_path):
    rows = rows_of(model(1), 1)
    write_texts(tmp_path, rows)
    write_line_bands(tmp_path, rows)
    text = LINES.replace("0.5 0.5 0.2", "5.d-1 0.5D0 .2d+00").replace("\\Gamma", "").upper()
    (tmp_path / "run.fdf").write_text(text, newline="\r\n")
    assert b"\r\n" in (tmp_path / "run.fdf").read_bytes()
    for name in ("bands", "XV", "ORB_INDX"):
        path = tmp_path / f"run.{name}"
        path.write_text(path.read_text(), newline="\r\n")
    assert np.abs(read_bands(tmp_path, rows.data.system).k - PATH).max() < 1e-14
    assert len(read_orb_indx(tmp_path / "run.ORB_INDX")) == 3


@pytest.mark.parametrize(("error", "fits"), [(1e-5, True), (4e-5, False)])
@pytest.mark.parametrize("lines", [True, False])
def test_rounded_points_of_a_long_path(tmp_path, lines, error, fits):
    """Printed lengths are rounded, and differ with the constants, in proportion to the path: here one 60 times as long as a zone."""
    rows = rows_of(model(1), 1)
    write_texts(tmp_path, rows)
    cartesian = 60 * PATH @ (2 * np.pi * np.linalg.inv(rows.data.system.cell / BOHR).T)
    before = np.cumsum(np.linalg.norm(np.diff(cartesian, axis=0, prepend=cartesian[:1]), axis=1))[:, None] if lines else cartesian
    assert 20 < np.abs(before).max() < 300
    before = before + error * (1 + np.abs(before).max()) * np.eye(len(PATH))[3][:, None]
    name = "BandLines" if lines else "BandPoints"
    k = [f"{n if lines else ''} {x} {y} {z}" for n, (x, y, z) in zip([1, 1, 1, 1, 1], 60 * PATH, strict=True)]
    block = "\n".join([f"%block {name}", *k, "%endblock"])
    (tmp_path / "run.fdf").write_text(f"BandLinesScale ReciprocalLatticeVectors\n{block}\n")
    write_bands(tmp_path / "run.bands", before, np.zeros((1, 5, 4)) + np.arange(4), lines=lines)
    if fits:
        assert np.abs(read_bands(tmp_path, rows.data.system).k - 60 * PATH).max() < 1e-12
    else:
        with pytest.raises(DataError, match="do not fit together"):
            read_bands(tmp_path, rows.data.system)


@pytest.mark.parametrize(
    ("fdf", "message"),
    [
        ("", "fdf input with the block BandLines must lie beside it"),
        (LINES.replace("2 0.5 0.5", "3 0.5 0.5"), "holds 5 k points, but .* asks for 6"),
        (LINES.replace("0.5 0.5 0.2", "0.5 0.4 0.2"), "do not fit together"),
        (LINES.replace("ReciprocalLatticeVectors", "pi/a"), "no LatticeConstant"),
        (LINES.replace("2 0.5 0.5", "two 0.5 0.5"), "not a list of k points"),
    ],
)
def test_band_lines_of_another_input(tmp_path, fdf, message):
    rows = rows_of(model(1), 1)
    write_texts(tmp_path, rows)
    write_line_bands(tmp_path, rows)
    (tmp_path / "run.fdf").write_text(fdf)
    with pytest.raises(DataError, match=message):
        read_bands(tmp_path, rows.data.system)


def test_missing_and_truncated_eigenvalues(tmp_path):
    system = model(1).system
    with pytest.raises(DataError, match="no eigenvalues to compare with"):
        read_bands(tmp_path, system)
    (tmp_path / "run.EIG").write_text("-3.0\n 18 1 2\n 1 0.0 1.0\n")
    (tmp_path / "run.KP").write_text("1\n 1 0 0 0 1\n")
    with pytest.raises(DataError, match="not a complete list of eigenvalues"):
        read_bands(tmp_path, system)


def radial(l: int, rc: float) -> tuple[float, np.ndarray]:
    """Grid step and R(r)/r^l (Bohr) of a normalized function that ends at rc."""
    r = np.linspace(0, rc, 500)
    f = (1 - (r / rc) ** 2) ** 3
    return float(r[1]), f / np.sqrt(np.trapezoid((f * r ** (l + 1)) ** 2, r))


FUNCTIONS = ((0, 1, 1, 0, 5.0), (0, 1, 2, 0, 3.5), (1, 2, 1, 0, 5.5), (2, 3, 1, 1, 5.5))
"""l, n, zeta, polarization orbital, cutoff in Bohr."""


def ion_text(functions=FUNCTIONS) -> str:
    text = "<preamble>\n# PAOs in the preamble do not count\n</preamble>\n"
    text += "C                # Symbol\nC_pbe       # Label\n    6     # Atomic number\n   4.0  # Valence charge\n"
    text += f"  12.01  # Mass\n   1.0  # Self energy\n   2   {len(functions)}     # Lmax for basis, no. of nl orbitals\n"
    text += "   2   1   # Lmax for projectors\n# PAOs:__________________________\n"
    for l, n, z, pol, rc in functions:
        step, f = radial(l, rc)
        text += f"{l:3d}{n:3d}{z:3d}{pol:3d}  2.000000   #orbital l, n, z, is_polarized, population\n"
        text += f" 500{step:26.16g}{rc:26.16g} # npts, delta, cutoff\n"
        text += "".join(f"{i * step:26.16g}{y:26.16g}\n" for i, y in enumerate(f))
    return text + "# KBs:__________________________\n  0  1  3.5\n 2 0.1 0.1\n 0.0 1.0\n 0.1 0.0\n"


def ion_xml() -> str:
    text = '<ion version="0.1">\n<symbol> C </symbol>\n<z>  6 </z>\n<valence> 4.0 </valence>\n'
    text += f"<norbs_nl> {len(FUNCTIONS)} </norbs_nl>\n<paos>\n"
    for l, n, z, pol, rc in FUNCTIONS:
        step, f = radial(l, rc)
        data = "\n".join(f"{i * step:.15E} {y:.15E}" for i, y in enumerate(f))
        text += (
            f'<orbital \n l="{l:5d}"\n n="{n}"\n z="{z}"\n ispol="{pol}"\n >\n<radfunc>\n<npts> 500 </npts>\n<delta> {step:.15E} </delta>\n'
        )
        text += f"<cutoff> {rc} </cutoff>\n<data>\n{data}\n</data>\n</radfunc>\n</orbital>\n"
    return text + "</paos>\n<kbs>\n<projector l='0'><radfunc><npts> 0 </npts></radfunc></projector>\n</kbs>\n</ion>\n"


def write_ion_nc(path: Path, *, classic: bool) -> None:
    arrays = {"orbnl_l": np.array([f[0] for f in FUNCTIONS], "i4"), "delta": np.array([radial(f[0], f[4])[0] for f in FUNCTIONS])}
    arrays["orb"] = np.array([radial(f[0], f[4])[1] for f in FUNCTIONS])
    if not classic:
        import h5py

        with h5py.File(path, "w") as file:
            file.attrs["Atomic_number"] = np.array([6], "i4")
            file.attrs["Valence_charge"] = np.array([4.0])
            for name, values in arrays.items():
                file[name] = values
        return
    from scipy.io import netcdf_file

    with netcdf_file(path, "w") as file:
        file.Atomic_number = np.int32(6)
        file.Valence_charge = 4.0
        file.createDimension("norbs", len(FUNCTIONS))
        file.createDimension("ntb", 500)
        for name, values in arrays.items():
            file.createVariable(name, values.dtype, ("norbs", "ntb")[: values.ndim])[:] = values


def write_ion(folder: Path, kind: str) -> Path:
    path = folder / f"C.{kind.split(maxsplit=1)[0]}"
    if kind == "ion":
        path.write_text(ion_text())
    elif kind == "ion.xml":
        path.write_text(ion_xml())
    else:
        write_ion_nc(path, classic=kind.endswith("classic"))
    return path


@pytest.mark.parametrize("kind", ["ion", "ion.xml", "ion.nc classic", "ion.nc hdf5"])
def test_basis_files(tmp_path, kind):
    orbitals = read_ion(write_ion(tmp_path, kind))
    assert (orbitals.number, orbitals.n_electrons) == (6, 4.0)
    assert orbitals.ls == (0, 0, 1, 2)
    assert orbitals.cutoff == pytest.approx(5.5 * BOHR)
    for shell, (l, *_, rc) in zip(orbitals.shells, FUNCTIONS, strict=True):
        assert shell.norm == pytest.approx(1, abs=1e-10)
        f = radial(l, rc)[1]
        assert np.abs(shell.values - f * (shell.r / BOHR) ** l / BOHR**1.5).max() < 1e-12


@pytest.mark.parametrize("kind", ["ion", "ion.xml", "ion.nc classic", "ion.nc hdf5"])
def test_damaged_basis_files(tmp_path, kind):
    path = write_ion(tmp_path, kind)
    content = path.read_bytes()
    for part in (0.05, 0.5, 0.9):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DataError, match=r"C\.ion"):
            read_ion(path)


def test_functions_that_are_not_normalized_are_refused(tmp_path):
    path = write_ion(tmp_path, "ion.xml")
    path.write_text(path.read_text().replace('l="    1"', 'l="    0"'))
    with pytest.raises(DataError, match="norm"):
        read_ion(path)


@pytest.mark.parametrize("name", ["Si.ion.xml", "Si.ion.nc"])
def test_overlap_from_the_basis_is_that_of_siesta(shared_data, name):
    folder = shared_data / "peers" / "siesta" / "Si"
    data, orbitals = siesta.read(folder), read_ion(folder / name)
    assert orbitals.ls == data.basis.shells[14]
    S = TwoCentre({14: orbitals}).compute(data.system, "overlap", data.S.pairs)
    assert np.abs(S.entries - data.S.entries).max() < 1e-6


def test_input_of_a_run_is_its_structure(shared_data):
    folder = shared_data / "peers" / "siesta" / "Si"
    system, data = read_fdf(folder / "Si.fdf"), siesta.read(folder)
    assert np.abs(system.cell - data.system.cell).max() < 1e-8
    assert np.abs(system.positions - data.system.positions).max() < 1e-8
    assert system.symbols == ["Si", "Si"]


def test_basis_files_with_other_exponents_and_line_ends(shared_data, tmp_path):
    """Exponents with D, DOS line ends: the same functions."""
    original = shared_data / "peers" / "siesta" / "Si" / "Si.ion.xml"
    expected, path = read_ion(original), tmp_path / "Si.ion.xml"
    path.write_bytes(re.sub(rb"(\d)E([+-]\d)", rb"\1D\2", original.read_bytes()).replace(b"\n", b"\r\n"))
    assert b"D-01" in path.read_bytes()
    found = read_ion(path)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(found.shells, expected.shells, strict=True))


@pytest.mark.parametrize("length", [0, 3, 100, 1000, 30902, 61794])
def test_netcdf_basis_files_that_were_cut_off(shared_data, tmp_path, length):
    """In the words of the project, not of the libraries."""
    path = tmp_path / "Si.ion.nc"
    path.write_bytes((shared_data / "peers" / "siesta" / "Si" / "Si.ion.nc").read_bytes()[:length])
    with pytest.raises(
        DataError, match=r"Si.ion.nc(: the netCDF file is cut off or damaged| is not a complete SIESTA basis file .*: it is empty)"
    ):
        read_ion(path)
