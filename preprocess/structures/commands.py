"""What each command of ``deeph-structures`` does."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.files.config_file import load_settings
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from preprocess.structure_files import find_structures, read_structure_file
from preprocess.structures.cells import cell_of, commensurate_cells, table
from preprocess.structures.commensurate import EQUAL, Wish
from preprocess.structures.defects import random_sites, with_defects
from preprocess.structures.distances import BOND_FRACTION, RADII_FRACTION, limits_from, limits_of_radii, too_close
from preprocess.structures.monolayer import Monolayer, read_monolayer
from preprocess.structures.output import Item, item_name, write_set
from preprocess.structures.perturb import Perturbation, draw, stream
from preprocess.structures.settings import Settings, example
from preprocess.structures.supercell import supercell
from preprocess.structures.trajectory import parse_slice, read_frames
from preprocess.structures.twist import Stack, stack, twisted

UNRECORDED = ("name", "verbose", "quiet", "out")
"""Options that say nothing about the structures."""


class Base(NamedTuple):
    """A structure to make others of; without a name if it is the only one, with where it comes from if there are more."""

    name: str
    system: System
    record: dict[str, Any]

    def item(self, n: int) -> str:
        """Name of the structure number n that is made of it."""
        return f"{self.name}-{item_name(n)}" if self.name else item_name(n)


def _bases(paths: Sequence[Path], *, named: bool = False) -> list[Base]:
    """The structures of files and folders, all of them or none.

    Raises
    ------
    DataError
        With the names of those that cannot be read.
    """
    found, out, damaged = find_structures(paths), [], []
    for one in found:
        try:
            out.append(Base(one.name, one.read().system, {"from": str(one.path)} | ({} if one.frame is None else {"frame": one.frame})))
        except DataError as error:
            damaged.append(str(error))
    if damaged and len(found) > 1:
        raise DataError(
            f"{len(damaged)} of {len(found)} structures cannot be read:\n  " + "\n  ".join(damaged) + "\nmove them away, or repair them"
        )
    if damaged:
        raise DataError(damaged[0])
    return out if named or len(out) > 1 or paths[0].is_dir() else [Base("", out[0].system, {})]


def _twist(args: argparse.Namespace, command: str) -> None:
    layers = [read_monolayer(text).centred(args.centre) for text in args.layers]
    _check_limits(args)
    form: dict[str, Any] = {
        "shifts": _shifts(args, layers),
        "spacing": args.spacing if len(args.spacing) > 1 else args.spacing[0],
        "vacuum": args.vacuum,
    }
    if args.matrix:
        result = stack(layers, _matrices(args.matrix, len(layers)), **form)
    elif args.mn:
        result = twisted(layers, indices=(args.mn[0], args.mn[1]), **form)
    elif args.atoms is not None:
        result = twisted(layers, vectors=cell_of(layers, args.atoms, args.max_strain).vectors, **form)
    else:
        angles = args.angle if len(args.angle) > 1 else [0.0 if n % 2 == 0 else args.angle[0] for n in range(len(layers))]
        if len(angles) != len(layers):
            raise UsageError(f"{len(angles)} angles for {len(layers)} layers: expected one for every second layer, or one for each")
        wish = Wish(tuple(angles), args.max_atoms, args.max_strain, args.tolerance)
        result = twisted(layers, wish=wish, **form)
    _refuse_strain(result, args.max_strain)
    if reason := too_close(result.system, limits_of_radii(result.system.numbers.tolist(), _fraction(args, RADII_FRACTION))):
        raise DataError(f"{reason}; use larger spacings, or lower --min-distance if that is meant")
    _write(args, command, [Item("", result.system, result.summary())])
    sys.stdout.write(_describe(result, layers))


def _cells(args: argparse.Namespace, _command: str) -> None:
    layers = [read_monolayer(text) for text in args.layers]
    _check_limits(args)
    low, high = args.angles
    cells = commensurate_cells(layers, args.max_atoms, args.max_strain)
    chosen = [cell for cell in cells if low <= round(cell.angle, 6) <= high]
    if not chosen:
        raise UsageError(f"no common cell between {low:g} and {high:g} degrees within {args.max_atoms} atoms; allow more with --max-atoms")
    sys.stdout.write(table(chosen))


def _check_limits(args: argparse.Namespace) -> None:
    if args.max_atoms < 1 or not 0 <= args.max_strain < 1:
        raise UsageError(f"--max-atoms {args.max_atoms}, --max-strain {args.max_strain:g}: expected a number of atoms and a part of 1")


def _shifts(args: argparse.Namespace, layers: list[Monolayer]) -> FloatArray:
    """(n_layers, 2) shift of each layer from --registry and --shift."""
    registry = args.registry or "A" * len(layers)
    if len(registry) != len(layers) or set(registry) - set("ABC"):
        raise UsageError(f"--registry {registry}: expected one of the letters A, B, C for each of the {len(layers)} layers")
    shifts = np.repeat([["ABC".index(letter) / 3] for letter in registry], 2, axis=1)
    for layer, *vector in args.shift:
        try:
            n, x, y = int(layer), *map(float, vector)
        except ValueError:
            n, x, y = 0, 0.0, 0.0
        if not 1 <= n <= len(layers):
            raise UsageError(f"--shift {layer} {' '.join(vector)}: expected a layer from 1 to {len(layers)} and two numbers")
        shifts[n - 1] += x, y
    return shifts


def _matrices(rows: list[list[int]], n_layers: int) -> list[IntArray]:
    if len(rows) != n_layers:
        raise UsageError(f"--matrix is given {len(rows)} times for {n_layers} layers: expected once a layer")
    return [np.array(row).reshape(2, 2) for row in rows]


def _describe(result: Stack, layers: list[Monolayer]) -> str:
    """Atoms, cell, and what became of each layer."""
    a, b, c = result.summary()["cell_lengths"]
    lines = [f"{result.system}, cell {a:.4f} x {b:.4f} x {c:.4f} Angstrom"]
    for layer, angle, strain in zip(layers, result.angles, result.strains, strict=True):
        low, high = np.round(100 * strain, 4) + 0.0
        lines.append(f"  {layer.name}: turned by {angle:.6f} degrees, strain {low:+.4f} to {high:+.4f} %")
    return "\n".join(lines) + "\n"


def _perturb(args: argparse.Namespace, command: str) -> None:
    if len(args.displacement) > 2:
        raise UsageError("--displacement takes one number, or a range of two")
    spacing = None if args.spacing is None else (args.spacing[0], args.spacing[1])
    make = Perturbation((args.displacement[0], args.displacement[-1]), args.strain, args.slide, spacing, args.gap)
    if make == Perturbation(gap=args.gap):
        raise UsageError("nothing to perturb: give --displacement, --strain, --slide or --spacing")
    bases, fraction, numbers = _bases([args.structure]), _fraction(args, BOND_FRACTION), _numbers(args)

    def items() -> Iterator[Item]:
        for base in bases:
            limits = limits_from(base.system, fraction)
            for n in numbers:
                system, attempts = draw(lambda rng: make(base.system, rng), limits, args.seed, n, base.name)  # noqa: B023 - called at once
                yield Item(base.item(n), system, {"attempts": attempts, **base.record})

    _write(args, command, items())


def _supercell(args: argparse.Namespace, command: str) -> None:
    matrix = args.repeat or np.array(args.matrix).reshape(3, 3)
    _write(args, command, (Item(base.name, supercell(base.system, matrix), base.record) for base in _bases([args.structure])))


def _defects(args: argparse.Namespace, command: str) -> None:
    counts = [(old, _count(n)) for old, *_, n in [*args.vacancies, *args.substitute]]
    if not counts and (args.number != 1 or not (args.remove or args.replace)):
        raise UsageError("no random defects are asked for: give --vacancies or --substitute, or --remove and --replace for one structure")
    removed, replaced = [_atom(atom) for atom in args.remove], {_atom(atom): new for atom, new in args.replace}
    bases, numbers = _bases([args.structure]), _numbers(args)
    for base in bases:  # whatever is wrong with the atoms given is said before anything is drawn
        with_defects(base.system, vacancies=removed, substitutions=replaced)
    _write(args, command, (item for base in bases for item in _defective(args, base, counts, (removed, replaced), numbers)))


def _defective(
    args: argparse.Namespace, base: Base, counts: list[tuple[str, int]], given: tuple[list[int], dict[int, str]], numbers: range
) -> Iterator[Item]:
    """The structures with defects that are made of one; ``given`` are the atoms to remove and to replace in all of them."""
    removed, replaced = given
    fixed = with_defects(base.system, substitutions=replaced)
    for n in numbers:
        rng = np.random.default_rng([args.seed, n, *stream(base.name)])
        sites = random_sites(fixed, rng, counts, args.separation, [*removed, *replaced])
        vacant = [*removed, *(int(i) for part in sites[: len(args.vacancies)] for i in part)]
        new = [symbol for _, symbol, _ in args.substitute]
        changed = {int(i): s for part, s in zip(sites[len(args.vacancies) :], new, strict=True) for i in part}
        record = {"vacancies": vacant, "substitutions": {str(i): s for i, s in changed.items()}, **base.record}
        name = base.item(n) if counts else base.name
        yield Item(name, with_defects(fixed, vacancies=vacant, substitutions=changed), record)


def _frames(args: argparse.Namespace, command: str) -> None:
    cell = read_structure_file(args.cell).system.cell if args.cell else None
    fraction = _fraction(args, RADII_FRACTION)

    def items() -> Iterator[Item]:
        for n, system in read_frames(args.trajectory, parse_slice(args.frames), cell):
            if reason := too_close(system, limits_of_radii(system.numbers.tolist(), fraction)):
                logger.warning("frame %d is left out: %s", n, reason)
            else:
                yield Item(item_name(n), system, {"frame": n})

    _write(args, command, items())


def _inputs(args: argparse.Namespace, command: str) -> None:
    _write(args, command, (Item(base.name, base.system, base.record) for base in _bases(args.structures, named=True)))


def _settings(args: argparse.Namespace, _command: str) -> None:
    sys.stdout.write(example(args.code))


def _write(args: argparse.Namespace, command: str, items: Iterable[Item]) -> None:
    settings = load_settings(Settings, args.inputs) if args.inputs else None
    parameters = {name: value for name, value in vars(args).items() if name not in UNRECORDED and value is not None}
    provenance: dict[str, Any] = {"command": command, "parameters": _plain(parameters)}
    if settings is not None:
        provenance["settings"] = settings.model_dump(mode="json")
    write_set(args.out, items, settings, provenance)


def _plain(value: Any) -> Any:
    """Paths as text, for JSON."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _numbers(args: argparse.Namespace) -> range:
    if args.number < 1 or args.first < 0 or args.seed < 0:
        raise UsageError(
            f"-n {args.number}, --first {args.first}, --seed {args.seed}: expected at least one structure and no negative number"
        )
    return range(args.first, args.first + args.number)


def _fraction(args: argparse.Namespace, default: float) -> float:
    fraction: float = default if args.min_distance is None else args.min_distance
    if not 0 <= fraction < 1:
        raise UsageError(f"--min-distance {fraction:g}: expected a fraction between 0 and 1")
    return fraction


def _refuse_strain(result: Stack, largest: float) -> None:
    """No layer is strained unless that was asked for."""
    worst = int(abs(result.strains).max(1).argmax())
    if abs(result.strains).max() > max(largest, EQUAL):
        low, high = 100 * result.strains[worst]
        raise UsageError(
            f"layer {worst + 1} would be strained by {low:+.3f} to {high:+.3f} %; if that is meant, allow it with --max-strain"
        )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"{text!r}: expected a number of atoms")
    return int(text)


def _atom(text: str) -> int:
    """An atom counted from 1, as it is typed, counted from 0."""
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"{text!r}: expected the number of an atom, counted from 1")
    return int(text) - 1


COMMANDS: dict[str, Callable[[argparse.Namespace, str], None]] = {
    "twist": _twist,
    "cells": _cells,
    "perturb": _perturb,
    "supercell": _supercell,
    "defects": _defects,
    "frames": _frames,
    "inputs": _inputs,
    "settings": _settings,
}
"""What is called with the parsed arguments and the command line as it was typed."""
