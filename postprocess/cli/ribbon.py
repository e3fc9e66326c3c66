"""Options of ``deeph-bands`` for pieces with edges: ribbons of layers, slabs of crystals."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph.physics.cut import Direction
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.bands.bands import Bands
    from postprocess.bands.filling import Filling

ORIGIN = "that of the crystal that was cut"


def add_ribbon_options(parser: argparse.ArgumentParser) -> None:
    """``--ribbon`` and ``--edge``."""
    group = parser.add_argument_group("edges")
    group.add_argument(
        "--ribbon",
        nargs=2,
        metavar=("DIRECTION", "WIDTH"),
        help="so many cells across a, b or c (or planes such as 2,-1,0), with open edges, and how much of each state is on them",
    )
    group.add_argument("--edge", type=int, metavar="N", help="cells that count as an edge (default: a tenth of the width, at least one)")


def check_ribbon_options(args: argparse.Namespace) -> None:
    """Find contradictions before anything is computed."""
    from deeph.runtime.errors import UsageError

    if args.edge is not None and not args.ribbon:
        raise UsageError("--edge is that of a ribbon: add --ribbon DIRECTION WIDTH")
    if args.ribbon and (args.unfold or args.compare or len(args.folders) > 1):
        raise UsageError("--ribbon shows the edges of one folder: leave out --unfold, --compare and the other folders")


def cut_ribbon(args: argparse.Namespace, data: "Hamiltonian") -> "Hamiltonian":
    """The piece, with the Fermi level of the crystal where there is one; the crystal itself if none is asked for.

    Raises
    ------
    UsageError
        If the direction or the width is none, or the edges meet.
    DataError
        If the structure is not periodic along the direction.
    """
    if not args.ribbon:
        return data
    from deeph.runtime.errors import UsageError
    from postprocess.states.fermi import find_fermi_level

    try:
        width = int(args.ribbon[1])
    except ValueError:
        raise UsageError(f"--ribbon {' '.join(args.ribbon)}: expected a direction and a number of cells, such as b 20") from None
    if width < 2 or not 1 <= edge_cells(args) <= width // 2:
        raise UsageError(
            f"--ribbon {' '.join(args.ribbon)}, edges of {edge_cells(args)}: expected two cells or more, and edges that do not meet"
        )
    ribbon = data.cut(_direction(args.ribbon[0]), width)
    if args.fermi is not None:
        return ribbon
    level = find_fermi_level(data)
    return ribbon if level is None else replace(ribbon, fermi_energy=level.energy)


def _direction(text: str) -> "Direction":
    try:
        numbers = [int(n) for n in text.split(",")]
    except ValueError:
        return text  # a, b, c, or what h.cut refuses
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else text


def edge_cells(args: argparse.Namespace) -> int:
    """Cells of each edge."""
    return max(1, int(args.ribbon[1]) // 10) if args.edge is None else int(args.edge)


def edge_groups(args: argparse.Namespace, ribbon: "Hamiltonian") -> dict[str, list[int]]:
    """Atoms of the first and of the last cells; the piece holds its cells one after the other."""
    if not args.ribbon:
        return {}
    n = ribbon.system.n_atoms
    outer = n // int(args.ribbon[1]) * edge_cells(args)
    return {"edge 1": [*range(outer)], "edge 2": [*range(n - outer, n)]}


def with_origin(args: argparse.Namespace, bands: "Bands") -> "Bands":
    """Bands of a ribbon say that their Fermi level is that of the crystal."""
    from postprocess.states.fermi import STORED

    return replace(bands, fermi_origin=ORIGIN) if args.ribbon and bands.fermi_origin == STORED else bands


def filling_warning(args: argparse.Namespace, filling: "Filling", bands: "Bands") -> str | None:
    """What to tell where the Fermi level is not that of the electrons: of a ribbon it never need be, its edges are not saturated."""
    if not args.ribbon:
        return filling.warning(bands.fermi_energy or 0.0, bands.fermi_origin)
    if not filling.excess:
        return None
    charge = "more" if filling.excess > 0 else "fewer"
    return (
        f"filled up to the Fermi level {bands.fermi_energy or 0.0:.4f} eV ({bands.fermi_origin}) the piece holds {charge} than its "
        f"{filling.n_electrons:g} electrons, by at least {abs(filling.excess):g} bands at every k-point: states of the unsaturated edges "
        "lie on that side of it. Real edges are neutral; they relax, bind hydrogen or bend the bands, which this piece does not"
    )
