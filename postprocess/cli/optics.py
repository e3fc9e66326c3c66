"""``deeph-optics``: responses to light and to static fields."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeph.cli.common import make_parser, run_command
from deeph.files.savable import Savable
from postprocess.cli import large
from postprocess.cli.common import parse_fermi, to_plain
from postprocess.cli.energies import add_window_option, check_window
from postprocess.cli.figures import figure_look, is_figure
from postprocess.cli.numbers import parse_bands
from postprocess.cli.responses import (
    Subject,
    add_integral_options,
    add_output_options,
    add_positions_option,
    check_outputs,
    compute_and_report,
    refinement,
)

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.large.conductivity import LargeConductivity
    from postprocess.response.dichroism import Dichroism
    from postprocess.response.optics import OpticalResponse
    from postprocess.response.scan import FermiResponse
    from postprocess.response.second_order import SecondOrder
    from postprocess.states.fermi import FermiLevel

    Found = OpticalResponse | SecondOrder | dict[str, FermiResponse] | Dichroism

LIGHT = ("conductivity", "shift", "injection", "harmonic")
STATIC = ("transport", "spin-hall", "nernst", "dipole")
WHAT = (*LIGHT, "dichroism", *STATIC)
EPILOG = """what:
  conductivity   optical conductivity, dielectric function, joint density of states (default)
  shift          shift current                     injection      injection current
  harmonic       second harmonic                   dichroism      degree of circular polarization at k
  transport      Drude weight, conductivity and heat conductivity over tau, Seebeck coefficient
  spin-hall      spin Hall conductivity            nernst         anomalous Nernst coefficient
  dipole         Berry-curvature dipole

examples:
  deeph-optics data/GaAs --mesh 24 24 24 --photons 0 8 --out optics.pdf optics.csv
  deeph-optics data/GaAs --what shift --mesh 24 24 24 --scissor 0.9 --out shift.pdf
  deeph-optics data/MoS2 --what dichroism --k K --from 25,26 --to 27,28
  deeph-optics data/Pt --what spin-hall --mesh 24 24 24 --window -1 1 --out hall.pdf hall.csv

SI units: S/m of a crystal, S of a layer. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-optics``."""
    parser = make_parser("deeph-optics", "Responses of structure folders to light and to static fields.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("--what", choices=WHAT, default=WHAT[0], help="which response (default: %(default)s)")
    parser.add_argument("--fermi", type=parse_fermi, metavar="EV|count", help="Fermi level in eV, or 'count' to fill levels")
    add_integral_options(parser, rounds="0 of light, else 3")
    parser.add_argument("--temperature", type=float, metavar="K", help="of the occupation (default: 0 of light, spin-hall, else 300)")
    add_positions_option(parser)
    light = parser.add_argument_group("light")
    light.add_argument("--photons", nargs=2, type=float, default=(0.0, 6.0), metavar=("EMIN", "EMAX"), help="eV (default: 0 to 6)")
    light.add_argument("--energies", type=int, default=301, metavar="N", help="photon energies (default: %(default)s)")
    light.add_argument("--broadening", type=float, default=0.05, metavar="EV", help="width of transitions (default: %(default)s)")
    light.add_argument("--shape", choices=("gaussian", "lorentzian"), default="gaussian", help="of transitions (default: %(default)s)")
    light.add_argument("--relaxation", type=float, default=0.1, metavar="EV", help="hbar/tau of the Drude peak (default: %(default)s)")
    light.add_argument("--scissor", type=float, default=0.0, metavar="EV", help="empty levels are moved up by so much")
    circular = parser.add_argument_group("dichroism")
    circular.add_argument("--k", nargs="+", metavar="K", help="k-points such as G K 1/3,1/3,0")
    circular.add_argument(
        "--from", dest="valence", type=parse_bands, metavar="N,N-N", help="bands from 1 (default: the uppermost occupied, with its equals)"
    )
    circular.add_argument(
        "--to", dest="conduction", type=parse_bands, metavar="N,N-N", help="bands from 1 (default: the lowest empty, with its equals)"
    )
    static = parser.add_argument_group("static fields")
    add_window_option(static, "Fermi levels")
    static.add_argument("--levels", type=int, default=201, metavar="N", help="Fermi levels in --window (default: %(default)s)")
    large.add_conductivity_options(parser)
    add_output_options(parser)
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import UsageError

    _check_options(args)

    def compute(subject: Subject) -> "tuple[FermiLevel, Found] | LargeConductivity":
        if large.is_large(args, subject.data):
            return large.conductivity(args, subject)
        subject.check_dense("responses")
        fermi = subject.fermi(args.fermi)
        if fermi is None:  # needed
            raise UsageError("the Fermi level is not known: give --fermi")
        return fermi, _compute(args, subject, fermi)

    def report(subject: Subject, found: "tuple[FermiLevel, Found] | LargeConductivity") -> dict[str, Savable]:
        if isinstance(found, tuple):
            return _report(args, subject, *found)
        large.report_conductivity(args, subject, found)
        return {"": found}

    return compute_and_report(args, compute, report)


def _check_options(args: argparse.Namespace) -> None:
    """Find wrong options before anything is computed."""
    from deeph.runtime.errors import UsageError
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.output import berry_tables
    from postprocess.response.light import Broadening, Photons

    figure_look(args)
    if args.window and args.what not in STATIC:
        raise UsageError(f"--window gives Fermi levels, which {args.what} takes one of; photon energies: --photons")
    if (args.k or args.valence or args.conduction) and args.what != "dichroism":
        raise UsageError("--k, --from and --to belong to --what dichroism")
    if args.what == "dichroism" and not args.k:
        raise UsageError("dichroism takes k-points: --k K, or --k 1/3,1/3,0")
    if args.what == "dichroism" and args.out:
        raise UsageError("dichroism is printed, or with --json: leave out --out")
    Broadening(args.broadening, args.shape)
    Photons(args.photons[0], args.photons[1], args.energies)
    check_window(args, equal=True)
    FermiScan(points=args.levels, temperature=args.temperature or 0.0)
    refinement(args, 0)
    check_outputs(args.out, berry_tables.SUFFIXES)
    if args.what in STATIC and not args.window and any(map(is_figure, args.out)):
        raise UsageError("a figure of a response to static fields takes several Fermi levels: give --window EMIN EMAX")


def _compute(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel") -> "Found":
    if args.what == "dichroism":
        return _dichroism(args, subject.data, fermi)
    return _static(args, subject, fermi) if args.what in STATIC else _light(args, subject, fermi)


def _light(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel") -> "OpticalResponse | SecondOrder":
    from postprocess.response.harmonic import second_harmonic
    from postprocess.response.light import Broadening, Photons
    from postprocess.response.optics import optical_response
    from postprocess.response.second_order import direct_current
    from postprocess.response.transitions import LightSettings

    photons, width = Photons(args.photons[0], args.photons[1], args.energies), Broadening(args.broadening, args.shape)
    warm, mesh = args.temperature or 0.0, tuple(args.mesh) if args.mesh else None
    settings = LightSettings(
        mesh, photons, width, warm, args.relaxation, args.scissor, args.positions, refinement(args, 0), subject.jobs, subject.title
    )
    if args.what == "conductivity":
        return optical_response(subject.data, fermi, settings)
    if args.what == "harmonic":
        return second_harmonic(subject.data, fermi, settings)
    return direct_current(subject.data, args.what, fermi, settings)


def _static(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel") -> "dict[str, FermiResponse]":
    from postprocess.geometry.against_fermi import FermiScan
    from postprocess.response import anomalous
    from postprocess.response.scan import Settings
    from postprocess.response.transport import transport

    low, high = args.window or (0.0, 0.0)
    warm = 0.0 if args.what == "spin-hall" else 300.0
    scan = FermiScan(low, high, args.levels if args.window else 1, warm if args.temperature is None else args.temperature)
    settings = Settings(tuple(args.mesh) if args.mesh else None, scan, args.positions, refinement(args, 3), subject.jobs, subject.title)
    if args.what == "transport":
        return transport(subject.data, fermi, settings)
    functions = {
        "spin-hall": anomalous.spin_hall_conductivity, "nernst": anomalous.nernst_coefficient, "dipole": anomalous.curvature_dipole,
    }  # fmt: skip
    return {args.what: functions[args.what](subject.data, fermi, settings)}


def _dichroism(args: argparse.Namespace, data: "Hamiltonian", fermi: "FermiLevel") -> "Dichroism":
    from postprocess.lattice.points import find_point
    from postprocess.response.dichroism import dichroism, edges

    points = [find_point(data, text) for text in args.k]
    below, above = args.valence, args.conduction
    if not below or not above:
        found = edges(data, points, fermi.energy)
        below, above = below or found[0], above or found[1]
    return dichroism(data, points, below, above, source=args.positions)


def _report(args: argparse.Namespace, subject: Subject, fermi: "FermiLevel", found: "Found") -> dict[str, Savable]:
    """Print the result; what may be saved."""
    from postprocess.output.response_text import describe, summary
    from postprocess.response.dichroism import Dichroism

    if args.json:
        sys.stdout.write(json.dumps(to_plain(summary(found)) | {"symmetry": subject.symmetry}, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join([*subject.head(), *describe(subject.data, fermi, found)]) + "\n")
    if isinstance(found, Dichroism):
        return {}
    return dict(found) if isinstance(found, dict) else {"": found}


if __name__ == "__main__":
    main()
