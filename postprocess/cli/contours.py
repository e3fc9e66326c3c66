"""``deeph-contours``: contours of constant energy and maps over the Brillouin zone, of layers and of planes through crystals."""

import argparse
import json
import sys
from dataclasses import replace
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_symmetrize_option, load, parse_fermi
from postprocess.cli.energies import parse_energy, resolve_energies
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.numbers import parse_bands
from postprocess.cli.solver import add_solver_options, check_solver_options, choose_solver

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.contours.maps import ZoneMap
    from postprocess.contours.plane import KPlane
    from postprocess.contours.result import Contours
    from postprocess.states.kjobs import Jobs

QUANTITIES = ("energy", "curvature", "spin-x", "spin-y", "spin-z")
EPILOG = """examples:
  deeph-contours data/graphene --energies -1 -0.5 0.5 1 --out contours.pdf contours.csv
  deeph-contours data/Bi --energies 0.4 --colour spin-z --arrows --out spin.pdf     spin on the contour
  deeph-contours data/MoS2 --energies -1.15 --bands 25-26 --colour curvature --out curvature.pdf
  deeph-contours data/MoS2 --map curvature --bands 26 --out map.pdf map.h5          a map over the zone
  deeph-contours data/Bi --map spin-z --arrows --bands 31 --energies 0.4 --out map.pdf     with contours on it
  deeph-contours data/Fe --plane 1,1,0=0 --out fermi.pdf      Fermi surface cut by k1 + k2 = 0, normal to a1 + a2
  deeph-contours moire --n-bands 12 --energies 0 --out fermi.pdf                     a large cell

Energies are in eV. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-contours``."""
    parser = make_parser("deeph-contours", "Contours of constant energy and maps over the zone from Hamiltonians.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder; for the curvature with a position matrix")
    parser.add_argument(
        "--energies", nargs="+", type=parse_energy, metavar="EV",
        help="from the Fermi level, or such as vbm-0.1 (default: 0, the Fermi contour; none with --map)",
    )  # fmt: skip
    parser.add_argument("--fermi", type=parse_fermi, metavar="EV|count", help="Fermi level in eV, or 'count' to fill levels")
    parser.add_argument("--bands", type=parse_bands, metavar="N,N-N", help="only these, counted from 1 (--map: of which band)")
    parser.add_argument(
        "--plane", type=_plane, metavar="H,K,L=X", help="of a crystal: h k1 + k k2 + l k3 = X, fractional; 3=0.5 is k3 = 1/2"
    )
    parser.add_argument(
        "--mesh", nargs=2, type=int, metavar="N", help="k-points along both vectors of the plane (default: 20 per 1/Angstrom)"
    )
    parser.add_argument("--tolerance", type=float, default=1e-5, metavar="EV", help="of every point of a contour (default %(default)s)")
    parser.add_argument("--colour", choices=("band", *QUANTITIES), help="what colours of contours tell (default: bands, or energies)")
    parser.add_argument("--arrows", action="store_true", help="draw the spin in the plane as arrows")
    parser.add_argument("--map", choices=QUANTITIES, help="a map of this over the zone, of --bands N (curvature: also of a group N-M)")
    parser.add_argument("--spin", choices=("up", "down"), help="channel of --map where H is collinear (default: up)")
    parser.add_argument("--positions", choices=("matrix", "atoms"), help="for the curvature: the matrix of the data, or its approximation")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    parser.add_argument(
        "--out", nargs="+", type=Path, default=[], metavar="FILE", help="figures (pdf, png, svg) and tables (csv, json, h5)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_solver_options(parser)
    add_job_options(parser)
    add_figure_options(parser)
    parser.set_defaults(window=None)
    run_command(parser, _body, argv)


def _plane(text: str) -> tuple[tuple[int, int, int], float]:
    normal, _, offset = text.partition("=")
    try:
        numbers, value = [int(n) for n in normal.split(",")], float(offset or 0)
    except ValueError:
        numbers, value = [], 0.0
    if len(numbers) == 1 and 1 <= numbers[0] <= 3:
        numbers = [int(axis == numbers[0]) for axis in (1, 2, 3)]
    if len(numbers) != 3 or not any(numbers) or not abs(value) < 10 or gcd(*numbers) != 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an axis or three integers without common divisor, and a k: 3=0.5 or 1,1,0=0")
    return (numbers[0], numbers[1], numbers[2]), value


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.log import telling
    from postprocess.contours.contours import find_contours
    from postprocess.contours.plane import make_plane
    from postprocess.contours.quantities import check_quantities, with_quantities
    from postprocess.states.fermi import FermiLevel, find_fermi_level

    _check_options(args)
    spin, curvature = args.arrows or (args.colour or "").startswith("spin"), args.colour == "curvature"
    group = start_group(args)
    data, predicted = load(args.folder, predicted=args.predicted or None, symmetrize=args.symmetrize, positions=True)
    title = args.folder.resolve().name + " (predicted)" * predicted
    resolve_energies(args, data)
    if spin or curvature or args.map:
        check_quantities(data, spin=spin or (args.map or "").startswith("spin"))
    plane = make_plane(data, *(args.plane or (None, 0.0)))
    jobs = make_jobs(args, group, [])
    solver, fermi = choose_solver(args, data)
    with telling(f"at work on {title}"):
        level = fermi if isinstance(fermi, FermiLevel) else find_fermi_level(data, fermi, needed=True)
        mesh = tuple(args.mesh) if args.mesh else None
        found = background = None
        if args.map:
            background = _map(args, data, plane, level, jobs, title)
        if args.energies or not args.map:
            options: dict[str, Any] = {"bands": args.bands or (), "divisions": mesh, "tolerance": args.tolerance, "solver": solver}
            found = find_contours(data, plane, args.energies or [0.0], fermi=level, jobs=jobs, **options)
            if spin or curvature:
                found = with_quantities(found, data, curvature=curvature, spin=spin, source=args.positions, jobs=jobs)
            found = replace(found, title=title)
    if group.rank == 0:
        _report(args, data, found, background)
        _write(args, found, background)
    return 0


def _map(args: argparse.Namespace, data: "Hamiltonian", plane: "KPlane", level: Any, jobs: "Jobs", title: str) -> "ZoneMap":
    from postprocess.contours.maps import MapOf, compute_map

    of = MapOf(args.map, args.bands, 1 if args.spin == "down" else 0, args.arrows)
    options: dict[str, Any] = {"divisions": tuple(args.mesh) if args.mesh else None, "source": args.positions, "jobs": jobs, "title": title}
    return compute_map(data, plane, of, fermi=level, **options)


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError
    from postprocess.output import berry_tables

    check_solver_options(args)
    figure_look(args)
    if args.map and not args.bands:
        raise UsageError(f"--map {args.map} is of one band: add --bands N (deeph-bands lists which are filled)")
    if args.spin and not args.map:
        raise UsageError("--spin chooses the channel of --map; contours are drawn of both")
    if args.map and args.n_bands:
        raise UsageError("--map takes all levels by dense matrices: leave out --n-bands")
    if (args.colour or args.arrows) and not any(map(is_figure, args.out)) and not args.out:
        raise UsageError("--colour and --arrows are for figures and tables: add --out")
    for file in args.out:
        if file.suffix not in SUFFIXES + berry_tables.SUFFIXES:
            figures, numbers = ", ".join(SUFFIXES), ", ".join(berry_tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")


def _report(args: argparse.Namespace, data: "Hamiltonian", found: "Contours | None", background: "ZoneMap | None") -> None:
    from postprocess.output.contour_text import contour_lines, contour_record, map_lines, map_record

    if args.json:
        record = ({} if found is None else contour_record(found)) | ({} if background is None else {"map": map_record(background)})
        sys.stdout.write(json.dumps(record, indent=1) + "\n")
        return
    first = found or background
    lines = [f"{first.title if first else ''}: {data.system}, {data.n_orbitals} orbitals, spin {data.basis.spin}"]
    if first is not None and first.fermi is not None:
        lines.append(f"Fermi level  {first.fermi.energy:.6f} eV ({first.fermi.origin})")
    lines += [] if background is None else map_lines(background)
    lines += [] if found is None else contour_lines(found, data.n_electrons)
    sys.stdout.write("\n".join(lines) + "\n")


def _write(args: argparse.Namespace, found: "Contours | None", background: "ZoneMap | None") -> None:
    from deeph.runtime.log import logger

    look = dict(figure_look(args))
    for file in args.out:
        if found is None and background is not None:
            background.save(file, **({"arrows": args.arrows, **look} if is_figure(file) else {}))
        elif found is not None and is_figure(file):
            found.save(file, colour=args.colour or "", arrows=args.arrows, background=background, **look)
        elif found is not None:
            found.save(file)
        logger.info("wrote %s", file)
    if found is not None and background is not None:
        for file in (f for f in args.out if not is_figure(f)):
            beside = file.with_name(f"{file.stem}_map{file.suffix}")
            background.save(beside)
            logger.info("wrote %s", beside)


if __name__ == "__main__":
    main()
