"""PySCF runs from settings: each structure of a set is calculated, verified and written, completely or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.store import is_structure_folder, write_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import NUMBERS, System
from deeph.runtime.errors import DataError, UsageError
from preprocess.discover import Job
from preprocess.pipeline import Outcome, attempt, done, refuse_others, structure_hash
from preprocess.pyscf.checks import check_settings
from preprocess.pyscf.config import PyscfConfig
from preprocess.pyscf.setup import mean_field
from preprocess.readers.pyscf.reader import bands_of, to_hamiltonian
from preprocess.readers.pyscf.run import collect_run
from preprocess.structures.distances import limits_from
from preprocess.structures.output import find_structures, item_name
from preprocess.structures.perturb import draw, perturbed
from preprocess.structures.supercell import supercell
from preprocess.verify import verify


def find_calculations(config: PyscfConfig, name: str, out: Path) -> list[Job]:
    """The structures of a job and their output folders, after a check of the settings.

    Parameters
    ----------
    config : PyscfConfig
        The settings.
    name : str
        Of a single structure, e.g. that of the settings file; perturbed ones are numbered, those of a folder keep their names.
    out : path
        Folder for the structure folders.

    Raises
    ------
    UsageError
        If the settings cannot work for one of the structures.
    """
    bases = list(_structures(config, config.system.structure))
    if config.perturb.number and len(bases) != 1:
        raise UsageError(f"perturb.number {config.perturb.number} with {len(bases)} structures; expected one structure to perturb")
    kinds = {tuple(sorted(set(system.symbols))): system for _, _, system in bases}
    for system in kinds.values():
        check_settings(config, system)
    if config.perturb.number:
        return [Job(bases[0][1], out / item_name(n)) for n in range(config.perturb.number)]
    is_set = config.system.structure is not None and config.system.structure.is_dir()
    return [Job(file, out / (own if is_set else name)) for own, file, _ in bases]


@dataclass(frozen=True)
class Calculation:
    """Calculates one structure after the other; can be sent to other processes.

    Attributes
    ----------
    config : PyscfConfig
        The settings.
    overwrite : bool
        Whether to calculate again what is there already.
    """

    config: PyscfConfig
    overwrite: bool = False

    def __call__(self, job: Job) -> Outcome:
        """Calculate, verify and write one structure; never raises."""
        return attempt(job, lambda: self._calculate(job))

    def _calculate(self, job: Job) -> Outcome:
        system, settings = structure_of(self.config, job), _fingerprint(self.config, job)
        if job.out.exists() and not (self.overwrite and is_structure_folder(job.out)):
            refuse_others(job.out, settings)
            return Outcome(job, "skipped", f"{job.out} is there already (--overwrite calculates again)", 0.0)
        data, found = calculate(self.config, system)
        job.out.parent.mkdir(parents=True, exist_ok=True)
        write_folder(job.out, replace(data, source={**data.source, "settings": settings}), overwrite=self.overwrite)
        return done(job, data, found)


def calculate(config: PyscfConfig, system: System) -> tuple[Hamiltonian, str]:
    """Run PySCF for a structure.

    Returns
    -------
    Hamiltonian, str
        The data, and what their verification against PySCF's own eigenvalues found.

    Raises
    ------
    DataError
        If the run does not converge or its data fail the verification.
    """
    mf = mean_field(config, system)
    mf.kernel()
    if not mf.converged:
        raise DataError(
            f"{type(mf).__name__} of {system.formula} did not converge in {config.scf.max_cycle} iterations; use a larger scf.max_cycle, "
            "scf.smearing for a metal, or another spin"
        )
    run = collect_run(mf, zeroth=config.output.zeroth)
    data = to_hamiltonian(run)
    return (data if config.output.positions else replace(data, r=None)), verify(data, "bands", bands_of(run))


def structure_of(config: PyscfConfig, job: Job) -> System:
    """The structure of a job: as read, or the numbered perturbation of the one that was read."""
    [(_, _, base)] = _structures(config, job.run)
    varied = config.perturb
    if not varied.number:
        return base
    return draw(
        lambda rng: perturbed(base, rng, displacement=varied.displacement, strain=varied.strain),
        limits_from(base), varied.seed, int(job.out.name),
    ).system  # fmt: skip


def _structures(config: PyscfConfig, path: Path | None) -> Iterator[tuple[str, Path, System]]:
    """Name, file and system of each structure before any perturbation, from a file, a folder, or the settings themselves."""
    source = config.system
    if source.atoms is not None:
        unknown = [a[0] for a in source.atoms if a[0] not in NUMBERS]
        if unknown:
            raise UsageError(f"system.atoms: unknown element {unknown[0]!r}")
        positions, numbers = np.array([a[1:] for a in source.atoms], float), np.array([NUMBERS[a[0]] for a in source.atoms])
        yield "", Path(), _prepared(config, System(_cell(config, positions), positions, numbers))
    elif path is not None and source.molecule and path.is_file():
        yield "", path, _prepared(config, _molecule_file(path))
    elif path is not None:
        for name, file, system in find_structures([path]):
            yield name, file, _prepared(config, system)


def _prepared(config: PyscfConfig, system: System) -> System:
    if config.system.molecule:
        return replace(system, pbc=(False, False, False))
    return supercell(system, config.system.repeats)


def _cell(config: PyscfConfig, positions: Any) -> Any:
    """The cell of atoms in the settings; any box for a molecule."""
    return np.array(config.system.cell) if config.system.cell is not None else np.diag(np.ptp(positions, axis=0) + 10.0)


def _molecule_file(path: Path) -> System:
    """A molecule from a file that need not hold a cell."""
    from ase.io import read

    try:
        atoms = read(path, parallel=False, do_not_split_by_at_sign=True)
    except Exception as error:
        raise DataError(f"{path} could not be read as a structure: {error}") from error
    positions = atoms.get_positions()
    return System(np.diag(np.ptp(positions, axis=0) + 10.0), positions, atoms.get_atomic_numbers())


def _fingerprint(config: PyscfConfig, job: Job) -> dict[str, Any]:
    """The settings on which the data of a structure depend, for ``info.json``; the structure as a hash, because its file may move."""
    settings = config.model_dump(mode="json")
    for key in ("structure", "atoms", "cell"):
        del settings["system"][key]
    del settings["perturb"]["number"]
    return {**settings, "structure_sha256": structure_hash(structure_of(config, job))}
