"""The command ``deeph-structures``."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

from deeph.cli.common import make_parser, run_command

EPILOG = """\
examples:
  deeph-structures twist tbg --mn 30 31 --vacuum 20                  twisted bilayer graphene, 1.085 degrees
  deeph-structures cells --angles 1 1.2                              which angles there are, with how many atoms
  deeph-structures supercell ab/POSCAR ab3 --repeat 3 3 1
  deeph-structures perturb ab3/POSCAR train -n 200 --displacement 0.03 0.06 --slide --spacing 3.2 3.5 --inputs openmx.toml
  deeph-structures settings openmx > openmx.toml                     settings of the DFT runs, to be edited

Each command writes POSCAR files (Angstrom), and with --inputs also the input files of a DFT code, jobs.txt and submit.sh.
deeph-structures COMMAND --help explains each one."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-structures``."""
    out = make_parser("deeph-structures", "Make structures to train on and to predict, with DFT inputs.", EPILOG)
    commands = out.add_subparsers(metavar="COMMAND", required=True)
    _add_twist(commands)
    _add_cells(commands)
    _add_perturb(commands)
    _add_others(commands)
    return out


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS, help="more messages")
    command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="warnings and errors only")
    command.set_defaults(name=name)
    return command


def _add_output(command: argparse.ArgumentParser, *, limit: str = "") -> None:
    command.add_argument("--inputs", type=Path, metavar="TOML", help="also write DFT inputs and a job array, see 'settings'")
    if limit:
        command.add_argument("--min-distance", type=float, metavar="FRACTION", help=limit)


def _add_layers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--layers", nargs="+", default=["graphene", "graphene"], metavar="LAYER",
        help="from the bottom: graphene, graphene:2.46 (lattice constant) or a POSCAR with one layer (default: two of graphene)",
    )  # fmt: skip
    command.add_argument("--max-atoms", type=int, default=12000, metavar="N", help="largest cell (default 12000)")
    command.add_argument(
        "--max-strain", type=float, default=0.0, metavar="X", help="strain allowed to the layers above the first, e.g. 0.01 (default 0)"
    )


def _add_twist(commands: Any) -> None:
    c = _add(commands, "twist", "stack layers, turned by a commensurate angle")
    c.add_argument("out", type=Path, metavar="OUT", help="new folder")
    _add_layers(c)
    how = c.add_mutually_exclusive_group(required=True)
    how.add_argument("--mn", nargs=2, type=int, metavar=("M", "N"), help="indices (M, N) of the odd layers, (N, M) of the even ones")
    how.add_argument(
        "--angle",
        nargs="+",
        type=float,
        metavar="DEG",
        help="one angle: of every second layer; or one for each layer; the nearest cell, at most a tenth of the angle or 0.1 degrees off",
    )
    how.add_argument("--atoms", type=int, metavar="N", help="the cell with N atoms, see 'cells'; of several that with the smallest angle")
    how.add_argument("--matrix", nargs=4, type=int, action="append", metavar="N", help="cell in units of a layer's vectors, once a layer")
    c.add_argument("--tolerance", type=float, metavar="DEG", help="take the smallest cell within this of the angle, not the nearest angle")
    c.add_argument(
        "--registry", metavar="LETTERS", help="a letter a layer, A B C = moved by 0, 1/3, 2/3 of both its vectors (default AA...)"
    )
    c.add_argument(
        "--shift", nargs=3, action="append", default=[], metavar=("LAYER", "X", "Y"), help="move a layer (from 1), in its vectors"
    )
    c.add_argument(
        "--centre", choices=("atom", "hexagon", "origin"), default="atom", help="what of each layer lies on the axis (default atom)"
    )
    c.add_argument(
        "--spacing", nargs="+", type=float, default=[3.35], metavar="A", help="between facing planes, one or each (default 3.35)"
    )
    c.add_argument("--vacuum", type=float, default=15.0, metavar="A", help="empty height of the cell (default 15)")
    _add_output(c, limit="shortest accepted distance over the sum of covalent radii (default 0.75)")


def _add_cells(commands: Any) -> None:
    c = _add(commands, "cells", "list the commensurate cells of two lattices: angles, atoms, strain")
    _add_layers(c)
    c.add_argument(
        "--angles",
        nargs=2,
        type=float,
        default=[0.0, 90.0],
        metavar=("LOW", "HIGH"),
        help="only angles in this range, degrees (default all)",
    )


def _add_perturb(commands: Any) -> None:
    c = _add(commands, "perturb", "random displacements, strain, sliding and spacing of layers")
    _add_source(c)
    _add_random(c)
    c.add_argument("--displacement", nargs="+", type=float, default=[0.0], metavar="A", help="standard deviation, or its range LOW HIGH")
    c.add_argument("--strain", type=float, default=0.0, metavar="X", help="largest strain component, e.g. 0.01; not across vacuum")
    c.add_argument("--slide", action="store_true", help="slide every layer but the lowest by a random vector in its plane")
    c.add_argument("--spacing", nargs=2, type=float, metavar=("LOW", "HIGH"), help="range of the distance between facing planes of layers")
    c.add_argument("--gap", type=float, default=2.2, metavar="A", help="planes further apart are two layers (default 2.2)")
    _add_output(c, limit="shortest accepted distance over that of the same elements before (default 0.85); below: drawn again")


def _add_others(commands: Any) -> None:
    c = _add(commands, "supercell", "repeat a structure")
    _add_source(c)
    how = c.add_mutually_exclusive_group(required=True)
    how.add_argument("--repeat", nargs=3, type=int, metavar="N", help="along each lattice vector")
    how.add_argument("--matrix", nargs=9, type=int, metavar="N", help="new lattice vectors in rows, in units of the old ones")
    _add_output(c)

    c = _add(commands, "defects", "vacancies and substitutions, random or at given atoms (counted from 1)")
    _add_source(c)
    _add_random(c, required=False)
    c.add_argument("--vacancies", nargs=2, action="append", default=[], metavar=("ELEMENT", "COUNT"), help="remove random atoms")
    c.add_argument(
        "--substitute", nargs=3, action="append", default=[], metavar=("OLD", "NEW", "COUNT"), help="replace random atoms, e.g. C N 2"
    )
    c.add_argument("--remove", nargs="+", default=[], metavar="ATOM", help="remove these atoms")
    c.add_argument("--replace", nargs=2, action="append", default=[], metavar=("ATOM", "NEW"), help="replace this atom")
    c.add_argument("--separation", type=float, default=3.0, metavar="A", help="shortest distance of two random defects (default 3)")
    _add_output(c)

    c = _add(commands, "frames", "frames of a molecular dynamics run (xyz, traj, XDATCAR, OpenMX .md, ...)")
    c.add_argument("trajectory", type=Path, metavar="TRAJECTORY")
    c.add_argument("out", type=Path, metavar="OUT", help="new folder")
    c.add_argument("--frames", default="0:", metavar="START:STOP:STEP", help="which ones, counted from 0 (default all)")
    c.add_argument("--cell", type=Path, metavar="FILE", help="structure with the lattice vectors, for files without")
    _add_output(c, limit="shortest accepted distance over the sum of covalent radii (default 0.75); frames below are left out")

    c = _add(commands, "inputs", "the same structures with input files of a DFT code")
    c.add_argument(
        "structures", nargs="+", type=Path, metavar="STRUCTURE", help="structure files, xyz files of many frames, or folders of them"
    )
    c.add_argument("out", type=Path, metavar="OUT", help="new folder")
    c.add_argument("--inputs", type=Path, metavar="TOML", required=True, help="settings of the DFT runs, see 'settings'")

    c = _add(commands, "settings", "print settings of the DFT runs, to be edited")
    c.add_argument("code", metavar="CODE", choices=("openmx", "abacus", "siesta"), help="openmx, abacus or siesta")


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "structure", type=Path, metavar="STRUCTURE",
        help="POSCAR, cif, xyz, ..., an OpenMX .dat, ABACUS STRU, SIESTA .fdf; or many: a folder of them, an xyz file of many frames",
    )  # fmt: skip
    command.add_argument("out", type=Path, metavar="OUT", help="new folder")


def _add_random(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    command.add_argument("-n", "--number", type=int, default=1, required=required, metavar="N", help="how many structures of each")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default 0)")
    command.add_argument("--first", type=int, default=0, metavar="N", help="number of the first one, to add to an earlier set (default 0)")


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    arguments = sys.argv[1:] if argv is None else argv

    def body(args: argparse.Namespace) -> int:
        from preprocess.structures.commands import COMMANDS

        COMMANDS[args.name](args, shlex.join(["deeph-structures", *arguments]))
        return 0

    run_command(parser(), body, arguments)


if __name__ == "__main__":
    main()
