"""``deeph-optics``: responses to light and to static fields."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli import large
from postprocess.cli.common import load, parse_fermi, to_plain
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.numbers import parse_bands

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.response.dichroism import Dichroism
    from postprocess.response.optics import OpticalResponse
    from postprocess.response.scan import FermiResponse
    from postprocess.response.second_order import SecondOrder
    from postprocess.states.fermi import FermiLevel
    from postprocess.states.kjobs import Jobs

    Found = OpticalResponse | SecondOrder | dict[str, FermiResponse] | Dichroism

LIGHT = ("conductivity", "shift", "injection")
STATIC = ("transport", "spin-hall", "nernst", "dipole")
WHAT = (*LIGHT, "dichroism", *STATIC)
EPILOG = """what:
  conductivity   optical conductivity, dielectric function, joint density of states (default)
  shift          shift current                     injection      injection current
  dichroism      degree of circular polarization at k
  transport      Drude weight, conductivity and heat conductivity over tau, Seebeck coefficient
  spin-hall      spin Hall conductivity            nernst         anomalous Nernst coefficient
  dipole         Berry-curvature dipole

examples:
  deeph-optics data/GaAs --mesh 24 24 24 --photons 0 8 --out optics.pdf optics.csv
  deeph-optics data/GaAs --what shift --mesh 24 24 24 --scissor 0.9 --out shift.pdf
  deeph-optics data/MoS2 --what dichroism --k "1/3 1/3 0" --from 25,26 --to 27,28
  deeph-optics data/Pt --what spin-hall --mesh 24 24 24 --window -1 1 --out hall.pdf hall.csv

SI units: S/m of a crystal, S of a layer. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-optics``."""
    parser = make_parser("deeph-optics", "Responses of structure folders to light and to static fields.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("--what", choices=WHAT, default=WHAT[0], help="which response (default: %(default)s)")
    parser.add_argument("--fermi", type=parse_fermi, metavar="EV|count", help="Fermi level in eV, or 'count' to fill levels")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k-points in each direction (default: 10 per 1/Angstrom)")
    parser.add_argument("--rounds", type=int, metavar="N", help="of refinement where the response varies (default: 0 of light, else 3)")
    parser.add_argument("--tolerance", type=float, default=0.01, metavar="X", help="relative change that ends them (default: %(default)s)")
    parser.add_argument("--temperature", type=float, metavar="K", help="of the occupation (default: 0 of light, spin-hall, else 300)")
    parser.add_argument(
        "--positions", choices=("matrix", "atoms"), help="matrix of the folder, or (tau_i + tau_j)/2 S (default: the first that is there)"
    )
    light = parser.add_argument_group("light")
    light.add_argument("--photons", nargs=2, type=float, default=(0.0, 6.0), metavar=("EMIN", "EMAX"), help="eV (default: 0 to 6)")
    light.add_argument("--energies", type=int, default=301, metavar="N", help="photon energies (default: %(default)s)")
    light.add_argument("--broadening", type=float, default=0.05, metavar="EV", help="width of transitions (default: %(default)s)")
    light.add_argument("--shape", choices=("gaussian", "lorentzian"), default="gaussian", help="of transitions (default: %(default)s)")
    light.add_argument("--relaxation", type=float, default=0.1, metavar="EV", help="hbar/tau of the Drude peak (default: %(default)s)")
    light.add_argument("--scissor", type=float, default=0.0, metavar="EV", help="empty levels are moved up by so much")
    circular = parser.add_argument_group("dichroism")
    circular.add_argument("--k", nargs="+", metavar="'K1 K2 K3'", help="k-points, fractional, such as '1/3 1/3 0'")
    circular.add_argument("--from", dest="valence", metavar="N,N-N", help="bands from 1 (default: the uppermost occupied, with its equals)")
    circular.add_argument("--to", dest="conduction", metavar="N,N-N", help="bands from 1 (default: the lowest empty, with its equals)")
    static = parser.add_argument_group("static fields")
    static.add_argument("--window", nargs=2, type=float, metavar=("EMIN", "EMAX"), help="Fermi levels, eV from the Fermi energy")
    static.add_argument("--levels", type=int, default=201, metavar="N", help="Fermi levels in --window (default: %(default)s)")
    large.add_conductivity_options(parser)
    add_job_options(parser, device=False)
    add_figure_options(parser)
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="figures (pdf, png, svg), tables (csv, json, h5)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import telling
    from postprocess.states.batches import LARGEST
    from postprocess.states.fermi import find_fermi_level

    _check_options(args)
    group = start_group(args)
    data, predicted = load(args.folder, predicted=args.predicted or None, positions=True)
    if large.is_large(args, data):
        large.optics(args, data, make_jobs(args, group, args.out), args.folder.resolve().name + " (predicted)" * predicted)
        return 0
    if data.n_orbitals > LARGEST:
        raise UsageError(f"{data.n_orbitals} orbitals are too many for the dense matrices of responses; expected {LARGEST} at most")
    title = args.folder.resolve().name + " (predicted)" * predicted
    jobs = make_jobs(args, group, args.out)
    with telling(f"at work on {title}"):
        fermi = find_fermi_level(data, args.fermi, needed=True)
        if fermi is None:  # needed
            raise UsageError("the Fermi level is not known: give --fermi")
        found = _compute(args, data, fermi, jobs, title)
    if group.rank == 0:
        _report(args, data, fermi, found, title)
        _write(args, found)
    jobs.finish()
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.files.figures import SUFFIXES
    from deeph.runtime.errors import UsageError
    from postprocess.geometry.hall import FermiScan
    from postprocess.output import berry_tables
    from postprocess.response.light import Broadening, Photons
    from postprocess.states.adaptive import Refinement

    figure_look(args)
    if args.window and args.what not in STATIC:
        raise UsageError(f"--window gives Fermi levels, which {args.what} takes one of; photon energies: --photons")
    if (args.k or args.valence or args.conduction) and args.what != "dichroism":
        raise UsageError("--k, --from and --to belong to --what dichroism")
    if args.what == "dichroism" and not args.k:
        raise UsageError("dichroism takes k-points: --k '1/3 1/3 0'")
    if args.what == "dichroism" and args.out:
        raise UsageError("dichroism is printed, or with --json: leave out --out")
    Broadening(args.broadening, args.shape)
    Photons(args.photons[0], args.photons[1], args.energies)
    low, high = args.window or (0.0, 0.0)
    FermiScan(low, high, args.levels, args.temperature or 0.0)
    Refinement(args.rounds or 0, args.tolerance)
    for file in args.out:
        if file.suffix not in SUFFIXES + berry_tables.SUFFIXES:
            figures, numbers = ", ".join(SUFFIXES), ", ".join(berry_tables.SUFFIXES)
            raise UsageError(f"--out {file}: expected a name ending in {figures} (figure) or {numbers} (table)")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--out {file}: the folder {file.parent} does not exist")
    if args.what in STATIC and not args.window and any(map(is_figure, args.out)):
        raise UsageError("a figure of a response to static fields takes several Fermi levels: give --window EMIN EMAX")


def _compute(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel", jobs: "Jobs", title: str) -> "Found":
    if args.what == "dichroism":
        return _dichroism(args, data, fermi)
    return _static(args, data, fermi, jobs, title) if args.what in STATIC else _light(args, data, fermi, jobs, title)


def _light(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel", jobs: "Jobs", title: str) -> "OpticalResponse | SecondOrder":
    from postprocess.response.light import Broadening, Photons
    from postprocess.response.optics import optical_response
    from postprocess.response.second_order import direct_current
    from postprocess.response.transitions import LightSettings
    from postprocess.states.adaptive import Refinement

    photons, width = Photons(args.photons[0], args.photons[1], args.energies), Broadening(args.broadening, args.shape)
    refinement = Refinement(args.rounds or 0, args.tolerance)
    warm, mesh = args.temperature or 0.0, tuple(args.mesh) if args.mesh else None
    settings = LightSettings(mesh, photons, width, warm, args.relaxation, args.scissor, args.positions, refinement, jobs, title)
    if args.what == "conductivity":
        return optical_response(data, fermi, settings)
    return direct_current(data, args.what, fermi, settings)


def _static(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel", jobs: "Jobs", title: str) -> "dict[str, FermiResponse]":
    from postprocess.geometry.hall import FermiScan
    from postprocess.response import anomalous
    from postprocess.response.scan import Settings
    from postprocess.response.transport import transport
    from postprocess.states.adaptive import Refinement

    low, high = args.window or (0.0, 0.0)
    warm = 0.0 if args.what == "spin-hall" else 300.0
    scan = FermiScan(low, high, args.levels if args.window else 1, warm if args.temperature is None else args.temperature)
    refinement = Refinement(3 if args.rounds is None else args.rounds, args.tolerance)
    settings = Settings(tuple(args.mesh) if args.mesh else None, scan, args.positions, refinement, jobs, title)
    if args.what == "transport":
        return transport(data, fermi, settings)
    functions = {
        "spin-hall": anomalous.spin_hall_conductivity, "nernst": anomalous.nernst_coefficient, "dipole": anomalous.curvature_dipole,
    }  # fmt: skip
    return {args.what: functions[args.what](data, fermi, settings)}


def _dichroism(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel") -> "Dichroism":
    from fractions import Fraction

    from deeph.runtime.errors import UsageError
    from postprocess.response.dichroism import dichroism, edges

    points = []
    for text in args.k:
        try:
            point = [float(Fraction(word)) for word in text.replace(",", " ").split()]
        except (ValueError, ZeroDivisionError):
            point = []
        if len(point) != 3:
            raise UsageError(f"--k {text!r}: expected three fractional coordinates in quotes, such as '1/3 1/3 0'")
        points.append(point)
    below, above = (parse_bands(text, option) for text, option in ((args.valence, "--from"), (args.conduction, "--to")))
    if not below or not above:
        found = edges(data, points, fermi.energy)
        below, above = below or found[0], above or found[1]
    return dichroism(data, points, below, above, source=args.positions)


def _report(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel", found: "Found", title: str) -> None:
    from postprocess.output.response_text import describe, summary

    if args.json:
        sys.stdout.write(json.dumps(to_plain(summary(found)), indent=1) + "\n")
        return
    lines = [f"{title}: {data.system}, {data.n_orbitals} orbitals, spin {data.basis.spin}"]
    lines += describe(data, fermi, found)
    sys.stdout.write("\n".join(lines) + "\n")


def _write(args: argparse.Namespace, found: "Found") -> None:
    from deeph.runtime.log import logger
    from postprocess.response.dichroism import Dichroism

    if isinstance(found, Dichroism):
        return
    look: dict[str, Any] = dict(figure_look(args))
    if args.window:
        look["window"] = tuple(args.window)
    parts = found if isinstance(found, dict) else {"": found}
    for file in args.out:
        for name, part in parts.items():
            own = file.with_name(f"{file.stem}_{name}{file.suffix}") if len(parts) > 1 else file
            part.save(own, **(look if is_figure(own) else {}))
            logger.info("wrote %s", own)


if __name__ == "__main__":
    main()
