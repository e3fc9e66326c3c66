"""Overlaps of one structure after the other: what ``deeph-overlap`` does with each, and what it keeps between them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from deeph.files.store import HAMILTONIAN, PREDICTED, is_structure_folder
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError
from deeph.runtime.threads import blas_threads
from preprocess.discover import Job
from preprocess.orbitals.basis_files import read_basis
from preprocess.overlap.two_centre import TwoCentre
from preprocess.overlap.write import Matrices, write_overlap
from preprocess.pipeline import Outcome, attempt, refuse_others, structure_hash
from preprocess.structure_files import Structure, find_structures, read_structure_file


def find_overlaps(structure: Path, out: Path) -> list[Job]:
    """The structure of a file and its folder, or all of a folder or of a file of many and one folder each."""
    found = find_structures([structure])
    if len(found) == 1 and not structure.is_dir():
        return [Job(structure, out)]
    return [Job(one.path, out / one.name, frame=one.frame) for one in found]


@dataclass(frozen=True)
class OverlapJob:
    """Computes the matrices of one structure after the other; can be sent to other processes.

    The tables of the basis are made once for each set of elements, so that the matrices of a structure do not depend on the others.

    Attributes
    ----------
    basis : tuple of str
        As the command line gives it, see :func:`preprocess.orbitals.basis_files.read_basis`.
    wanted : Matrices
        Which matrices, for which spin, how far.
    n_threads : int
        Threads of each process.
    overwrite : bool
        Whether to compute again what is there already.
    """

    basis: tuple[str, ...]
    wanted: Matrices
    n_threads: int = 1
    overwrite: bool = False

    def __call__(self, job: Job) -> Outcome:
        """Compute and write the matrices of one structure of a set; never raises."""
        return attempt(job, lambda: self.compute(job, one_of_many=True))

    def compute(self, job: Job, *, one_of_many: bool = False) -> Outcome:
        """Compute and write the matrices of one structure.

        Parameters
        ----------
        job : Job
            The structure file and the folder it becomes.
        one_of_many : bool
            Whether the basis may have orbitals of elements that are not in this structure.

        Raises
        ------
        DataError
            If the structure or its basis cannot be read, or the output is something else.
        """
        structure = read_structure_file(job.run, job.frame)
        elements = tuple(sorted(set(structure.system.numbers.tolist())))
        names = tuple(sorted(structure.basis_names.items()))
        if not one_of_many:
            read_basis(structure.system.numbers.tolist(), self.basis, structure.basis_names)  # refuses what the structure does not need
        engine = engine_of(self.basis, names, elements)
        settings = self._settings(structure, engine)
        _keep_others(job)
        if job.out.exists() and not (self.overwrite and is_structure_folder(job.out)):
            refuse_others(job.out, settings)
            return Outcome(job, "skipped", f"{job.out} is there already (--overwrite computes again)", 0.0)
        with blas_threads(1):  # the blocks are shared among threads of our own
            n_blocks = write_overlap(
                job.out,
                structure,
                engine,
                self.wanted,
                n_threads=self.n_threads,
                overwrite=self.overwrite,
                settings=settings,
            )
        sources = ", ".join(orbitals.source for orbitals in engine.orbitals.values())
        return Outcome(job, "ok", f"{structure.system}, {n_blocks} blocks ({sources})", 0.0)

    def _settings(self, structure: Structure, engine: TwoCentre) -> dict[str, Any]:
        """On what the matrices depend, for ``info.json``."""
        basis = {SYMBOLS[z]: orbitals.source for z, orbitals in engine.orbitals.items()}
        own = {"basis": basis, **self.wanted._asdict(), "operators": list(self.wanted.operators)}
        return {"overlap": own, "structure_sha256": structure_hash(structure.system)}


def _keep_others(job: Job) -> None:
    """A folder with H, and that of the structure itself, are nothing that an overlap replaces, even if it is asked to."""
    if job.out.resolve() == job.run.resolve().parent:
        raise DataError(f"{job.out} holds the structure itself; choose another output folder")
    if found := [name for name in (HAMILTONIAN, PREDICTED) if (job.out / name).is_file()]:
        raise DataError(f"{job.out} holds {found[0]}, which an overlap alone does not replace; choose another output folder")


@lru_cache(maxsize=8)
def engine_of(basis: tuple[str, ...], names: tuple[tuple[int, str], ...], elements: tuple[int, ...]) -> TwoCentre:
    """The engine for some elements, in ascending order; ``names`` are those of their bases in the structure's own file."""
    return TwoCentre(read_basis(elements, basis, dict(names), unused=True))
