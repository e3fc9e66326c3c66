"""Options of the commands that say what states are made of."""

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.system import IntArray
    from postprocess.bands.unfold import Unfolding
    from postprocess.states.projectors import Projector


def add_projection_options(parser: argparse.ArgumentParser) -> None:
    """``--projections``, ``--group``, ``--function``, ``--unfold`` and ``--unfold-atoms``."""
    group = parser.add_argument_group("fat bands")
    group.add_argument("--projections", default="", metavar="KINDS", help="some of element,shell,atom,layer; spin: sx, sy, sz of spinors")
    group.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=ATOMS",
        help="project on atoms, counted from 1: A=1,3,5-8; or a .toml or .json file with lines such as A = [1, 3, '5-8']",
    )
    group.add_argument(
        "--function",
        action="append",
        default=[],
        metavar="FILE:NAME",
        help="your own Python function of the states: valley.py:polarisation",
    )
    group.add_argument(
        "--unfold",
        metavar="FILE|M",
        help="bands of a supercell on the path of its primitive cell: a structure file, or 9 integers M, supercell = M primitive",
    )
    group.add_argument("--unfold-atoms", metavar="ATOMS", help="unfold only these, such as one layer: 1,3,5-8")


def unfolding_matrix(args: argparse.Namespace, data: "Hamiltonian") -> "IntArray | None":
    """M with supercell = M primitive, if it is unfolded."""
    unfolding = choose_unfolding(args, data)
    return None if unfolding is None else unfolding.matrix


def choose_unfolding(args: argparse.Namespace, data: "Hamiltonian") -> "Unfolding | None":
    """How to unfold, if that is asked for.

    Raises
    ------
    UsageError, DataError
        If the primitive cell cannot be understood, or the structure is no supercell of it.
    """
    if not args.unfold:
        return None
    import numpy as np

    from deeph.physics.system import read_structure
    from deeph.runtime.errors import UsageError
    from postprocess.bands.unfold import make_unfolding

    if Path(args.unfold).is_file():
        lattice = read_structure(args.unfold).cell
    else:
        numbers = re.findall(r"-?\d+", args.unfold)
        if len(numbers) != 9 or re.search(r"[^-\d,;\s]", args.unfold):
            raise UsageError(
                f"--unfold {args.unfold}: expected a structure file with the primitive cell, or 9 integers such as 3,0,0,0,3,0,0,0,1"
            )
        lattice = np.array(numbers, float).reshape(3, 3)
    atoms = None if args.unfold_atoms is None else parse_group(f"atoms={args.unfold_atoms}")[1]
    if atoms is not None and max(atoms) >= data.system.n_atoms:
        raise UsageError(f"--unfold-atoms {args.unfold_atoms}: expected some of 1 to {data.system.n_atoms}")
    return make_unfolding(data.system, lattice, atoms=atoms)


def choose_projectors(
    args: argparse.Namespace, data: "Hamiltonian", further: "Mapping[str, Sequence[int]] | None" = None
) -> "tuple[Projector, ...]":
    """What the options ask for, and further groups of atoms; UsageError if it is not possible for this structure."""
    if not (args.projections or args.group or args.function or further):
        return ()
    from postprocess.states.projectors import make_projectors

    groups: dict[str, Sequence[int]] = dict(further or {})
    for text in args.group:
        groups |= read_groups(Path(text)) if Path(text).suffix in (".toml", ".json") else dict([parse_group(text)])
    return make_projectors(data, [kind.strip() for kind in args.projections.split(",") if kind.strip()], groups, args.function)


def parse_group(text: str) -> tuple[str, list[int]]:
    """``A=1,3,5-8`` as a name and atoms counted from 0.

    Raises
    ------
    UsageError
        If it is written otherwise.
    """
    name, _, atoms = text.partition("=")
    return name.strip(), _atoms(atoms.split(","), f"group {text!r}") if name.strip() else _atoms([], f"group {text!r}")


def read_groups(path: Path) -> dict[str, list[int]]:
    """Groups of atoms from a TOML or JSON file that holds a list for each name.

    Raises
    ------
    DataError
        If the file cannot be read.
    UsageError
        If a list holds something else than numbers and ranges.
    """
    from deeph.runtime.errors import DataError

    try:
        text = path.read_text(encoding="utf-8")
        record = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        lists = {str(name): [str(item) for item in atoms] for name, atoms in record.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: expected a list of atoms for each group, such as A = [1, 3, '5-8']: {error}") from error
    return {name: _atoms(items, f"{path}: group {name!r}") for name, items in lists.items()}


def _atoms(items: list[str], where: str) -> list[int]:
    """Numbers and ranges counted from 1 as atoms counted from 0."""
    from deeph.runtime.errors import UsageError

    out: list[int] = []
    for item in items:
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", item)
        if match is None:
            out.clear()
            break
        out += range(int(match[1]) - 1, int(match[2] or match[1]))
    if not out:
        raise UsageError(f"{where}: expected a name and atoms counted from 1, such as A=1,3,5-8")
    return out
