"""``deeph-export``: H, S and r for other programs."""

import argparse
from pathlib import Path
from typing import Any

from deeph.cli.common import make_parser, run_command

FORMATS = ("wannier90", "wannierberri", "pythtb", "kwant", "wanniertools", "sisl", "hoptb", "deeptb", "hamgnn", "petsc")
"""As in :mod:`postprocess.export.formats`, which is too heavy for ``--help``."""
EPILOG = """examples:
  deeph-export data/MoS2 --to wannier90 mos2_w90 --mesh 12 12 1    wannier90_hr.dat, _tb.dat with r, for any program that reads them
  deeph-export data/MoS2 --to sisl MoS2.TSHS --zero fermi           for sisl and TBtrans
  deeph-export data/MoS2 --to wanniertools mos2_wt                  hr.dat, overlap.dat, wt.in: non-orthogonal
  deeph-export data/MoS2 --to hoptb mos2_hop                        H, S, r and model.jl
  deeph-export data/moire --to petsc moire_k --k K                  H(k), S(k) as PETSc binaries

wannier90, wannierberri and pythtb are the same files, of orthonormal (Loewdin) orbitals made on the k mesh; their truncation error is told.
kwant has no files: deeph.read(FOLDER).to_kwant() from Python; so to_sisl(), to_pythtb(), to_wannierberri(). See docs/export.md.

Energies in eV, lengths in Angstrom. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-export``."""
    parser = make_parser("deeph-export", "Write H, S and r for other programs.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder; of sisl and hamgnn a file")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the program or format")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k-points of the Loewdin orbitals (default: 5 per 1/Angstrom)")
    parser.add_argument(
        "--k", nargs="+", default=[], metavar="K", help="petsc: H(k), S(k) at k-points such as G K 1/3,1/3,0, instead of H(R)"
    )
    parser.add_argument("--scalars", choices=("complex", "real"), help="petsc: how PETSc was configured (default: complex)")
    parser.add_argument("--zero", choices=("h", "fermi"), default="h", help="energy zero: that of H (default), or the Fermi level")
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.log import logger, telling
    from postprocess.cli.common import load
    from postprocess.export.formats import FORMATS, export
    from postprocess.lattice.points import find_point

    data, _ = load(args.folder, predicted=args.predicted or None, positions=True, extra=("H0",))
    options: dict[str, Any] = {"mesh": None if args.mesh is None else tuple(args.mesh), "k": [find_point(data, text) for text in args.k]}
    options["scalars"] = args.scalars
    with telling(f"writing {args.out}"):
        export(data, args.to, args.out, zero=args.zero, overwrite=args.overwrite, **options)
    logger.info("wrote %s: %s", args.out, FORMATS[args.to].holds)
    return 0


if __name__ == "__main__":
    main()
