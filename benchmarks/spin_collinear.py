"""A trained model of collinear spins: is the total moment of its H the integer of DFT? Moments of the atoms, errors of H.

    python benchmarks/spin_collinear.py MODEL DATA OUT [--mesh 1 1 1]

DATA is the dataset with its split.json (examples/o2_triplet.toml and mnf2_sextet.toml make such sets); MODEL may be the word dft: DFT's
own H in the place of the prediction, without errors. OUT gets spin_collinear.txt. The total moment is that of the filled levels, up minus
down; A0 is the mean of both H, A half their difference.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from spin_errors import Predict, Report, error_table, predictor, with_split, without_network

from deeph import Hamiltonian
from deeph.files.dataset import Dataset
from postprocess.states.charges import compute_density_matrix, density_mesh, fill_levels, mulliken_charges
from postprocess.states.fermi import known_electrons
from postprocess.states.mesh_levels import compute_mesh_levels

TEMPERATURE = 10.0
"""Kelvin: levels are full or empty unless they are within some meV of the Fermi level."""
INTEGER = 1e-6
"""Bohr magneton."""
Array = npt.NDArray[np.float64]
Mesh = tuple[int, int, int]


class Ground(NamedTuple):
    """What the filled levels of an H tell.

    Attributes
    ----------
    total : float
        Electrons up minus down in the filled levels.
    gap : float
        From the highest filled to the lowest empty level of either spin, eV.
    moments : (n_atoms,) array
        Mulliken, along the axis of the spins; they add up to the total.
    """

    total: float
    gap: float
    moments: Array


def ground_state(h: Hamiltonian, mesh: Mesh) -> Ground:
    """Fill the levels of both spins up to one Fermi level."""
    points = density_mesh(h, mesh)
    E, weights = compute_mesh_levels(h, points).energies, points.weights[:, None]
    occupation = fill_levels(E, known_electrons(h), TEMPERATURE, weights=weights)
    filled = occupation(E)
    total = (weights * (filled[0] - filled[1])).sum()
    density, _ = compute_density_matrix(h, points, temperature=TEMPERATURE)
    return Ground(float(total), float(E[filled < 0.5].min() - E[filled >= 0.5].max()), mulliken_charges(h, density)[:, 3])


def compare(report: Report, data: Dataset, names: tuple[str, ...], predict: Predict, mesh: Mesh) -> int:
    """A line for each test structure; how many integers of DFT are missed."""
    missed = integers = 0
    report(
        "total moment of the filled levels, up minus down; Mulliken moments of the atoms against DFT's (Bohr magneton); gap, eV",
        f"{'':<8}{'DFT':>12}{'predicted':>14}{'sum of atoms':>14}{'atoms, largest error':>22}{'gap DFT':>9}{'predicted':>11}",
    )
    for name in names:
        h = data.read(name)
        predicted = predict(h)
        own, other = ground_state(h, mesh), ground_state(predicted, mesh)
        is_integer = abs(own.total - round(own.total)) < INTEGER
        integers += is_integer
        wrong = is_integer and not abs(other.total - round(own.total)) < INTEGER
        missed += wrong
        error = np.abs(other.moments - own.moments).max()
        numbers = f"{own.total:>12.8f}{other.total:>14.8f}{other.moments.sum():>14.8f}{error:>22.6f}{own.gap:>9.4f}{other.gap:>11.4f}"
        report(f"{name:<8}{numbers}" + ("   MISSED" if wrong else ""))
    report(f"DFT's integer is met to {INTEGER:g} in {integers - missed} of {integers} structures")
    return missed


def main() -> int:
    """Exit code 1 if an integer is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mesh", nargs=3, type=int, default=(1, 1, 1), help="k mesh of the DFT runs, through Gamma")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    report, (data, split) = Report(), with_split(args.data)
    predict = predictor(args.model)
    missed = compare(report, data, split.test, predict, tuple(args.mesh))
    error_table(report, data, split.test, {**without_network(args.model), "prediction": predict})
    report.save(args.out / "spin_collinear.txt")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
