"""A trained model of a magnet with spin-orbit coupling: errors of the parts of H, bands, moments, differences of band energies.

    python benchmarks/spin_cri3.py MODEL DATA OUT [--pair 008 003] [--mesh 3 3 1] [--directions]

DATA is the dataset with its split.json; MODEL may be the word dft: DFT's own H in the place of the prediction, without errors. OUT gets
spin_cri3.txt. The band energy is the sum of the occupied levels. Its difference between two structures is a test of H, not the difference
of their total energies: the magnetic force theorem asks for one geometry and one H whose exchange field is turned.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from spin_errors import Predict, Report, error_table, predictor, with_split, without_network

import deeph
from deeph import Hamiltonian
from deeph.files.dataset import Dataset
from deeph.physics.difference import Errors
from deeph.runtime.errors import DataError
from postprocess.compare.bands import compare_bands
from postprocess.compare.like import compute_bands_like

PATH = "G=0,0,0 M=1/2,0,0 K=1/3,1/3,0 G=0,0,0"
TEMPERATURE = 300.0
"""Kelvin; that of the DFT runs."""
MAGNETIC = 1.0
"""Bohr magneton; atoms with less have moments that others induce."""
Array = npt.NDArray[np.float64]
Mesh = tuple[int, int, int]


class Ground(NamedTuple):
    """What the filled levels of an H tell.

    Attributes
    ----------
    moments : (n_atoms, 3) array
        Mulliken, Bohr magneton.
    band_energy : float
        Sum of the occupied levels, eV per cell.
    """

    moments: Array
    band_energy: float


def ground_state(h: Hamiltonian, mesh: Mesh) -> Ground:
    """Moments and band energy on the mesh of the DFT run."""
    return Ground(h.mulliken(mesh, temperature=TEMPERATURE).moments, h.band_energy(mesh, temperature=TEMPERATURE))


def angle(a: Array, b: Array) -> Array:
    """Between vectors, degrees."""
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))))


def with_directions(model: str) -> Predict:
    """A prediction from directions alone, which is all that one has before DFT."""
    loaded = deeph.load_model(model)

    def predict(h: Hamiltonian) -> Hamiltonian:
        moments, _ = recorded(h)
        mean = np.array([loaded.magnetic.get(z, 0.0) for z in h.system.numbers.tolist()])
        size = np.linalg.norm(moments, axis=1)
        return loaded.predict(replace(h, moments=moments * (mean / np.where(size > 0, size, 1.0))[:, None]))

    return predict


def structures(report: Report, data: Dataset, names: tuple[str, ...], predict: Predict, mesh: Mesh) -> dict[str, tuple[float, float]]:
    """A line for each test structure; band energies of DFT's and of the predicted H."""
    energies = {}
    moments = "".join(f"{name:>9}" for name in ("turned", "size", "others"))
    report(
        "test structures: angle between the moments; bands along G-M-K-G within 2 eV of E_F (meV); Mulliken moments against the DFT run's:",
        "angle and size of the magnetic atoms (degrees, Bohr magneton), vectors of the others; the same of DFT's own H, filled anew",
        f"{'':<6}{'angle':>9}{'bands MAE':>11}{'max':>9}{moments}   DFT H:{moments[1:]}",
    )
    for name in names:
        h = data.read(name)
        predicted = predict(h)
        dft = h.bands(PATH, points=60)
        near = compare_bands(dft, compute_bands_like(dft, predicted), align=False).near_fermi or Errors(0, np.nan, np.nan, np.nan)
        own, other = ground_state(h, mesh), ground_state(predicted, mesh)
        energies[name] = own.band_energy, other.band_energy
        found = ["".join(f"{x:>9.4f}" for x in off(h, one.moments)) for one in (other, own)]
        report(f"{name:<6}{opening(h):>9.2f}{near.mae:>11.4f}{near.max:>9.3f}{found[0]}         {found[1]}")
    return energies


def recorded(h: Hamiltonian) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The moments of the DFT run, and which atoms are magnetic."""
    if h.moments is None:
        raise DataError(f"{h.system} has no magnetic moments in its info.json")
    return h.moments, np.linalg.norm(h.moments, axis=1) > MAGNETIC


def opening(h: Hamiltonian) -> float:
    """Largest angle between magnetic moments, degrees."""
    moments, magnetic = recorded(h)
    m = moments[magnetic]
    return float(angle(m[:, None], m[None]).max())


def off(h: Hamiltonian, moments: Array) -> tuple[float, float, float]:
    """Largest deviations from the DFT run: angle and size of magnetic atoms, vector of the others."""
    wanted, magnetic = recorded(h)
    size = np.linalg.norm(moments, axis=1) - np.linalg.norm(wanted, axis=1)
    rest = np.linalg.norm(moments - wanted, axis=1)[~magnetic]
    return float(angle(moments, wanted)[magnetic].max()), float(np.abs(size[magnetic]).max()), float(rest.max(initial=0.0))


def band_energies(report: Report, energies: dict[str, tuple[float, float]], pair: tuple[str, str]) -> None:
    """Sums of the occupied levels, and the difference between two structures."""
    report("", "band energy (sum of the occupied levels), eV" + " " * 12 + "DFT H      predicted     error (meV)")
    rows = {**energies, f"{pair[1]} - {pair[0]}": tuple(b - a for a, b in zip(*(energies[name] for name in pair), strict=True))}
    for name, (dft, other) in rows.items():
        report(f"    {name:<40}{dft:>14.6f}{other:>15.6f}{1e3 * (other - dft):>14.3f}")
    report("the two differ in magnetic order and in the positions of the atoms; the sum of levels is no total energy")


def main() -> None:
    """Everything, in the order of the page on spin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pair", nargs=2, default=("008", "003"), help="a ferromagnetic and a canted test structure")
    parser.add_argument("--mesh", nargs=3, type=int, default=(3, 3, 1), help="k mesh of the DFT runs, through Gamma")
    parser.add_argument("--directions", action="store_true", help="give directions alone, the sizes being the means of the training set")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    report, (data, split) = Report(), with_split(args.data)
    predict = with_directions(args.model) if args.directions else predictor(args.model)
    energies = structures(report, data, split.test, predict, tuple(args.mesh))
    error_table(report, data, split.test, {**without_network(args.model), "prediction": predict})
    band_energies(report, energies, tuple(args.pair))
    report.save(args.out / "spin_cri3.txt")


if __name__ == "__main__":
    main()
