"""PySCF runs from settings: each structure of a set is calculated, verified and written, completely or not at all."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.store import is_structure_folder, write_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import NUMBERS, System, molecule
from deeph.runtime.errors import DataError, UsageError
from preprocess.discover import Job
from preprocess.pipeline import Outcome, attempt, done, refuse_others, structure_hash
from preprocess.pyscf.checks import check_settings
from preprocess.pyscf.config import PyscfConfig
from preprocess.pyscf.setup import mean_field
from preprocess.readers.pyscf.reader import bands_of, to_hamiltonian
from preprocess.readers.pyscf.run import collect_run
from preprocess.structure_files import StructureFile, find_structures
from preprocess.structures.distances import limits_from
from preprocess.structures.output import item_name
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
    found = _files(config)
    if config.perturb.number and len(found) != 1:
        raise UsageError(f"perturb.number {config.perturb.number} with {len(found)} structures; expected one structure to perturb")
    kinds: dict[tuple[str, ...], System] = {}
    for file in found:
        try:
            system = _read(config, file)
        except DataError:
            if len(found) == 1:
                raise
        else:  # of many, one that cannot be read is a row of the table
            kinds.setdefault(tuple(sorted(set(system.symbols))), system)
    for system in kinds.values():
        check_settings(config, system)
    if config.perturb.number:
        return [Job(found[0].path, out / item_name(n), frame=found[0].frame) for n in range(config.perturb.number)]
    path = config.system.structure
    is_set = len(found) > 1 or (path is not None and path.is_dir())
    return [Job(one.path, out / (one.name if is_set else name), frame=one.frame) for one in found]


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
    if not config.output.hamiltonian:
        return without_run(config, mf)
    mf.kernel()
    if not mf.converged:
        raise DataError(
            f"{type(mf).__name__} of {system.formula} did not converge in {config.scf.max_cycle} iterations; use a larger scf.max_cycle, "
            "scf.smearing for a metal, or another spin"
        )
    run = collect_run(mf, zeroth=config.output.zeroth)
    data = to_hamiltonian(run)
    return (data if config.output.positions else replace(data, r=None)), verify(data, "bands", bands_of(run))


def without_run(config: PyscfConfig, mf: Any) -> tuple[Hamiltonian, str]:
    """S and H0 of a calculation that is not run, and what their verification found."""
    data = to_hamiltonian(collect_run(mf, hamiltonian=False))
    return (data if config.output.positions else replace(data, r=None)), verify(data, "basic")


def structure_of(config: PyscfConfig, job: Job) -> System:
    """The structure of a job: as read, or the numbered perturbation of the one that was read."""
    base = _read(config, StructureFile("", job.run, job.frame))
    varied = config.perturb
    if not varied.number:
        return base
    return draw(
        lambda rng: perturbed(base, rng, displacement=varied.displacement, strain=varied.strain),
        limits_from(base), varied.seed, int(job.out.name),
    ).system  # fmt: skip


def _files(config: PyscfConfig) -> list[StructureFile]:
    """Where the structures of the settings are: in files, or in the settings themselves."""
    path = config.system.structure
    return find_structures([path]) if path is not None else [StructureFile("", Path())]


def _read(config: PyscfConfig, file: StructureFile) -> System:
    """A structure before any perturbation."""
    atoms = config.system.atoms
    if atoms is None:
        system = file.read().system
    else:
        unknown = [a[0] for a in atoms if a[0] not in NUMBERS]
        if unknown:
            raise UsageError(f"system.atoms: unknown element {unknown[0]!r}")
        positions, numbers = np.array([a[1:] for a in atoms], float), np.array([NUMBERS[a[0]] for a in atoms])
        cell = config.system.cell
        system = molecule(positions, numbers) if cell is None else System(np.array(cell), positions, numbers)
    if config.system.molecule:
        return molecule(system.positions, system.numbers)
    if not any(system.pbc):
        raise DataError(
            f"{file.path} is a molecule (no lattice vectors, or periodic nowhere), and system.molecule is false; set it to true"
        )
    return supercell(system, config.system.repeats)


def _fingerprint(config: PyscfConfig, job: Job) -> dict[str, Any]:
    """The settings on which the data of a structure depend, for ``info.json``; the structure as a hash, because its file may move."""
    settings = config.model_dump(mode="json")
    for key in ("structure", "atoms", "cell"):
        del settings["system"][key]
    del settings["perturb"]["number"]
    return {**settings, "structure_sha256": structure_hash(structure_of(config, job))}
