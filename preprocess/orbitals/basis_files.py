"""Which file holds the orbitals of which element."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deeph.physics.orbitals import Orbitals
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError
from preprocess.orbitals.gto import read_gto
from preprocess.orbitals.ion import read_ion
from preprocess.orbitals.orb import read_orb
from preprocess.orbitals.pao import read_pao

EXPECTED = "expected FILE.pao:s2p2d1, FILE.orb, FILE.ion, FILE.ion.xml, FILE.ion.nc, a folder of .pao files, or gto:NAME"


def read_basis(
    elements: Iterable[int], specifications: Sequence[str], names: Mapping[int, str] | None = None, *, unused: bool = False
) -> dict[int, Orbitals]:
    """The orbitals of every element of a structure.

    Parameters
    ----------
    elements : iterable of int
        Atomic numbers.
    specifications : sequence of str
        Basis files as the command line gives them: ``C6.0.pao:s2p2d1``, ``C_gga_8au_100Ry_2s2p1d.orb``, ``C.ion.xml``, ``gto:cc-pvdz`` (all
        elements), or a folder that holds the ``.pao`` files which ``names`` asks for.
    names : mapping of atomic number to str, optional
        What the structure's own input file says of the basis, such as ``{6: "C6.0-s2p2d1"}``.
    unused : bool
        Leave out orbitals of other elements instead of refusing them.

    Returns
    -------
    dict of atomic number to Orbitals

    Raises
    ------
    DataError
        If a file is missing or damaged, an element has no or two bases, or a file fits to no element.
    """
    wanted = list(dict.fromkeys(elements))
    found: dict[int, Orbitals] = {}
    for specification in specifications:
        orbitals = _read(specification, wanted, names or {})
        for one in orbitals:
            first = found.setdefault(one.number, one)
            if first is not one:
                raise DataError(f"two bases for {SYMBOLS[one.number]}: {first.source} and {one.source}; expected one an element")
    other, missing = ([SYMBOLS[z] for z in zs] for zs in (sorted(set(found) - set(wanted)), sorted(set(wanted) - set(found))))
    if other and not unused:
        raise DataError(f"orbitals of {', '.join(other)}, but the structure holds {', '.join(SYMBOLS[z] for z in wanted)}; leave them out")
    if missing:
        raise DataError(f"no orbitals for {', '.join(missing)}; add their files to --basis")
    return {z: found[z] for z in wanted}


def _read(specification: str, wanted: Sequence[int], names: Mapping[int, str]) -> list[Orbitals]:
    """The orbitals one item of ``--basis`` gives."""
    kind, _, name = specification.partition(":")
    if kind == "gto":
        return [read_gto(name, z) for z in wanted]
    file, _, contraction = specification.rpartition(":")
    if not file.endswith(".pao"):
        file, contraction = specification, ""
    path = Path(file)
    if path.is_dir():
        return _from_folder(path, wanted, names)
    if not path.is_file():
        raise DataError(f"--basis {specification}: no such file; {EXPECTED}")
    if path.suffix == ".pao":
        return [read_pao(path, contraction or _contraction(path, names))]
    if path.suffix == ".orb":
        return [read_orb(path)]
    if path.name.endswith((".ion", ".ion.xml", ".ion.nc")):
        return [read_ion(path)]
    raise DataError(f"--basis {specification}: unknown kind of file; {EXPECTED}")


def _contraction(path: Path, names: Mapping[int, str]) -> str:
    """The contraction the structure's input file names for a ``.pao`` file."""
    for name in names.values():
        stem, _, contraction = name.rpartition("-")
        if stem == path.stem:
            return contraction
    raise DataError(f"--basis {path}: add how many functions of each shell to take, such as {path.name}:s2p2d1")


def _from_folder(folder: Path, wanted: Sequence[int], names: Mapping[int, str]) -> list[Orbitals]:
    """The ``.pao`` files in a folder that the structure's input file names."""
    unnamed = [SYMBOLS[z] for z in wanted if z not in names]
    if unnamed:
        raise DataError(f"--basis {folder}: a folder serves where the structure is an OpenMX input, which names the basis; {EXPECTED}")
    out = []
    for z in wanted:
        stem, _, contraction = names[z].rpartition("-")
        if not (folder / f"{stem}.pao").is_file():
            raise DataError(f"{folder} holds no {stem}.pao, which the input file asks for with {names[z]}")
        out.append(read_pao(folder / f"{stem}.pao", contraction))
    return out
