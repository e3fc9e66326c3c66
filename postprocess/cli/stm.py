"""``deeph-stm``: local densities of states as cube files, and images of scanning tunnelling microscopes."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_symmetrize_option, load, parse_fermi
from postprocess.cli.energies import add_window_option, check_window, resolve_energies
from postprocess.cli.figures import add_figure_options, figure_look, is_figure
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.solver import add_solver_options, check_solver_options, solver_options

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.orbitals import Orbitals
    from postprocess.density.local import LevelWindow, Share
    from postprocess.density.stm import Image
    from postprocess.states.fermi import FermiLevel

EPILOG = """examples:
  deeph-stm data/MoS2 --orbitals overlap/orbitals.h5 --bias -1.2 --height 2 --out stm.pdf stm.csv    constant height, filled states
  deeph-stm data/MoS2 --orbitals overlap/orbitals.h5 --bias 2 --mode current --height 2 --out stm.pdf    constant current, empty states
  deeph-stm data/MoS2 --bias 2 --height 5 --vacuum 5.9 --out stm.pdf    5 Angstrom above, where the orbitals have ended
  deeph-stm data/MoS2 --window -1 0 --cube valence.cube                 local density of states as a cube file
  deeph-stm data/MoS2 --window 2 2 --height 2 --out didv.pdf            dI/dV at 2 V: the density at one energy

Bias in V of the sample: positive images its empty states. Heights in Angstrom above the outermost atom. Energies are in eV from the Fermi
level. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-stm``."""
    parser = make_parser("deeph-stm", "Local densities of states in space and STM images (Tersoff and Hamann) from Hamiltonians.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("--orbitals", type=Path, metavar="FILE", help="orbitals.h5 of deeph-overlap (default: that in FOLDER)")
    parser.add_argument("--bias", type=float, metavar="V", help="of the sample: levels between E_F and E_F + eV; or --window")
    add_window_option(parser, "levels in these energies (twice the same: dI/dV there, densities are per eV)")
    parser.add_argument("--fermi", type=parse_fermi, metavar="EV|count", help="Fermi level in eV, or 'count' to fill levels")
    parser.add_argument("--mode", choices=("height", "current"), default="height", help="constant height (default), or constant current")
    parser.add_argument(
        "--height", type=float, default=2.0, metavar="ANGSTROM",
        help="of the tip; with --mode current, its density is the mean one there, or what is reached everywhere (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--current", type=float, metavar="DENSITY", help="for --mode current instead of --height, in the unit of densities")
    parser.add_argument("--side", choices=("top", "bottom"), default="top", help="of the layer (default: where its vacuum vector points)")
    parser.add_argument("--vacuum", type=float, metavar="EV", help="barrier above E_F: states are continued above --start as in vacuum")
    parser.add_argument("--start", type=float, default=1.5, metavar="ANGSTROM", help="height where that begins (default %(default)s)")
    parser.add_argument("--width", type=float, default=0.05, metavar="EV", help="of a level, a Gaussian (default %(default)s)")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k mesh (default: 10 per 1/Angstrom)")
    parser.add_argument("--spacing", type=float, default=0.15, metavar="ANGSTROM", help="of grid points (default %(default)s)")
    parser.add_argument("--cube", type=Path, metavar="FILE", help="write the local density of states in the whole cell, per bohr^3")
    parser.add_argument("--out", nargs="+", type=Path, default=[], metavar="FILE", help="image: pdf png svg, csv json h5")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_solver_options(parser)
    add_job_options(parser)
    add_figure_options(parser)
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import DataError
    from deeph.runtime.log import logger, telling
    from postprocess.density.local import EmptyWindowError, LevelWindow, states_in_window
    from postprocess.density.surface import Surface
    from postprocess.lattice.mesh import mesh_divisions

    _check_options(args)
    group = start_group(args)
    data, predicted = load(args.folder, predicted=args.predicted or None, symmetrize=args.symmetrize)
    title = args.folder.resolve().name + " (predicted)" * predicted
    resolve_energies(args, data)
    orbitals = _read_orbitals(args, data)
    if args.out:
        Surface.of(data, args.side)  # before anything is computed
    divisions = tuple(args.mesh) if args.mesh else mesh_divisions(data)
    with telling(f"at work on {title}"):
        level = _fermi_level(args, data)
        low, high = args.window or sorted((0.0, args.bias))
        window = LevelWindow(level.energy + low, level.energy + high, args.width)
        try:
            shares = states_in_window(data, divisions, window, options=solver_options(args), jobs=make_jobs(args, group, []))
        except EmptyWindowError as error:
            raise DataError(_nothing_there(args, low, high, divisions)) from error
        if group.rank > 0:
            return 0
        electrons = sum(float(share.weights.sum()) for share in shares)
        unit = "electrons" if low < high else "states/eV"
        record: dict[str, Any] = {"title": title, "window": [low, high], "electrons": electrons, "mesh": list(divisions)}
        lines = [f"{title}: {data.system}, {data.n_orbitals} orbitals, spin {data.basis.spin}"]
        lines.append(f"Fermi level  {level.energy:.6f} eV ({level.origin})")
        mesh = " x ".join(map(str, divisions))
        lines.append(f"states       {low:+.4f} to {high:+.4f} eV, {electrons:.6f} {unit} per cell on {mesh} k-points")
        if args.cube:
            lines.append(_cube(args, data, shares, orbitals, record))
        image = _image(args, data, shares, orbitals, level, window, title) if args.out else None
    if image is not None:
        lines += _describe(image, record)
    sys.stdout.write((json.dumps(record, indent=1) if args.json else "\n".join(lines)) + "\n")
    look = dict(figure_look(args))
    for file in args.out if image is not None else ():
        image.save(file, **(look if is_figure(file) else {}))  # type: ignore[union-attr]
        logger.info("wrote %s", file)
    return 0


def _nothing_there(args: argparse.Namespace, low: float, high: float, divisions: tuple[int, int, int]) -> str:
    """Why there is no image, in terms of the options."""
    option = f"--bias {args.bias:g}" if args.window is None else f"--window {low:g} {high:g}"
    more = "a larger bias, or one of the other sign" if args.window is None else "another window"
    mesh = " x ".join(map(str, divisions))
    return (
        f"{option}: no level lies from {low:+g} to {high:+g} eV around the Fermi level on {mesh} k-points, as in a gap: choose {more} "
        "(deeph-bands tells where levels begin), or a finer --mesh"
    )


def _fermi_level(args: argparse.Namespace, data: "Hamiltonian") -> "FermiLevel":
    from deeph.runtime.errors import DataError
    from postprocess.states.fermi import find_fermi_level

    level = find_fermi_level(data, args.fermi, needed=True)
    if level is None:
        raise DataError("energies are counted from the Fermi level, which is not known: give --fermi EV")
    return level


def _check_options(args: argparse.Namespace) -> None:
    """Find what contradicts itself or is missing before anything is computed."""
    from deeph.runtime.errors import UsageError

    if (args.bias is None) == (args.window is None) or args.bias == 0:
        raise UsageError("which levels? Give --bias V (not 0), or --window EMIN EMAX")
    check_window(args, equal=True)
    if not args.out and not args.cube:
        raise UsageError("nothing to write: add --out FILE for an image, or --cube FILE")
    if args.n_bands:
        raise UsageError("levels are chosen by energy here: leave out --n-bands")
    if args.current is not None and (args.mode != "current" or not args.current > 0):
        raise UsageError("--current is a positive density for --mode current")
    if args.start != 1.5 and args.vacuum is None:
        raise UsageError("--start is the height where --vacuum begins: add --vacuum EV")
    check_solver_options(args)
    figure_look(args)
    _check_files(args)


def _check_files(args: argparse.Namespace) -> None:
    from deeph.files.figures import SUFFIXES
    from deeph.files.orbitals_file import FILE
    from deeph.runtime.errors import DataError, UsageError
    from postprocess.output.stm_files import TABLES

    for file in [*args.out, *([args.cube] if args.cube else [])]:
        wanted = (".cube",) if file == args.cube else SUFFIXES + TABLES
        if file.suffix not in wanted:
            raise UsageError(f"{file}: expected a name ending in {', '.join(wanted)}")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"{file}: the folder {file.parent} does not exist")
    file = args.orbitals or args.folder / FILE
    if args.folder.is_dir() and not file.is_file():
        raise DataError(
            f"{file}: there is no such file. Densities in space need the radial functions of the basis; deeph-overlap writes them beside "
            f"the overlap: 'deeph-overlap {args.folder / 'POSCAR'} --basis FILES NEW_FOLDER', then --orbitals NEW_FOLDER/{FILE}"
        )


def _read_orbitals(args: argparse.Namespace, data: "Hamiltonian") -> "dict[int, Orbitals]":
    from deeph.files.orbitals_file import FILE, read_orbitals
    from postprocess.states.realspace import check_orbitals

    orbitals = read_orbitals(args.orbitals or args.folder / FILE)
    check_orbitals(orbitals, data.basis)
    return orbitals


def _cube(
    args: argparse.Namespace, data: "Hamiltonian", shares: "list[Share]", orbitals: "dict[int, Orbitals]", record: dict[str, Any]
) -> str:
    """Write the density in the whole cell; its integral beside the number of electrons tells how good the grid is."""
    from deeph.runtime.log import logger
    from postprocess.density.local import local_density
    from postprocess.states.grid import Grid
    from postprocess.states.realspace import check_size, write_cube

    grid = Grid.with_spacing(data.system, args.spacing)
    check_size(grid, 1)
    density = local_density(shares, orbitals, grid, data)
    record["integral"] = float(density.sum() * grid.volume)
    low, high = record["window"]
    where = f"from {low:.6f} to {high:.6f} eV (electrons/bohr^3)" if low < high else f"at {low:.6f} eV (states/(eV bohr^3))"
    write_cube(args.cube, grid, density, f"local density of states {where}, integral {record['integral']:.6f}")
    logger.info("wrote %s", args.cube)
    return f"cube         {' x '.join(map(str, grid.shape))} points, integral {record['integral']:.6f}"


def _image(
    args: argparse.Namespace,
    data: "Hamiltonian",
    shares: "list[Share]",
    orbitals: "dict[int, Orbitals]",
    level: "FermiLevel",
    window: "LevelWindow",
    title: str,
) -> "Image":
    from postprocess.density.stm import Tip, take_image
    from postprocess.density.surface import Surface
    from postprocess.density.vacuum import Vacuum

    vacuum = None if args.vacuum is None else Vacuum(level.energy + args.vacuum, args.start)
    low, high = args.window or sorted((0.0, args.bias))
    what = f"levels from {low:+g} to {high:+g} eV" if low < high else f"dI/dV at {low:+g} eV"
    tip, texts = (
        Tip(args.mode, args.height, args.current, args.spacing),
        {"what": what, "title": title, "density_unit": window.density_unit},
    )
    return take_image(shares, orbitals, data, Surface.of(data, args.side), tip, vacuum=vacuum, **texts)


def _describe(image: "Image", record: dict[str, Any]) -> list[str]:
    values = image.values
    record |= {
        "mode": image.mode,
        "setting": image.setting,
        "density_unit": image.density_unit,
        "smallest": float(values.min()),
        "largest": float(values.max()),
    }
    if image.mode == "height":
        head = f"image        constant height {image.setting:g} Angstrom above {', '.join(dict.fromkeys(image.symbols))}"
        return [head, f"  density    {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g} {image.density_unit}"]
    head = f"image        constant current, density {image.setting:.4g} {image.density_unit}"
    corrugation = values.max() - values.min()
    return [
        head,
        f"  heights    {values.min():.3f} to {values.max():.3f} Angstrom, corrugation {corrugation:.3f}, mean {values.mean():.3f}",
    ]


if __name__ == "__main__":
    main()
