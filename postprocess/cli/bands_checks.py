"""What of ``deeph-bands`` is refused: wrong options, before anything is computed, and empty windows."""

import argparse
from typing import TYPE_CHECKING

from postprocess.cli.comparison import check_comparison_options, is_molecule
from postprocess.cli.energies import check_window
from postprocess.cli.figures import figure_look
from postprocess.cli.ribbon import check_ribbon_options
from postprocess.cli.solver import check_solver_options

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
    from postprocess.states.kjobs import Jobs


def check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError
    from postprocess.output import tables

    check_window(args)
    check_solver_options(args)
    figure_look(args)
    if args.dos and not args.dos.is_file():
        raise UsageError(f"--dos {args.dos}: there is no such file; deeph-dos writes it")
    check_ribbon_options(args)
    if (args.projections or args.group or args.function or args.unfold or args.dos) and (args.compare or len(args.folders) > 1):
        raise UsageError("fat bands, --unfold and --dos show one folder; leave out --compare and the other folders")
    if args.compare:
        check_comparison_options(args, args.compare)
    if args.compare and args.connect:
        raise UsageError("--compare compares levels in ascending order; leave out --connect")
    for file in args.out:
        if file.suffix not in SUFFIXES + tables.SUFFIXES:
            figures, numbers = ", ".join(SUFFIXES), ", ".join(tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")
        if file.suffix in tables.SUFFIXES and len(args.folders) > 1:
            raise UsageError(f"--out {file}: a table holds one band structure, but {len(args.folders)} folders were given")


def check_molecules(args: argparse.Namespace, folders: "list[tuple[str, Hamiltonian]]") -> None:
    """What only bands have: UsageError if it is asked of a molecule."""
    from deeph.runtime.errors import UsageError

    asked = ["--connect"] * args.connect + ["--unfold"] * bool(args.unfold)
    asked += [f"--out {file}" for file in args.out if file.suffix == ".Band"]
    molecules = [title for title, data in folders if is_molecule(data)] if asked else []
    if molecules:
        raise UsageError(f"{molecules[0]} is a molecule, whose levels form no bands: leave out {asked[0]}")


def check_levels_in_window(args: argparse.Namespace, bands: "list[Bands]", jobs: "list[Jobs]") -> None:
    """An empty figure is no result: DataError if no level lies in the window."""
    import numpy as np

    from deeph.runtime.errors import DataError

    if not args.window:
        return
    low, high = args.window
    energies = np.concatenate([(b.energies - (b.fermi_energy or 0.0)).ravel() for b in bands])
    if not ((energies >= low) & (energies <= high)).any():
        for job in jobs:
            job.finish()
        raise DataError(
            f"--window {low:g} {high:g}: no level lies there on this path; the bands computed go from {np.nanmin(energies):.3f} to "
            f"{np.nanmax(energies):.3f} eV" + " from the Fermi level" * (bands[0].fermi_energy is not None)
        )
