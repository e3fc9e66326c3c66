"""The table of formats, and the verb :func:`export`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from deeph.files.folders import KEPT, REPLACE, FolderExistsError, new_file, new_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.export import deeptb, hamgnn, hoptb, kwant, petsc, pythtb, sisl, wannier90, wannierberri, wanniertools

Zero = Literal["h", "fermi"]


@dataclass(frozen=True)
class Format:
    """How H goes to another program.

    Attributes
    ----------
    holds : str
        What the files hold, for lists.
    write : callable or None
        ``write(path, h, **options)`` into a folder that exists, or to the name of a file; None where the program has no files.
    is_folder : bool
        Whether the output is a folder.
    make : callable or None
        ``make(h, **options)`` gives the object of the program's library.
    library : str
        That has to be installed to make or write it; empty where none has.
    options : tuple of str
        Options of :func:`export` that it takes: "mesh" for orthonormal (Loewdin) orbitals, "k", "scalars".
    both_spins : bool
        Whether collinear spins go as they are; elsewhere they become spinors.
    """

    holds: str
    write: Callable[..., None] | None = None
    is_folder: bool = True
    make: Callable[..., Any] | None = None
    library: str = ""
    options: tuple[str, ...] = ()
    both_spins: bool = False


_WANNIER90 = "wannier90_hr.dat, _tb.dat (H, r), .win, _centres.xyz; orthonormal (Loewdin)"
FORMATS: dict[str, Format] = {
    "wannier90": Format(_WANNIER90, wannier90.write, options=("mesh",)),
    "wannierberri": Format(_WANNIER90, wannier90.write, make=wannierberri.make, library="wannierberri", options=("mesh",)),
    "pythtb": Format(_WANNIER90, wannier90.write, make=pythtb.make, library="pythtb", options=("mesh",)),
    "kwant": Format("from Python alone; orthonormal (Loewdin)", make=kwant.make, library="kwant", options=("mesh",)),
    "wanniertools": Format("sparse hr.dat, overlap.dat, wt.in", wanniertools.write),
    "sisl": Format(
        f"H and S in a file {', '.join(sisl.SUFFIXES)}, also for TBtrans", sisl.write, False, sisl.make, "sisl", both_spins=True
    ),
    "hoptb": Format("H, S, r in a legacy folder, and model.jl", hoptb.write),
    "deeptb": Format("hamiltonians.h5, overlaps.h5 and the structure, as dftio writes them", deeptb.write),
    "hamgnn": Format("graph_data.npz, single precision", hamgnn.write, is_folder=False),
    "petsc": Format("H.petsc, S.petsc: H(R), S(R), or at k", petsc.write, options=("k", "scalars")),
}
"""By the names that ``deeph-export --to`` takes; conventions in :data:`deeph.physics.conventions.TARGETS`."""


def export(
    h: Hamiltonian,
    to: str,
    out: str | Path,
    *,
    mesh: Divisions | None = None,
    k: Sequence[FloatArray] = (),
    scalars: petsc.Scalars | None = None,
    zero: Zero = "h",
    overwrite: bool = False,
) -> None:
    """Write H, S and r for another program; the output appears complete or not at all.

    Parameters
    ----------
    h : Hamiltonian
        With H; position matrices are written where the format has a place for them.
    to : str
        A name in :data:`FORMATS`.
    out : path
        A new folder or file.
    mesh : (int, int, int), optional
        k-points of orthonormal orbitals.
    k : sequence of (3,) arrays
        Fractional wave vectors, for PETSc.
    scalars : {"complex", "real"}, optional
        How PETSc was configured; complex by default.
    zero : {"h", "fermi"}
        Energy zero: as it is, or the Fermi level.
    overwrite : bool
        Whether to replace what is there.

    Raises
    ------
    UsageError
        If there is no such format, it takes no such option, or a library is missing.
    DataError
        If the output exists, or what the format needs is not there.
    """
    form, options = _prepared(to, mesh=mesh, k=k, scalars=scalars)
    path = Path(out).expanduser()
    if form.write is None:
        raise UsageError(f"{to} has no files; from Python: deeph.read(FOLDER).to_{to}()")
    if form.write is sisl.write:
        _need(form)
    h = _with_zero(_one_matrix(h, form, to), zero)
    if form.is_folder:
        with new_folder(path, overwrite=overwrite) as folder:
            form.write(folder, h, **options)
        return
    if path.exists() and not overwrite:
        raise FolderExistsError(KEPT.format(path) + REPLACE)
    with new_file(path) as file:
        form.write(file, h, **options)


def make(h: Hamiltonian, to: str, *, mesh: Divisions | None = None, zero: Zero = "h") -> Any:
    """The object of another program's library; parameters and errors as of :func:`export`."""
    form, options = _prepared(to, mesh=mesh)
    if form.make is None:
        raise UsageError(f"{to} has no Python object; h.export({to!r}, OUT) writes its files")
    _need(form)
    return form.make(_with_zero(_one_matrix(h, form, to), zero), **options)


def _prepared(to: str, **given: Any) -> tuple[Format, dict[str, Any]]:
    """The format, and the options that it takes."""
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r}; expected one of {', '.join(FORMATS)}")
    form = FORMATS[to]
    for name, value in given.items():
        if name not in form.options and value is not None and len(value):
            takers = ", ".join(other for other, one in FORMATS.items() if name in one.options)
            raise UsageError(f"{name} is an option of {takers}, not of {to}")
    return form, {name: given[name] for name in form.options if given.get(name) is not None}


def _need(form: Format) -> None:
    """An error unless the library is installed."""
    if find_spec(form.library) is None:
        raise UsageError(f"{form.library} is not installed: pip install {form.library}")


def _one_matrix(h: Hamiltonian, form: Format, to: str) -> Hamiltonian:
    """Collinear spins as spinors where a format has one H."""
    h.hamiltonian  # noqa: B018 - an overlap alone is an error
    if h.basis.spin != "collinear" or form.both_spins:
        return h
    logger.info("%s has a place for one H: up and down become spinors, H of twice the size", to)
    return h.to_spinor()


def _with_zero(h: Hamiltonian, zero: Zero) -> Hamiltonian:
    """H on the energy zero that was asked for."""
    if zero == "h":
        return h
    if zero != "fermi":
        raise UsageError(f"zero={zero!r}: expected 'h' or 'fermi'")
    if h.fermi_energy is None:
        raise DataError(
            "the Fermi level is not known, so that it cannot be the zero: deeph-dos counts it, and info.json takes it (fermi_energy_eV)"
        )
    return h.with_potential(-h.fermi_energy)
