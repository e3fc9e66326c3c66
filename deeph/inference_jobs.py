"""What ``deeph-infer`` does with each structure: where its overlap comes from, whether it is done, and what is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deeph.files.moments_file import MomentRows
from deeph.files.store import (
    HAMILTONIAN,
    PREDICTED,
    element_order,
    is_structure_folder,
    read_info,
    read_moments,
    read_overlap,
    read_poscar,
)
from deeph.inference_moments import as_input, input_moments, tell, tell_left_out
from deeph.inference_structures import Job
from deeph.nn.given import HOW
from deeph.nn.graph import check_compatible
from deeph.nn.model import HamiltonianModel
from deeph.physics.basis import shells_text
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import SYMBOLS, FloatArray, System
from deeph.runtime.errors import DataError, ModelError, UsageError

BASIS_FILES = "C6.0.pao:s2p2d1 (OpenMX), C_gga_8au_100Ry_2s2p1d.orb (ABACUS), C.ion.xml (SIESTA) or gto:NAME (PySCF)"
SAME_MOMENT = 1e-6
"""Bohr magneton; moments that differ by less are the same."""


def is_done(job: Job, model: HamiltonianModel, moments: FloatArray | None, *, overwrite: bool) -> bool:
    """Whether the folder of the prediction holds it already.

    Parameters
    ----------
    job, model, moments : Job, HamiltonianModel, (n_atoms, 3) array or None
        What is to be predicted, see :meth:`Inputs.moments_of`.
    overwrite : bool
        Whether to do it again.

    Raises
    ------
    DataError
        If it holds anything else: a DFT run, another structure, the prediction of another model or for other moments (which ``overwrite``
        replaces).
    """
    if not job.out.exists() and not job.out.is_symlink():
        return False
    if not is_structure_folder(job.out) or not (job.out / PREDICTED).is_file() or (job.out / HAMILTONIAN).is_file():
        raise DataError(f"{job.out} exists already, is no prediction and is kept; choose another OUT")
    if overwrite:
        return False
    info = read_info(job.out)
    there, own = info.get("source", {}).get("model", {}).get("sha256"), model.origin.get("sha256")
    if there != own:
        raise DataError(f"{job.out} was predicted by another model; choose another OUT, or replace it with --overwrite")
    system, known = job.system(), read_poscar(job.out / "POSCAR")
    order = element_order(system)
    system = system.permuted(order)
    if not np.array_equal(system.numbers, known.numbers) or max(_distance(system, known)) > 1e-6:
        raise DataError(f"{job.out} is the prediction of another structure; choose another OUT, or replace it with --overwrite")
    if moments is not None and not _same_moments(read_moments(info), moments[order]):
        raise DataError(f"{job.out} was predicted for other magnetic moments; choose another OUT, or replace it with --overwrite")
    return True


def _same_moments(known: FloatArray | None, moments: FloatArray) -> bool:
    return known is not None and known.shape == moments.shape and bool(np.abs(known - moments).max(initial=0.0) < SAME_MOMENT)


def _distance(a: System, b: System) -> Iterator[float]:
    yield float(np.abs(a.cell - b.cell).max())
    yield float(np.abs(a.positions - b.positions).max())


@dataclass(frozen=True)
class Inputs:
    """Where the overlap and the magnetic moments of a structure come from.

    Attributes
    ----------
    model : HamiltonianModel
        Its shells are those the basis has to have.
    basis : sequence of str
        Basis files as the command line gives them; empty where all structures have their overlap.
    cutoff : float or None
        As in :func:`deeph.facade.overlap`.
    threads : int
        Threads that share the blocks.
    moments : MomentRows or None
        Magnetic moments instead of those in the structure folders.
    """

    model: HamiltonianModel
    basis: Sequence[str] = ()
    cutoff: float | None = None
    threads: int = 1
    moments: MomentRows | None = None

    def moments_of(self, job: Job) -> FloatArray | None:
        """The magnetic moments that the model is given, atoms in the order of the file; see :func:`input_moments` for errors."""
        return input_moments(job.system(), self.moments, _stored(job), self.model.magnetic, self.model.basis.spin)

    def describe(self, job: Job) -> Hamiltonian:
        """Structure, basis and moments of a job, checked against the model; without any block where S is to be computed.

        Raises
        ------
        UsageError
            If the basis is missing, or is not that of the model, or the model does not take the moments.
        DataError, ModelError
            If the structure cannot be read, lacks an H0 that the model needs, or has an element that the model does not know, or the
            moments are not those of this structure.
        """
        structure = read_overlap(job.given, self.model.given.extra) if job.file is None else self._described(job)
        return as_input(structure, self.moments_of(job), self.model)

    def _described(self, job: Job) -> Hamiltonian:
        """The structure in a file, with its basis."""
        from deeph.facade import describe_overlap

        structure = job.file.read()
        elements = np.unique(structure.system.numbers).tolist()
        if unknown := [SYMBOLS[z] for z in elements if z not in self.model.basis.shells]:
            raise DataError(f"the model does not know {', '.join(unknown)}; it was trained on {', '.join(self.model.basis.to_symbols())}")
        if self.model.given.zeroth:
            raise ModelError(f"the model predicts H - H0, and {job.given} is no structure folder with H0: {HOW}")
        if not self.basis:
            raise UsageError(
                f"{job.given} holds no overlap: give the orbitals of the training data with --basis, one file for each element, so that S "
                f"can be computed; the model wants {wanted(self.model, elements)}. FILE is one of {BASIS_FILES}"
            )
        out = describe_overlap(structure, self.basis)
        for z, shells in out.basis.shells.items():
            if shells != self.model.basis.shells[z]:
                source = out.source["basis"][SYMBOLS[z]]
                raise UsageError(
                    f"--basis {source} gives {SYMBOLS[z]} the shells {shells_text(shells)}, but the model was trained with "
                    f"{wanted(self.model, [z])}; give the basis of the training data"
                )
        return out

    def get(self, job: Job) -> Hamiltonian:
        """The structure with S, read or computed; its moments are told."""
        description = self.describe(job)
        check_compatible(description, self.model)
        tell_left_out(description.system, self.moments, _stored(job), self.model.magnetic)
        if description.moments is not None:
            tell(description.system, description.moments, self.model.magnetic)
        if job.file is None:
            return description
        return as_input(self.compute(job, description.system), description.moments, self.model)

    def compute(self, job: Job, system: System) -> Hamiltonian:
        """The overlap of a system with the basis of a job: its own, or a piece of it."""
        from deeph.facade import overlap

        structure = job.file.read()._replace(system=system)
        return overlap(structure, self.basis, cutoff=self.cutoff, threads=self.threads, unused=True)


def _stored(job: Job) -> FloatArray | None:
    """The moments in the structure folder of a job."""
    return read_moments(read_info(job.given)) if job.file is None else None


def wanted(model: HamiltonianModel, elements: Sequence[int]) -> str:
    """The shells of some elements, such as ``Mo s3p2d2, S s2p2d1``."""
    return ", ".join(f"{SYMBOLS[z]} {shells_text(model.basis.shells[z])}" for z in elements)
