"""What Python users and the methods of the central objects call: reading anything, overlaps, predictions, spectra.

The only file of the core that knows preprocess and postprocess, and only inside its functions: ``import deeph`` stays instant, and the
core works without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Divisions, Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from deeph.inference_moments import Moments
    from deeph.nn.ensemble import Predictor
    from deeph.nn.model import HamiltonianModel
    from postprocess.bands.bands import Bands as Bands  # noqa: PLC0414 - offered for annotations
    from postprocess.density.dos import DOS as DOS  # noqa: PLC0414 - offered for annotations
    from postprocess.lattice.kpath import KPath as KPath  # noqa: PLC0414 - offered for annotations
    from postprocess.lattice.mesh import KMesh
    from postprocess.states.populations import Populations as Populations  # noqa: PLC0414 - offered for annotations
    from preprocess.structure_files import Structure, StructureFile

Source = Any
"""Whatever :func:`read` takes."""
BasisFiles = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""Basis files: one for each element, in any order, or by chemical symbol."""
BOX = 20.0
"""Angstrom of empty space along missing lattice vectors."""
SAME_PLACE = 1e-3
"""Angstrom; atoms and lattice vectors of files that agree to so much are the same."""


def read(x: Source) -> Hamiltonian | System:
    """Read a structure, with its Hamiltonian where there is one.

    Parameters
    ----------
    x : path, ase.Atoms, System or Hamiltonian
        A structure folder (DeepH format, current or legacy) or the folder of a finished DFT run (OpenMX, ABACUS, SIESTA, FHI-aims, PySCF,
        DeePTB) gives a Hamiltonian. A structure file (POSCAR, cif, xyz, ..., input of OpenMX, ABACUS or SIESTA) or ``ase.Atoms`` gives a
        System; lattice vectors that ``ase.Atoms`` lack are put across empty space. What is a System or Hamiltonian already is returned.

    Returns
    -------
    Hamiltonian or System
        Energies in eV, lengths in Angstrom, atoms in the order of the files.

    Raises
    ------
    DataError
        If there is nothing, or something is damaged.
    UsageError
        If x is something else.

    Notes
    -----
    Position matrices and other further matrices of structure folders: :func:`deeph.read_folder`.
    """
    if isinstance(x, Hamiltonian):
        return x
    if isinstance(x, str | Path) and Path(x).expanduser().is_dir():
        return _read_run(Path(x).expanduser())
    return _structure(x).system


def overlap(
    x: Source, basis: BasisFiles, *, spin: Spin = "none", cutoff: float | None = None, threads: int = 1, unused: bool = False
) -> Hamiltonian:
    """The overlap matrix of a structure from basis files alone, without a DFT run.

    Parameters
    ----------
    x : path, ase.Atoms, System or Hamiltonian
        The structure, see :func:`read`.
    basis : str, path, sequence or mapping of them
        Basis files as ``deeph-overlap --basis`` takes them, such as ``"C6.0.pao:s2p2d1"`` (OpenMX), ``"C_gga_8au_100Ry_2s2p1d.orb"``
        (ABACUS), ``"C.ion.xml"`` (SIESTA), ``"gto:cc-pvdz"`` (PySCF): one for each element, or ``{"Mo": ..., "S": ...}``.
    spin : {"none", "collinear", "spinor"}
        Of the H that is to be predicted; the overlap has none.
    cutoff : float, optional
        Blocks of all pairs up to this distance in Angstrom, instead of those that overlap.
    threads : int
        Threads that share the blocks.
    unused : bool
        Leave out orbitals of elements that x lacks, instead of refusing them.

    Returns
    -------
    Hamiltonian
        With S, atoms in the order of x, and the electrons of the neutral atoms where the basis files tell; its H is None. Its moments are
        those of x, of ``ase.Atoms`` the initial ones.

    Raises
    ------
    DataError
        If the structure or a basis file is missing or damaged, or an element has no basis or two.
    """
    from deeph.runtime.log import telling
    from preprocess.overlap.compute import compute_overlap

    structure = _structure(x)
    with telling(f"still at the overlap of {structure.system}"):
        found = compute_overlap(structure, _files(basis), spin=spin, cutoff=cutoff, n_threads=threads, unused=unused)
    return replace(found, moments=structure.moments)


def describe_overlap(x: Source, basis: BasisFiles) -> Hamiltonian:
    """What :func:`overlap` would give, without any block of S: system, shells, electrons, orbital radii; in no time."""
    from preprocess.overlap.compute import describe_overlap

    return describe_overlap(_structure(x), _files(basis))


def find_structures(paths: Sequence[Path]) -> "list[StructureFile]":
    """All structures in files and folders, with a name for each; ``read()`` of one is something that :func:`overlap` takes."""
    from preprocess.structure_files import find_structures

    return find_structures(paths)


def _files(basis: BasisFiles) -> tuple[str, ...] | dict[str, str]:
    if isinstance(basis, Mapping):
        return {element: str(Path(file).expanduser()) for element, file in basis.items()}
    return tuple(str(Path(file).expanduser()) for file in ([basis] if isinstance(basis, str | Path) else basis))


def predict(
    model: "Predictor",
    x: Source,
    overlap: Source | None = None,
    basis: BasisFiles | None = None,
    device: str | None = None,
    moments: "Moments | None" = None,
) -> Hamiltonian:
    """What :meth:`deeph.nn.model.HamiltonianModel.predict` does."""
    from deeph.inference import predict as predict_blocks
    from deeph.inference_moments import with_moments
    from deeph.nn.ensemble import members_of

    if device is not None:
        import torch

        if str(device).startswith("cuda") and not torch.cuda.is_available():
            raise UsageError(f"device {device!r}, but torch sees no GPU")
        model.to(device)
    first = members_of(model)[0]
    return predict_blocks(model, with_moments(_with_overlap(first, x, overlap, basis), moments, first))


def _with_overlap(model: "HamiltonianModel", x: Source, given: Source | None, basis: BasisFiles | None) -> Hamiltonian:
    """The structure x with its S, from wherever it comes."""
    if given is not None and basis is not None:
        raise UsageError("both overlap and basis are given: expected one of them")
    if basis is not None:
        return overlap(x, basis, spin=model.basis.spin)
    data = _read_with(model.given.extra, x if given is None else given)
    if not isinstance(data, Hamiltonian):
        raise UsageError(
            f"{data} {'' if given is None else 'given as overlap '}has no overlap matrix: give basis=... (the basis files of the training "
            "data, such as 'C6.0.pao:s2p2d1'), or overlap=... (a structure folder or Hamiltonian with S)"
        )
    if given is None:
        return data
    structure = _structure(x)
    data = data.permuted(_same_atoms(structure.system, data.system))
    return data if structure.moments is None else replace(data, moments=structure.moments)


def _read_with(extra: Sequence[str], x: Source) -> System | Hamiltonian:
    """What :func:`read` gives, of a structure folder with further matrices."""
    from deeph.files.store import is_structure_folder, read_folder

    if extra and isinstance(x, str | Path) and is_structure_folder(Path(x).expanduser()):
        return read_folder(Path(x).expanduser(), extra=extra)
    return read(x)


def _same_atoms(system: System, other: System) -> IntArray:
    """Where each atom of a structure is in the other one; an error unless both are the same."""
    off = np.abs(system.cell - other.cell).max()
    if off > SAME_PLACE:
        raise DataError(f"the overlap is that of another structure: lattice vectors differ by {off:.3g} Angstrom")
    if system.n_atoms != other.n_atoms:
        raise DataError(f"the overlap is that of another structure: {other}, expected {system}")
    from scipy.spatial import cKDTree

    distance, place = cKDTree(other.positions).query(system.positions)
    wrong = (distance > SAME_PLACE) | (system.numbers != other.numbers[place])
    if wrong.any() or len(np.unique(place)) < len(place):
        atom = int(np.argmax(wrong))
        raise DataError(
            f"the overlap is that of another structure: atom {atom}, {system.symbols[atom]} at "
            f"{np.round(system.positions[atom], 4).tolist()}, is not in it (nearest: {other.symbols[place[atom]]}, {distance[atom]:.3g} "
            "Angstrom away; a lattice vector away is another place, because blocks are labelled by lattice vectors)"
        )
    return np.asarray(place, np.int64)


def bands(
    h: Hamiltonian,
    path: "str | Path | KPath | Any",
    n_bands: int | None,
    around: float | str,
    *,
    fermi: float | str | None,
    points: int | None,
    projections: str | Sequence[str],
) -> "Bands":
    """What :meth:`deeph.Hamiltonian.bands` does."""
    from postprocess.bands.bands import compute_bands
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.eigen.solver import Eigensolver
    from postprocess.states.fermi import UNKNOWN, find_fermi_level
    from postprocess.states.projectors import make_projectors

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if around != "fermi" and (isinstance(around, str) or not np.isfinite(around)):
        raise UsageError(f"around={around!r}: expected 'fermi' or an energy in eV")
    path, fermi = _path(h, path, points), _fermi(fermi)
    options: dict[str, Any] = {"projectors": make_projectors(h, _kinds(projections)), "title": h.system.formula}
    if n_bands is None:
        if h.n_orbitals > DENSE_LARGEST:
            raise UsageError(f"{h.n_orbitals} orbitals are too many for all bands; ask for some: h.bands(path, n_bands=30)")
        return compute_bands(h, path, fermi=fermi, **options)
    level = find_fermi_level(h, fermi, needed=around == "fermi", guess=None if isinstance(around, str) else around)
    center = level.energy if level is not None and isinstance(around, str) else float(around)
    return compute_bands(h, path, fermi=level or UNKNOWN, solver=Eigensolver(n_bands=n_bands, center=center), **options)


def dos(
    h: Hamiltonian,
    window: tuple[float, float] | None,
    *,
    width: float | None,
    mesh: tuple[int, int, int] | None,
    projections: str | Sequence[str],
    fermi: float | str | None,
) -> "DOS":
    """What :meth:`deeph.Hamiltonian.dos` does."""
    from postprocess.density.dos import Window, compute_dos
    from postprocess.density.kpm_dos import compute_kpm_dos
    from postprocess.density.kpm_work import KPMSettings
    from postprocess.eigen.band_symmetries import make_mesh
    from postprocess.eigen.selection import DENSE_LIMIT
    from postprocess.states.orbital_groups import make_projections, usable_symmetry

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    groups, fermi = make_projections(h, _kinds(projections)), _fermi(fermi)
    known = fermi is not None or h.fermi_energy is not None or h.n_electrons is not None
    ends = window if window is not None else (-10.0, 10.0) if known else (None, None)
    options: dict[str, Any] = {"window": Window(*ends), "projections": groups, "fermi": fermi}
    if h.n_orbitals > DENSE_LIMIT:
        found = compute_kpm_dos(h, make_mesh(h, mesh), KPMSettings() if width is None else KPMSettings(width), **options)
    else:
        points = make_mesh(h, mesh, symmetry=usable_symmetry(h, groups))
        if width is not None:
            options |= {"method": "gaussian", "width": width}
        found = compute_dos(h, points, **options)
    return replace(found, title=h.system.formula)


def _path(h: Hamiltonian, path: Any, points: int | None) -> "KPath":
    """A path from whatever says it."""
    from postprocess.lattice.kpath import KPath, make_kpath, read_kpath

    if isinstance(path, KPath):
        return path
    if isinstance(path, str | Path) and Path(path).expanduser().is_file():
        return read_kpath(Path(path).expanduser(), h)
    if hasattr(path, "special_points") and hasattr(path, "kpts"):  # of ASE, whose names may mean other points
        from ase.dft.kpoints import parse_path_string

        lines = parse_path_string(path.path)
        words = [[f"{name}={','.join(f'{x:.12f}' for x in path.special_points[name])}" for name in line] for line in lines]
        return make_kpath(h, " | ".join(" ".join(line) for line in words), n_points=points or len(path.kpts))
    if path is not None and not isinstance(path, str | Path):
        raise UsageError(f"path {type(path).__name__}: expected labels such as 'GMKG', or a file; levels at a list of k: h.eigenvalues(k)")
    return make_kpath(h, path if path is None else str(path), n_points=points)


def _kinds(projections: str | Sequence[str]) -> list[str]:
    """Kinds of projections as a list, also from ``"element,shell"``."""
    return [kind.strip() for kind in projections.split(",")] if isinstance(projections, str) else list(projections)


def _fermi(fermi: float | str | None) -> float | str | None:
    """A Fermi level as it may be given."""
    if fermi in (None, "count") or (not isinstance(fermi, str) and np.isfinite(fermi)):
        return fermi
    raise UsageError(f"fermi={fermi!r}: expected an energy in eV, or 'count'")


def eigenvalues(h: Hamiltonian, k: Any) -> FloatArray:
    """What :meth:`deeph.Hamiltonian.eigenvalues` does."""
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.eigen.solver import compute_energies
    from postprocess.lattice.special_points import special_points

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for dense matrices; some levels: h.bands(path, n_bands=30, around=...)")
    if isinstance(k, str):
        lattices = special_points(h)
        where = next((lattice.points[k] for lattice in lattices if k in lattice.points), None)
        if where is None:
            raise UsageError(f"{k!r} is not a k-point of this {lattices[0].lattice} lattice: {lattices[0].describe()}")
        k = where
    try:
        points = np.array(k, float)
    except (TypeError, ValueError) as error:
        raise UsageError(f"k = {k!r}: expected fractional coordinates (..., 3), or the name of a special point: {error}") from error
    if points.shape[-1:] != (3,) or not np.isfinite(points).all():
        raise UsageError(f"k of shape {points.shape}: expected fractional coordinates (..., 3), all finite")
    energies = compute_energies(h, points.reshape(-1, 3))
    energies = energies.reshape(len(energies), *points.shape[:-1], -1)
    return energies if h.basis.spin == "collinear" else np.asarray(energies[0])


def mulliken(h: Hamiltonian, mesh: Divisions | None, *, shift: tuple[float, float, float], temperature: float) -> "Populations":
    """What :meth:`deeph.Hamiltonian.mulliken` does."""
    from postprocess.states.populations import compute_populations

    return compute_populations(h, _dense_mesh(h, mesh, shift), temperature=temperature)


def check_moments(folder: Path) -> None:
    """Tell the Mulliken moments of a predicted H beside those that the network was given, with a warning where they are others.

    Parameters
    ----------
    folder : Path
        Of the prediction. If its cell takes too long, the command that does it is told; nothing is done where no atom was given a moment.
    """
    from deeph.files.store import read_folder, read_info, read_moments
    from deeph.runtime.log import logger
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.states.populations import compute_populations, tell_change, too_much

    info = read_info(folder)
    given = read_moments(info)
    if given is None or not given.any():
        return
    n_orbitals = info["orbits_quantity"] * (2 if info["spinful"] else 1)
    if info.get("occupation") is None:
        logger.info("%s: without the number of electrons ('occupation' in info.json) this H has no Mulliken moments to compare", folder)
        return
    why = too_much(n_orbitals, 1)
    command = f"deeph-states {folder} --charges"
    if not why:
        h = read_folder(folder, predicted=True)
        mesh = _dense_mesh(h, None, (0.0, 0.0, 0.0))
        why = too_much(n_orbitals, len(mesh.points))
        command += " --mesh " + " ".join(map(str, mesh.divisions))
        if not why:
            try:
                tell_change(compute_populations(h, mesh), given)
            except DataError as error:
                logger.warning("%s: the prediction is there, but this H has no Mulliken moments to compare: %s", folder, error)
            return
    instead = f"'{command}' computes them" if n_orbitals <= DENSE_LARGEST else "look at those of a smaller cell"
    logger.info("%s: the Mulliken moments of this H are not computed now: %s; %s", folder, why, instead)


def band_energy(h: Hamiltonian, mesh: Divisions | None, *, shift: tuple[float, float, float], temperature: float) -> float:
    """What :meth:`deeph.Hamiltonian.band_energy` does."""
    from postprocess.states.band_energy import compute_band_energy

    return compute_band_energy(h, _dense_mesh(h, mesh, shift), temperature=temperature)


def _dense_mesh(h: Hamiltonian, divisions: Divisions | None, shift: tuple[float, float, float]) -> "KMesh":
    """The mesh on which the states of an H are filled, all of them by dense matrices."""
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.lattice.mesh import mesh_divisions
    from postprocess.states.charges import density_mesh
    from postprocess.states.populations import DENSITY

    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.n_orbitals > DENSE_LARGEST:
        raise UsageError(f"{h.n_orbitals} orbitals are too many for dense matrices, which all occupied states take; take a smaller cell")
    try:
        a, b, c = (index(n) for n in (mesh_divisions(h, DENSITY) if divisions is None else divisions))
    except (TypeError, ValueError) as error:
        raise UsageError(f"mesh {divisions!r}: expected three positive numbers, such as (12, 12, 1)") from error
    if min(a, b, c) < 1 or np.shape(shift) != (3,) or not np.isfinite(shift).all():
        raise UsageError(f"mesh {divisions!r}, shift {shift!r}: expected three positive numbers, and three parts of a step")
    return density_mesh(h, (a, b, c), shift)


def symmetrized(h: Hamiltonian, tolerance: float) -> Hamiltonian:
    """What :meth:`deeph.Hamiltonian.symmetrized` does."""
    from deeph.physics.symmetrize import symmetrize
    from deeph.runtime.log import logger, telling

    if not 0 < tolerance < np.inf:
        raise UsageError(f"tolerance {tolerance:g}: expected a length in Angstrom, such as 1e-3")
    with telling(f"averaging over the symmetry of {h.system}"):
        found = symmetrize(h, tolerance)
    for line in found.describe():
        logger.info("%s", line)
    return found.hamiltonian


def save(h: Hamiltonian, folder: str | Path, *, overwrite: bool) -> None:
    """What :meth:`deeph.Hamiltonian.save` does."""
    from deeph.files.store import write_folder

    write_folder(folder, h, overwrite=overwrite)


def export(h: Hamiltonian, to: str, out: str | Path, options: Mapping[str, Any]) -> None:
    """What :meth:`deeph.Hamiltonian.export` does."""
    from postprocess.export.formats import export

    export(h, to, out, **options)


def make(h: Hamiltonian, to: str, options: Mapping[str, Any]) -> Any:
    """What :meth:`deeph.Hamiltonian.to_sisl` and the like do."""
    from postprocess.export.formats import make

    return make(h, to, **options)


def _read_run(folder: Path) -> Hamiltonian:
    """A structure folder or a DFT run."""
    from deeph.files.store import is_structure_folder, read_folder
    from preprocess.readers import candidates, detect, what_is_missing

    if is_structure_folder(folder):
        return read_folder(folder)
    if not candidates(folder):
        missing = what_is_missing(folder, [path.name for path in folder.iterdir()])
        raise DataError(
            f"{folder} holds {missing or 'no structure folder (POSCAR, info.json, overlap.h5) and no output of a DFT code'}; a structure "
            "alone is read from its file, such as POSCAR"
        )
    return detect(folder).read(folder)


def _structure(x: Source) -> "Structure":
    """The atoms of x, with what an input file says of their basis and electrons."""
    from preprocess.structure_files import Structure, read_structure_file

    if isinstance(x, str | Path):
        path = Path(x).expanduser()
        if path.is_dir():
            data = _read_run(path)
            return Structure(data.system, n_electrons=data.n_electrons, moments=data.moments)
        if not path.exists():
            raise DataError(f"there is no {path}; expected a structure folder, the folder of a DFT run, or a structure file")
        try:
            return read_structure_file(path)
        except DataError as error:
            raise DataError(f"{error}; a DFT run is read by its folder, {path.parent}") from error
    if isinstance(x, Structure):
        return x
    if isinstance(x, Hamiltonian):
        return Structure(x.system, n_electrons=x.n_electrons, moments=x.moments)
    if isinstance(x, System):
        return Structure(x)
    if all(hasattr(x, name) for name in ("cell", "pbc", "get_positions", "get_atomic_numbers")):
        return Structure(_from_ase(x), moments=_moments_of_ase(x))
    hint = "; pymatgen structures: x.to_ase_atoms()" if hasattr(x, "to_ase_atoms") else ""
    raise UsageError(f"{type(x).__name__} is no structure: expected a path, ase.Atoms, a System or a Hamiltonian{hint}")


def _moments_of_ase(atoms: Any) -> FloatArray | None:
    """Initial magnetic moments in Bohr magneton, numbers along z; None if all are zero."""
    if not hasattr(atoms, "get_initial_magnetic_moments"):
        return None
    moments = np.array(atoms.get_initial_magnetic_moments(), float)
    if moments.ndim == 1:
        moments = moments[:, None] * np.array([0.0, 0.0, 1.0])
    return moments if moments.any() else None


def _from_ase(atoms: Any) -> System:
    """Missing lattice vectors of directions that are not periodic become normal to the others, as long as the atoms and empty space."""
    from ase.geometry import complete_cell

    cell = np.array(atoms.cell, float)
    missing = ~cell.any(axis=1)
    if not missing.any():
        return System.from_ase(atoms)
    if np.asarray(atoms.pbc)[missing].any():
        raise DataError(f"the lattice vector {int(np.argmax(missing))} of these ase.Atoms is zero but periodic (pbc); give it, or set pbc")
    normal = complete_cell(cell)[missing]
    cell[missing] = normal * (np.ptp(atoms.get_positions() @ normal.T, axis=0) + BOX)[:, None]
    pbc = np.asarray(atoms.pbc, bool).tolist()
    return System(cell, atoms.get_positions(), atoms.get_atomic_numbers(), (pbc[0], pbc[1], pbc[2]))
