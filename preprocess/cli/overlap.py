"""The command ``deeph-overlap``."""

import argparse
import sys
import time
from pathlib import Path
from typing import NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import DataError, UsageError

EPILOG = """\
examples:
  deeph-overlap twisted.vasp --basis C6.0.pao:s2p2d1 overlap/twisted      OpenMX orbitals
  deeph-overlap MATBG.dat --basis DFT_DATA/PAO overlap/matbg              the input file names the basis
  deeph-overlap STRU --basis Mo.orb S.orb overlap/mos2 --positions        ABACUS orbitals; r, too
  deeph-overlap si.cif --basis Si.ion.xml overlap/si                      SIESTA orbitals
  deeph-overlap set/ --basis C6.0.pao:s2p2d1 overlap/                     every structure below set/

No DFT run is needed. Next: deeph-infer MODEL overlap/twisted predicted/"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-overlap``."""
    out = make_parser("deeph-overlap", "Overlap matrices of a structure from basis files alone.", EPILOG)
    out.add_argument(
        "structure", type=Path, metavar="STRUCTURE", help="POSCAR, cif, xyz, input of OpenMX, ABACUS (STRU) or SIESTA; or a folder of them"
    )
    out.add_argument(
        "--basis", nargs="+", required=True, metavar="FILE",
        help="one file an element: FILE.pao:s2p2d1 (OpenMX), FILE.orb (ABACUS), FILE.ion, .ion.xml, .ion.nc (SIESTA); gto:NAME (PySCF)",
    )  # fmt: skip
    out.add_argument(
        "out", type=Path, nargs="?", metavar="OUT", help="structure folder to write; a folder of them if STRUCTURE is a folder"
    )
    out.add_argument("--kinetic", action="store_true", help="write the kinetic energy, too (kinetic_matrix.h5, eV)")
    out.add_argument("--positions", action="store_true", help="write the position matrices, too (position_matrix.h5, Angstrom)")
    out.add_argument("--gradient", action="store_true", help="write dS/d(right atom), too (overlap_gradient.h5, 1/Angstrom)")
    out.add_argument("--spin", choices=("none", "collinear", "spinor"), default="none", help="spin of the H to predict (default none)")
    out.add_argument(
        "--cutoff", type=float, metavar="ANGSTROM", help="blocks of all pairs up to this distance; default: those that overlap"
    )
    out.add_argument("--threads", type=int, default=1, metavar="N", help="number of threads (default 1)")
    out.add_argument("--overwrite", action="store_true", help="replace what is there already")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _overlap, argv)


def _overlap(args: argparse.Namespace) -> int:
    from preprocess.structure_files import find_structure_files

    if args.out is None:  # --basis FILE... OUT: the list of files has taken the last word
        if len(args.basis) < 2:
            raise UsageError("no output folder: expected deeph-overlap STRUCTURE --basis FILE... OUT")
        args.out = Path(args.basis.pop())
    if args.threads < 1 or (args.cutoff is not None and not args.cutoff > 0):
        raise UsageError(f"--threads {args.threads}, --cutoff {args.cutoff}: expected positive numbers")
    several = args.structure.is_dir()
    files = find_structure_files(args.structure)
    outputs = [
        args.out / (f.parent.relative_to(args.structure) if f.parent != args.structure else f.stem) if several else args.out for f in files
    ]
    existing = [out for out in outputs if out.exists()]
    if existing and not args.overwrite:
        raise DataError(f"{existing[0]} exists already; remove it, choose another output, or give --overwrite")
    for file, out in zip(files, outputs, strict=True):
        _one(args, file, out)
    return 0


def _name(file: Path, root: Path) -> Path:
    """Outputs are named after the folders of the structures."""
    return Path(file.stem) if file.parent == root else file.parent.relative_to(root)


def _one(args: argparse.Namespace, file: Path, out: Path) -> None:
    """The matrices of one structure."""
    from preprocess.orbitals.basis_files import read_basis
    from preprocess.overlap.two_centre import Operator, TwoCentre
    from preprocess.overlap.write import write_overlap
    from preprocess.structure_files import read_structure_file

    start = time.perf_counter()
    wanted: dict[Operator, bool] = {"overlap": True, "kinetic": args.kinetic, "position": args.positions, "gradient": args.gradient}
    structure = read_structure_file(file)
    engine = TwoCentre(read_basis(structure.system, args.basis, structure.basis_names))
    n_blocks = write_overlap(
        out,
        structure,
        engine,
        operators=[name for name, yes in wanted.items() if yes],
        spin=args.spin,
        cutoff=args.cutoff,
        n_threads=args.threads,
        overwrite=args.overwrite,
    )
    names = ", ".join(orbitals.source for orbitals in engine.orbitals.values())
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{out}: {structure.system.n_atoms} atoms, {n_blocks} blocks ({names}), {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
