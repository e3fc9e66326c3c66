"""What a prediction will take: sizes are counted, times come from a measured sample of the same structure with the same model."""

import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from deeph.inference import fill
from deeph.nn.ensemble import Predictor, members_of
from deeph.nn.graph import check_reach, select_bonds
from deeph.nn.model import HamiltonianModel
from deeph.nn.precision import output_dtype
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs
from deeph.physics.system import NUMBERS, IntArray, System
from deeph.runtime.log import duration

SAMPLE = 2048
"""Bonds that are predicted for the measurement, on a GPU as many as it takes at a time."""
PIECE = 150
"""Atoms whose overlap is computed for the measurement."""
DISK = 4e8
"""Bytes a second to and from files; a stated rate, slower than most disks."""
PATTERN = 600
"""Bytes for each block of the pattern in lists of pairs, keys and partners, at the peak."""


@dataclass(frozen=True)
class Cost:
    """Sizes, memory and time of one prediction.

    Attributes
    ----------
    structure : str
        Formula and number of atoms.
    n_orbitals, n_pairs, n_bonds : int
        Dimension of H(k), blocks of H, and pairs of neighbours that the network sees.
    file_bytes : int
        Of overlap.h5 and hamiltonian_pred.h5 together.
    memory : int
        Peak of the process in bytes, as the system counts it.
    device_memory : int
        On the GPU, 0 without one.
    seconds : dict of str to float
        By part.
    """

    structure: str
    n_orbitals: int
    n_pairs: int
    n_bonds: int
    file_bytes: int
    memory: int
    device_memory: int
    seconds: dict[str, float]

    def to_text(self) -> str:
        """Some lines for the screen."""
        on_device = f", {self.device_memory / 2**30:.1f} GiB on the GPU" if self.device_memory else ""
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return (
            f"  {self.structure}, {self.n_orbitals:,} orbitals, {self.n_bonds:,} bonds, {self.n_pairs:,} blocks\n"
            f"  files {_size(self.file_bytes)}, memory {_size(self.memory)}{on_device}\n"
            f"  time {duration(sum(self.seconds.values()))}: {parts}"
        )


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes > 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def estimate(
    predictor: Predictor, structure: Hamiltonian, compute: Callable[[System], object] | None = None, cutoff: float | None = None
) -> Cost:
    """The cost of a prediction.

    Parameters
    ----------
    predictor : HamiltonianModel or Ensemble
        The model, on the device it will run on.
    structure : Hamiltonian
        With S, or without any block where S is to be computed; then ``source`` has the orbital radii.
    compute : callable, optional
        Computes the overlap of a system; it is measured with a piece of the structure.
    cutoff : float, optional
        Range of the blocks in Angstrom instead of the orbital radii.

    Raises
    ------
    ModelError, DataError
        If the structure would be refused, see :func:`deeph.nn.graph.check_reach`.
    """
    model, n_members = members_of(predictor)[0], len(members_of(predictor))
    seconds = {}
    if compute is not None:
        structure = _with_pattern(structure, cutoff)
        seconds["S"] = _overlap_seconds(structure, compute)
    check_reach(structure, model)
    bonds = select_bonds(structure, model.cutoffs)
    n, entries = len(bonds), structure.S.entries.shape[1]
    sample = min(n, max(SAMPLE, model.chunks(10**9)[0].stop if model.device.type == "cuda" else 0))
    seconds["network"] = _network_seconds(model, structure, bonds[:sample]) * n_members * (n / sample if sample else 1)
    per_entry = structure.basis.spin_factor**2 * structure.basis.n_spin  # of H for one of S
    blocks = entries * (8 + per_entry * np.dtype(output_dtype(model, structure)).itemsize)
    files = blocks + 2 * 64 * structure.S.n_pairs
    seconds["files"] = files / DISK
    features = model.trunk.memory(n)
    device = features if model.device.type == "cuda" else 0
    here = _now() + PATTERN * structure.S.n_pairs + blocks + (features if not device else 0)
    return Cost(str(structure.system), structure.n_orbitals, structure.S.n_pairs, n, files, here, device, seconds)


def _with_pattern(structure: Hamiltonian, cutoff: float | None) -> Hamiltonian:
    """The pattern that the overlap will have, with zeros that need no memory."""
    radii = {NUMBERS[symbol]: cutoff / 2 if cutoff else float(r) for symbol, r in structure.source["orbital_radii"].items()}
    return _blank(structure, neighbour_pairs(structure.system, radii))


def _blank(structure: Hamiltonian, pairs: IntArray, extra: Iterable[str] = ()) -> Hamiltonian:
    """The structure with zeros, which need no memory, for S and the named further matrices."""

    def zeros(n_components: int, *, spin: bool) -> PairBlocks:
        shapes = block_shapes(structure.basis, structure.system.numbers, pairs, spin=spin)
        return PairBlocks(pairs, shapes, np.broadcast_to(np.float64(0), (n_components, int(shapes.prod(axis=1).sum()))))

    return replace(structure, S=zeros(1, spin=False), extra={name: zeros(structure.basis.n_spin, spin=True) for name in extra})


def _overlap_seconds(structure: Hamiltonian, compute: Callable[[System], object]) -> float:
    """Seconds for S: tables of the basis once, and blocks at the rate of a piece of the structure."""
    system = structure.system
    near = np.argsort(np.linalg.norm(system.positions - system.positions[0], axis=1), kind="stable")[:PIECE]
    piece = System(system.cell, system.positions[near], system.numbers[near], (False, False, False))
    start = time.perf_counter()
    compute(piece)
    first = time.perf_counter()
    compute(piece)
    again = time.perf_counter() - first
    radii = {NUMBERS[symbol]: float(r) for symbol, r in structure.source["orbital_radii"].items()}
    return max(first - start - again, 0.0) + again * structure.S.n_pairs / len(neighbour_pairs(piece, radii))


def _network_seconds(model: HamiltonianModel, structure: Hamiltonian, bonds: IntArray) -> float:
    """Seconds for the prediction of some bonds and their atoms, after once to warm up."""
    S, extra = structure.S, structure.extra
    structure = replace(structure, moments=None, extra={})  # those of a piece would take as long
    pairs = S.pairs[np.concatenate([bonds, S.partners[bonds]])]
    atoms = np.unique(pairs[:, 3:]) if len(pairs) else np.arange(min(structure.system.n_atoms, 64))
    place = np.full(structure.system.n_atoms, -1)
    place[atoms] = np.arange(len(atoms))
    pairs = np.concatenate([pairs, S.pairs[np.flatnonzero(is_onsite(S.pairs) & (place[S.pairs[:, 3]] >= 0))]])
    pairs[:, 3:] = place[pairs[:, 3:]]
    system = structure.system.permuted(atoms)
    few = replace(structure, system=system, basis=structure.basis.restricted(system.numbers), S=S.selected(np.arange(0)))
    piece = _blank(few, pairs, extra)
    shapes = block_shapes(piece.basis, piece.system.numbers, piece.S.pairs, spin=True)
    H = PairBlocks.zeros(piece.S.pairs, shapes, piece.basis.n_spin, output_dtype(model, piece))
    fill(model, piece, H)
    start = time.perf_counter()
    fill(model, piece, H)
    return time.perf_counter() - start


def _now() -> int:
    """Largest memory of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
