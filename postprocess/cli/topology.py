"""``deeph-topology``: Chern numbers, Z2, Wannier centres, Weyl points and polarisation of structure folders."""

import argparse
import json
import sys
from pathlib import Path

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_symmetrize_option, load, title_of
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.numbers import are_neighbours, parse_bands

QUANTITIES = ("auto", "z2", "chern", "wilson", "mirror", "weyl", "polarisation", "born", "transition")
EPILOG = """examples:
  deeph-topology data/Bi --out flow.pdf                   Z2 by Wannier centres, and by parities if there is inversion
  deeph-topology data/Bi2Se3 --find transition            the strength of spin-orbit coupling at which Z2 changes
  deeph-topology data/CrI3 --find chern                   of the filled bands; --bands 1-24 of others
  deeph-topology data/TaAs --find chern --plane 3=0.5     on the plane k3 = 1/2
  deeph-topology data/SnTe --find mirror --plane 1=0      mirror normal to lattice vector 1
  deeph-topology data/TaAs --find weyl --search 20 20 20  touchings of the highest filled and the next band, with charges
  deeph-topology data/path/* --find polarisation --ions Ba=10 Ti=12 O=6      along a path of structures, on one branch
  deeph-topology data/GaAs data/moved/* --find born --ions Ga=13 As=15       one atom moved in each further folder

Exit code: 0 done, 1 the data are missing or wrong (a metal, no spin-orbit coupling, a mesh too coarse), 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-topology``."""
    parser = make_parser("deeph-topology", "Topology of the bands of Hamiltonians in structure folders.", EPILOG)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="structure folder; several for polarisation and born")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    parser.add_argument("--find", choices=QUANTITIES, default="auto", help="auto: z2 with spin-orbit and time reversal, else chern")
    parser.add_argument("--bands", type=parse_bands, metavar="N-N", help="neighbouring bands, counted from 1 (default: the filled ones)")
    parser.add_argument(
        "--mesh", nargs=2, type=int, metavar="N",
        help="k-points along a line, and lines (of Z2: over half of the zone) (default: 12 per 1/Angstrom, doubled until fine enough)",
    )  # fmt: skip
    parser.add_argument(
        "--plane", type=_plane, metavar="AXIS=K", help="plane of k, 3=0.5 is k3 = 1/2 (default: k3 = 0; chern, wilson, mirror)"
    )
    parser.add_argument(
        "--along", type=int, choices=(1, 2, 3), metavar="AXIS", help="direction of the lines of wilson (default: first of the plane)"
    )
    parser.add_argument(
        "--search", nargs=3, type=int, metavar="N", help="mesh from which touching bands are looked for (default: 6 per 1/Angstrom)"
    )
    add_symmetrize_option(parser)
    parser.add_argument("--spin-orbit", type=float, metavar="X", help="multiply the spin-orbit part of H")
    parser.add_argument(
        "--ions", nargs="+", default=[], metavar="EL=Z", help="charges of the ions for polarisation: electrons of each pseudo-atom"
    )
    parser.add_argument("--no-positions", action="store_true", help="do as if there were no position matrix, to see what it matters")
    add_job_options(parser)
    parser.add_argument(
        "--out", nargs="+", type=Path, default=[], metavar="FILE", help="tables (csv, json); of z2 and wilson figures (pdf, png, svg)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    run_command(parser, _body, argv)


def _plane(text: str) -> tuple[int, float]:
    axis, _, offset = text.partition("=")
    try:
        value = float(offset or 0)
    except ValueError:
        value = float("nan")
    if axis not in ("1", "2", "3") or not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an axis and a fractional k, such as 3=0.5")
    return int(axis) - 1, value


def _body(args: argparse.Namespace) -> int:
    from deeph.files.figures import save_figure
    from deeph.physics.symmetrize import describe_symmetry
    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import logger, telling
    from postprocess.cli.topology_finders import FINDERS
    from postprocess.cli.topology_task import Task, automatic
    from postprocess.eigen.hermitian import hermitian
    from postprocess.output.topology_files import check_name, write_topology
    from postprocess.topology.spin_orbit import with_spin_orbit

    group = start_group(args)
    for file in args.out:
        check_name(file)
    if len(args.folders) > 1 and args.find not in ("polarisation", "born"):
        raise UsageError("several folders are a path of structures: --find polarisation, or born")
    if args.bands and not are_neighbours(args.bands):
        numbers = ",".join(str(n + 1) for n in args.bands)
        raise UsageError(f"--bands {numbers}: expected bands that follow each other, such as {args.bands[0] + 1}-{args.bands[-1] + 1}")
    structures = []
    for folder in args.folders:
        data = hermitian(load(folder, predicted=args.predicted or None, positions=not args.no_positions, symmetrize=args.symmetrize)[0])
        structures.append(data if args.spin_orbit is None else with_spin_orbit(data, args.spin_orbit))
    quantity = automatic(structures[0]) if args.find == "auto" else args.find
    task = Task(args, structures, make_jobs(args, group, []), quantity)
    with telling(f"at work on {args.folders[0].resolve().name}"):
        found = FINDERS[quantity](task)
    if group.rank > 0:
        return 0
    title = title_of(args.folders[0].resolve().name, args, predicted=False)
    head = f"{title}: {structures[0].system}, spin {structures[0].basis.spin}"
    symmetry = describe_symmetry(structures[0])
    strength = [] if args.spin_orbit is None else [f"spin-orbit   {args.spin_orbit:g} times that of the data"]
    lines = [head, f"symmetry     {symmetry}", *strength, *found.lines]
    record = {"title": title, "find": quantity, "symmetry": symmetry, **found.record}
    sys.stdout.write((json.dumps(record, indent=1) if args.json else "\n".join(lines)) + "\n")
    for file in args.out:
        if file.suffix in (".csv", ".json"):
            write_topology(file, record, found.rows, f"{title}: {found.comment}")
        elif found.figure is None:
            raise UsageError(f"--out {file}: there is no figure of {quantity}; z2 and wilson have one")
        else:
            save_figure(found.figure(title), file)
        logger.info("wrote %s", file)
    return 0


if __name__ == "__main__":
    main()
