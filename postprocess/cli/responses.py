"""What the commands that take H, S and r of one folder share: options, the structure they are about, outputs."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deeph.files.savable import Savable
from postprocess.cli.common import add_symmetrize_option, load, title_of
from postprocess.cli.energies import resolve_energies
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.states.adaptive import Refinement
    from postprocess.states.fermi import FermiLevel
    from postprocess.states.kjobs import Jobs

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """The structure that a command is about.

    Attributes
    ----------
    data : Hamiltonian
        With H, and with r if the folder has it.
    title : str
        Name for legends and tables.
    jobs : Jobs
        Processes, and where finished batches are kept.
    """

    data: "Hamiltonian"
    title: str
    jobs: "Jobs"

    @cached_property
    def symmetry(self) -> str:
        """How far H is from its group."""
        from deeph.physics.symmetrize import describe_symmetry

        return describe_symmetry(self.data)

    def head(self) -> list[str]:
        """The first lines of every report: what forbidden components and degenerate levels can be trusted to."""
        first = f"{self.title}: {self.data.system}, {self.data.n_orbitals} orbitals, spin {self.data.basis.spin}"
        return [first, f"symmetry     {self.symmetry}"]

    def check_dense(self, what: str) -> None:
        """UsageError if the cell is too large for dense matrices of ``what``."""
        from deeph.runtime.errors import UsageError
        from postprocess.states.batches import LARGEST

        if self.data.n_orbitals > LARGEST:
            raise UsageError(f"{self.data.n_orbitals} orbitals are too many for the dense matrices of {what}; expected {LARGEST} at most")

    def fermi(self, wanted: float | str | None, *, needed: bool = True) -> "FermiLevel | None":
        """The Fermi level; see :func:`postprocess.states.fermi.find_fermi_level`."""
        from postprocess.states.fermi import find_fermi_level

        return find_fermi_level(self.data, wanted, needed=needed)


def add_positions_option(parser: argparse.ArgumentParser) -> None:
    """``--positions``."""
    parser.add_argument(
        "--positions", choices=("matrix", "atoms"), help="matrix of the folder, or (tau_i + tau_j)/2 S (default: the first that is there)"
    )


def add_integral_options(parser: "argparse._ActionsContainer", *, rounds: str) -> None:
    """``--mesh`` and those of :func:`add_refinement_options`."""
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k-points in each direction (default: 10 per 1/Angstrom)")
    add_refinement_options(parser, rounds=rounds)


def add_refinement_options(parser: "argparse._ActionsContainer", *, rounds: str) -> None:
    """``--rounds`` and ``--tolerance``; ``rounds`` says how many there are by default."""
    parser.add_argument("--rounds", type=int, metavar="N", help=f"of refinement where the integrand varies (default: {rounds})")
    parser.add_argument("--tolerance", type=float, default=0.01, metavar="X", help="relative change that ends them (default: %(default)s)")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Processes, figures, which H, and what is written."""
    add_job_options(parser, device=False)
    add_figure_options(parser)
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="figures (pdf, png, svg), tables (csv, json, h5)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def refinement(args: argparse.Namespace, default: int) -> "Refinement":
    """Rounds and tolerance as they were asked for, checked."""
    from postprocess.states.adaptive import Refinement

    return Refinement(default if args.rounds is None else args.rounds, args.tolerance)


def check_outputs(files: Sequence[Path], tables: Sequence[str]) -> None:
    """UsageError if a file is neither a figure nor a table, or its folder is not there."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError

    for file in files:
        if file.suffix not in (*SUFFIXES, *tables):
            raise UsageError(f"--out {file}: expected a name ending in {', '.join(SUFFIXES)} (figure) or {', '.join(tables)} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")


def compute_and_report(
    args: argparse.Namespace, compute: Callable[[Subject], T], report: Callable[[Subject, T], Mapping[str, Savable]]
) -> int:
    """Read the folder, compute with all processes, then report and write with the first one.

    Parameters
    ----------
    args : Namespace
        With ``folder`` and the options of :func:`add_output_options`.
    compute : function
        Of the structure.
    report : function
        Prints the result, and gives what is to be saved, by the part of the file name that tells it from the others.

    Returns
    -------
    int
        0, the exit code.
    """
    from deeph.runtime.log import telling

    group = start_group(args)
    data, predicted = load(args.folder, predicted=args.predicted or None, positions=True, symmetrize=args.symmetrize)
    resolve_energies(args, data)
    subject = Subject(data, title_of(args.folder.resolve().name, args, predicted=predicted), make_jobs(args, group, args.out))
    with telling(f"at work on {subject.title}"):
        found = compute(subject)
        group.wait()  # all have read the results, which the first one will remove
    if group.rank == 0:
        _write(args, report(subject, found))
    subject.jobs.finish()
    return 0


def _write(args: argparse.Namespace, parts: Mapping[str, Savable]) -> None:
    from deeph.runtime.log import logger

    look: dict[str, Any] = dict(figure_look(args))
    if args.window:
        look["window"] = tuple(args.window)
    for file in args.out:
        for name, part in parts.items():
            own = file.with_name(f"{file.stem}_{name}{file.suffix}") if len(parts) > 1 else file
            part.save(own, **(look if is_figure(own) else {}))
            logger.info("wrote %s", own)
