"""What models are worth for bands: errors of H and of the levels on the test structures, one line a model.

    python benchmarks/objective.py DATASET RUN [RUN ...] [--part test] [--window 2] [--unit meV] [--save TABLE]

A lower error of H need not mean better bands: a level far away that comes into the window (a *ghost*) costs nothing in H. Levels are those
at Gamma, at 1/2 and 1/3 of the reciprocal vectors and at a general k, along the directions in which blocks reach other cells; compared in
ascending order, on the energy zero of the data unless the model leaves it free. Ghosts are predicted levels in the window that no DFT level
answers within --tolerance, each DFT level taken once; lost ones are DFT levels without a predicted one.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import deeph
from deeph import Hamiltonian
from deeph.files.split_file import read_split
from deeph.inference import predict_anyway
from deeph.nn.ensemble import Predictor, members_of
from deeph.physics.difference import ErrorSums, sum_errors
from deeph.physics.system import FloatArray
from deeph.training.band_error import fermi_level, levels

POINTS = np.array([[0.0, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [0.137, 0.411, 0.283]])
UNITS = {"meV": 1.0, "uHa": 1e3 / 27.211386}
"""Of a meV."""
HEADS = ("H", "on-site", "off-site", "levels", "largest", "ghosts", "lost", "occupied", "HOMO", "LUMO", "gap")
COUNTS = ("ghosts", "lost")


def unmatched(levels: Sequence[float], others: Sequence[float], tolerance: float) -> FloatArray:
    """Levels that cannot be paired with one of the others each, both ascending: the nearest first come, first served from below."""
    left, start = [], 0
    for level in levels:
        while start < len(others) and others[start] < level - tolerance:
            start += 1
        if start < len(others) and others[start] <= level + tolerance:
            start += 1
        else:
            left.append(level)
    return np.array(left)


@dataclass
class Reference:
    """DFT levels of one structure, (n_spin, n_k, n_bands), and which of them are occupied."""

    structure: Hamiltonian
    k: FloatArray
    energies: FloatArray
    fermi: float

    @classmethod
    def of(cls, structure: Hamiltonian) -> "Reference":
        """Diagonalize the DFT H."""
        k = np.unique(POINTS * structure.S.pairs[:, :3].any(axis=0), axis=0)
        energies = levels(structure, k)
        return cls(structure, k, energies, fermi_level(structure, energies))


@dataclass
class Judgement:
    """Errors of one model, meV."""

    sums: ErrorSums = field(default_factory=ErrorSums)
    errors: dict[str, list[FloatArray]] = field(
        default_factory=lambda: {name: [] for name in ("levels", "occupied", "HOMO", "LUMO", "gap")}
    )
    ghosts: int = 0
    lost: int = 0

    def add(self, model: Predictor, reference: Reference, window: float, tolerance: float) -> None:
        """Predict a structure."""
        dft, found = reference.structure, predict_anyway(model, reference.structure)
        self.sums.merge(sum_errors(dft.system, dft.basis, found.hamiltonian, dft.hamiltonian, dft.S)[0])
        energies, near = levels(found, reference.k), np.abs(reference.energies - reference.fermi) <= window
        if members_of(model)[0].free_zero:
            energies = energies - np.median((energies - reference.energies)[near])
        error, occupied = 1e3 * (energies - reference.energies), reference.energies <= reference.fermi
        self.errors["levels"].append(np.abs(error[near]))
        self.errors["occupied"].append(np.abs(error[occupied]))
        for own, other, n in zip(_rows(reference.energies), _rows(energies), occupied.sum(-1).ravel(), strict=True):
            if 0 < n < len(own):
                frontier = 1e3 * (other - own)[n - 1 : n + 1]
                for name, value in zip(("HOMO", "LUMO", "gap"), (*frontier, frontier[1] - frontier[0]), strict=True):
                    self.errors[name].append(np.abs([value]))
            self.ghosts += int((np.abs(unmatched(other, own, tolerance) - reference.fermi) <= window).sum())
            self.lost += int((np.abs(unmatched(own, other, tolerance) - reference.fermi) <= window).sum())

    def row(self) -> list[float]:
        """In the order of :data:`HEADS`."""
        sites, near = self.sums.table("by_site"), np.concatenate(self.errors["levels"])
        onsite, offsite = (sites[site].mae if site in sites else np.nan for site in ("on-site", "off-site"))
        rest = [float(np.concatenate(self.errors[name] or [[np.nan]]).mean()) for name in ("occupied", "HOMO", "LUMO", "gap")]
        largest = float(near.max(initial=0.0))
        total = self.sums.table("total")["raw"].mae
        return [total, onsite, offsite, float(near.mean()), largest, self.ghosts, self.lost, *rest]


def _rows(energies: FloatArray) -> FloatArray:
    return energies.reshape(-1, energies.shape[-1])


def table(names: Iterable[str], rows: Iterable[list[float]], unit: str) -> str:
    """All models below each other."""
    lines = [f"{unit:<28}" + "".join(f"{head:>10}" for head in HEADS)]
    for name, row in zip(names, rows, strict=True):
        cells = [f"{x:>10.0f}" if head in COUNTS else f"{x * UNITS[unit]:>10.4g}" for head, x in zip(HEADS, row, strict=True)]
        lines.append(f"{name:<28}" + "".join(cells))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Read, predict, print."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dataset", type=Path)
    p.add_argument("models", type=Path, nargs="+", help="run folders or model files")
    p.add_argument("--part", default="test", choices=("train", "validate", "test"), help="of the split")
    p.add_argument("--limit", type=int, help="only the first so many structures")
    p.add_argument("--window", type=float, default=2.0, help="eV around the Fermi level (default 2)")
    p.add_argument("--tolerance", type=float, default=0.25, help="eV within which a level has a partner (default 0.25)")
    p.add_argument("--unit", default="meV", choices=tuple(UNITS), help="uHa: 1e-6 Hartree")
    p.add_argument("--save", type=Path, help="write the table")
    args = p.parse_args(argv)

    models, began = [deeph.load_model(path) for path in args.models], time.process_time()
    data = replace(deeph.open_dataset(args.dataset), extra=tuple({name for model in models for name in members_of(model)[0].given.extra}))
    references = [Reference.of(data.read(name)) for name in getattr(read_split(data), args.part)[: args.limit]]
    rows, names = [], []
    for path, model in zip(args.models, models, strict=True):
        judgement = Judgement()
        for reference in references:
            judgement.add(model, reference, args.window, args.tolerance)
        rows.append(judgement.row())
        names.append(str(path if path.suffix == "" else Path(path.parent.name) / path.name)[-27:])
    text = table(names, rows, args.unit)
    spent = time.process_time() - began
    print(f"{len(references)} structures of {args.part}; levels within {args.window:g} eV of the Fermi level; {spent:.0f} CPU s")
    print(text)
    if args.save:
        args.save.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
