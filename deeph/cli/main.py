"""``deeph``: the chain of commands, and ``deeph NAME ...`` for ``deeph-NAME ...``."""

import difflib
import sys
from importlib import metadata
from typing import NoReturn

from deeph.runtime.version import VERSION

OVERVIEW = """\
usage: deeph NAME ...     the same as deeph-NAME ...

From DFT of small cells to the bands of large ones:

    structures -> DFT -> preprocess -> train -> infer -> bands, dos, states, berry, topology, contours, stm, optics

  structures   make structures to train on and to predict, with inputs of DFT codes
  pyscf        DFT by PySCF, where no other code is at hand: structure folders with H and S
  preprocess   DFT output (OpenMX, ABACUS, SIESTA, FHI-aims, ...) to verified structure folders
  inspect      what a structure folder, dataset, DFT run or model holds, and whether it is sound; filter and split datasets
  train        fit a network to structure folders
  ensemble     several runs as one model, whose predictions have error bars
  overlap      S of a new structure from basis files alone
  infer        H of new structures
  bands        band structures: figures, tables, gaps, masses
  dos          densities of states, Fermi level
  states       eigenstates, charges, densities on a grid
  berry        Berry curvature, anomalous Hall conductivity
  topology     Z2, Chern numbers, Wannier centres, Weyl points, polarisation
  contours     Fermi contours, Berry curvature and spin on them and over the zone
  stm          local densities of states, images of scanning tunnelling microscopes
  optics       optical conductivity, dichroism, photocurrents, transport, spin Hall, Nernst, curvature dipole
  compare      errors of H and of bands, where there is DFT
  export       H, S and r for other programs: Wannier90, WannierTools, sisl, ...
  doctor       what is installed, what is missing, and how fast this machine is

deeph NAME --help explains each one, with examples. The whole chain in some minutes: bash examples/quickstart.sh
"""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point: only the module of the command that is called is imported."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(OVERVIEW)
        sys.exit(0)
    if name == "--version":
        sys.stdout.write(f"deeph {VERSION}\n")
        sys.exit(0)
    if name.startswith("-"):
        _end(f"there is no option {name}; deeph alone lists the commands")
    commands = _commands()
    if not commands:
        _end("the package deeph is not installed; in its folder: pip install -e .")
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1, cutoff=0.5)
        _end(f"there is no command {name!r}{f', did you mean {near[0]}?' if near else ';'} There are: {', '.join(commands)}")
    commands[name].load()(rest)
    sys.exit(0)


def _commands() -> dict[str, metadata.EntryPoint]:
    """The commands ``deeph-NAME`` of this distribution by their names."""
    try:
        points = metadata.distribution("deeph").entry_points
    except metadata.PackageNotFoundError:
        return {}
    return {p.name.removeprefix("deeph-"): p for p in points if p.group == "console_scripts" and p.name.startswith("deeph-")}


def _end(message: str) -> NoReturn:
    sys.stderr.write(f"deeph: {message}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
