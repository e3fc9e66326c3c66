"""One run becomes one verified structure folder, completely or not at all, so that calling again resumes."""

import hashlib
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from deeph.files import legacy, store
from deeph.files.folders import FolderExistsError
from deeph.files.legacy import is_legacy_folder, write_legacy
from deeph.files.store import is_structure_folder, read_info, write_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.patterns import on_common_pattern
from deeph.physics.soundness import MAX_ASYMMETRY
from deeph.physics.system import System
from deeph.runtime.errors import DataError, DeephError
from preprocess.discover import Job
from preprocess.readers import READERS, recognize
from preprocess.readers.base import Convergence, NoBandsError, Reader, ReferenceBands
from preprocess.verify import Level, verify

Format = Literal["deeph", "legacy"]


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes
    ----------
    code : str
        Name of a reader, or ``auto``.
    verify : {"off", "basic", "bands"}
        See :func:`preprocess.verify.verify`.
    format : {"deeph", "legacy"}
        What to write.
    positions, density : bool
        Whether to write the position matrices and the density matrix, too.
    spinor : bool
        Whether to write spin-free and collinear matrices as spinor blocks.
    overwrite : bool
        Whether to convert again what is there already.
    allow_unconverged : bool
        Whether to convert runs whose self-consistent cycle did not converge.
    hermitian_part : bool
        Whether to take the Hermitian part of a predicted H that is not Hermitian, instead of refusing it.
    """

    code: str = "auto"
    verify: Level = "basic"
    format: Format = "deeph"
    positions: bool = False
    density: bool = False
    spinor: bool = False
    overwrite: bool = False
    allow_unconverged: bool = False
    hermitian_part: bool = False


class Outcome(NamedTuple):
    """What became of a job, "none" where there was nothing to do; ``trace`` is the traceback of an unexpected error."""

    job: Job
    status: Literal["ok", "failed", "skipped", "none"]
    reason: str
    seconds: float
    trace: str = ""


def convert(job: Job, options: Options) -> Outcome:
    """Convert one run; never raises."""
    return attempt(job, lambda: _convert(job, options))


def _convert(job: Job, options: Options) -> Outcome:
    if (kept := _existing(job, options)) is not None:
        return kept
    data, found = _read_verified(job, options)
    write = write_folder if options.format == "deeph" else write_legacy
    write(job.out, data, overwrite=options.overwrite)
    return done(job, data, found)


def done(job: Job, data: Hamiltonian, found: str) -> Outcome:
    """A job whose folder was written, with what the verification found."""
    orbitals = int(data.basis.n_orbitals(data.system.numbers).sum())
    scf = str(Convergence.of(data.source)) if data.H is not None else "S and H0" if "H0" in data.extra else "overlap only"
    return Outcome(job, "ok", f"{data.system.formula}, {orbitals} orbitals, spin {data.basis.spin}, {scf}: {found}", 0.0)


def check_convergence(data: Hamiltonian, *, allow: bool) -> None:
    """Refuse H of a run that says that its self-consistent cycle did not converge; one that says nothing passes, and the table tells.

    Raises
    ------
    DataError
        With the value seen and the criterion.
    """
    scf = Convergence.of(data.source)
    if scf.converged is False and not allow and data.H is not None:
        raise DataError(
            f"{scf}{f', says {scf.file}' if scf.file else ''}: repeat the run until it converges (more steps, other mixing), or give "
            "--allow-unconverged"
        )


def attempt(job: Job, body: Callable[[], Outcome]) -> Outcome:
    """Do a job, take its time, and turn any error into a failed outcome; a folder that another program made meanwhile is skipped."""
    start, trace = time.perf_counter(), ""
    try:
        outcome = body()
        return outcome._replace(reason=" ".join(outcome.reason.split()), seconds=time.perf_counter() - start)
    except FolderExistsError as error:
        return Outcome(job, "skipped", " ".join(str(error).split()), time.perf_counter() - start)
    except DeephError as error:
        reason = str(error)
    except OSError as error:  # a disk that is gone, a file one may not read
        reason = f"{error.filename or job.out}: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - one strange run must not stop the others
        reason, trace = f"unexpected {type(error).__name__}: {error}", traceback.format_exc()
    return Outcome(job, "failed", " ".join(reason.split()), time.perf_counter() - start, trace)


def plan(job: Job, options: Options) -> Outcome:
    """What :func:`convert` would do with a run: it is read and verified alike, but nothing is written."""
    return attempt(job, lambda: _plan(job, options))


def _plan(job: Job, options: Options) -> Outcome:
    if (kept := _existing(job, options)) is not None:
        return kept
    outcome = done(job, *_read_verified(job, options))
    return outcome._replace(reason=f"{job.run} to {job.out}: {outcome.reason}")


def structure_hash(system: System) -> str:
    """Equal for equal cells, positions and elements: a file may move."""
    content = b"".join(np.ascontiguousarray(x).tobytes() for x in (system.cell, system.positions, system.numbers))
    return hashlib.sha256(content).hexdigest()


def refuse_others(folder: Path, settings: Mapping[str, Any]) -> None:
    """A folder that is there already and does not hold the same calculation is an error.

    Parameters
    ----------
    folder : path
        That is there.
    settings : mapping
        Sections of keys, and ``structure_sha256``, as :func:`structure_hash` gives it; kept in ``info.json`` under ``source``.

    Raises
    ------
    DataError
        If it is something else, or was calculated from another structure or with other settings.
    """
    if not is_structure_folder(folder):
        raise DataError(f"{folder} exists already and is kept, but is no structure folder; choose another output")
    there = read_info(folder).get("source", {}).get("settings", {})
    changed = [f"{s}.{k}" for s, t in settings.items() if isinstance(t, dict) for k in t if there.get(s, {}).get(k) != t[k]]
    changed += ["the structure"] if there.get("structure_sha256") != settings["structure_sha256"] else []
    if changed:
        raise DataError(f"{folder} was calculated with other settings ({', '.join(changed)}); choose another output, or --overwrite")


def _existing(job: Job, options: Options) -> Outcome | None:
    """A job with nothing to do: no matrices, or its output is there and to be kept; anything else of that name is not touched."""
    if job.missing:
        return Outcome(job, "none", job.missing, 0.0)
    if not job.out.exists():
        return None
    complete = is_structure_folder if options.format == "deeph" else is_legacy_folder
    if job.out.resolve() == job.run.resolve():
        raise DataError(f"{job.out} is the run itself; choose another output folder")
    if not complete(job.out):
        raise DataError(
            f"{job.out} exists already and is kept, but is no structure folder in the {options.format} format; choose another output"
        )
    if options.overwrite:
        return None
    if lacking := _lacking(job.out, options):
        raise DataError(f"{job.out} is there already, without the {' and the '.join(lacking)}: --overwrite converts again, with it")
    return Outcome(job, "skipped", f"{job.out} is there already (--overwrite converts again)", 0.0)


def _lacking(folder: Path, options: Options) -> list[str]:
    """Matrices asked for that a finished folder does not hold."""
    current = options.format == "deeph"
    density = (store.EXTRA_FILES["density_matrix"],) if current else legacy.EXTRA_FILES["density_matrix"]
    asked = {
        "position matrix": (options.positions, (store.POSITION if current else legacy.POSITIONS,)),
        "density matrix": (options.density, density),
    }
    return [name for name, (wanted, files) in asked.items() if wanted and not any((folder / file).is_file() for file in files)]


def _read_verified(job: Job, options: Options) -> tuple[Hamiltonian, str]:
    """What is to be written of a run, and what the verification found."""
    code, why = recognize(job.run, options.code)
    reader = READERS[code]
    data = reader.read(job.run)
    reference, note = _reference(job, reader, data, options)
    try:
        check_convergence(data, allow=options.allow_unconverged)
        data, deviation = _of_prediction(data, options)
        found = verify(data, "basic" if note else options.verify, reference)
    except DeephError as error:
        raise DataError(f"{job.run}: {error}") from error
    return _selected(job, data, options), f"{found}{deviation}{note}; read as {code} ({why})"


def _of_prediction(data: Hamiltonian, options: Options) -> tuple[Hamiltonian, str]:
    """A predicted H that is not Hermitian: its Hermitian part where that was asked for, and in words how far it was off.

    Raises
    ------
    DataError
        If it was not asked for.
    """
    if data.H is None or not data.predicted or (options.verify == "off" and not options.hermitian_part):
        return data, ""
    error = data.H.closed().hermiticity_error()
    if error <= MAX_ASYMMETRY:
        return data, ""
    seen = f"differs from its Hermitian conjugate by up to {error:.1e} eV"
    if not options.hermitian_part:
        raise DataError(f"the predicted H {seen}; expected below {MAX_ASYMMETRY:g} eV. --hermitian-part takes (H + H^dagger)/2")
    matrices = {"S": data.S, "H": data.H.hermitized(), **({} if data.r is None else {"r": data.r}), **data.extra}
    matrices = on_common_pattern(data.system, data.basis, matrices)
    extra = {name: matrices[name] for name in data.extra}
    source = {**data.source, "hermitian_part_of_H": error}
    taken = replace(data, S=matrices["S"], H=matrices["H"], r=matrices.get("r"), extra=extra, source=source, error_bars=None)
    return taken, f", the Hermitian part of an H that {seen}"


def _reference(job: Job, reader: Reader, data: Hamiltonian, options: Options) -> tuple[ReferenceBands | None, str]:
    """The eigenvalues that were asked for, or a note why there are none: a run that printed none is verified without."""
    if options.verify != "bands":
        return None, ""
    if reader.bands is None or data.H is None:
        return None, f", bands not compared ({'there is no H' if data.H is None else 'its code gives no bands'})"
    try:
        return reader.bands(job.run, data.system), ""
    except NoBandsError as error:
        return None, f", bands not compared ({str(error).removeprefix(str(job.run)).lstrip(' /')})"


def _selected(job: Job, data: Hamiltonian, options: Options) -> Hamiltonian:
    """The matrices that were asked for, in the spin that was asked for; a supplied H0 and kinetic energy always travel along."""
    if options.positions and data.r is None:
        raise DataError(f"{job.run} holds no position matrices; leave --positions out")
    if options.density and "density_matrix" not in data.extra:
        raise DataError(f"{job.run} holds no density matrix; leave --density out")
    extra = {name: blocks for name, blocks in data.extra.items() if options.density or name != "density_matrix"}
    data = replace(data, r=data.r if options.positions else None, extra=extra)
    data = data.to_spinor() if options.spinor else data
    if options.format == "legacy" and data.basis.spin == "collinear":
        raise DataError(f"{job.run}: the legacy format has no place for collinear spin (two matrices); --spinor writes them as one")
    return data
