"""A trained model on the molecules of QH9: errors of H and of orbital energies in 1e-6 Hartree, beside the published ones.

    python benchmarks/qh9.py MODEL DATA [--part test]

DATA is a folder of structure folders with split.json: QH9's geometries and split (arXiv:2306.09549), labels by deeph-pyscf (RKS,
functional "b3lyp5", def2-SVP, molecule = true, output.zeroth = true). MODEL may be the word H0: what is known before any learning.
Train with

    deeph-train configs/qh9.toml --set data.path=DATA --out MODEL

Errors are means over the molecules of what QH9 calls H (all matrix elements), epsilon (energies of the occupied orbitals), and of HOMO,
LUMO and gap. "less mu S": one constant times S, which moves all levels of a molecule alike, is taken out of the error of H.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph import Hamiltonian, load_model
from deeph.files.dataset import open_dataset
from deeph.files.split import PARTS
from deeph.files.split_file import read_split
from deeph.inference import predict_anyway
from deeph.nn.ensemble import members_of
from deeph.physics.blocks import energy_zero
from deeph.physics.system import FloatArray
from deeph.physics.units import CODATA
from deeph.runtime.errors import DataError

UNIT = 1e6 / CODATA.hartree
"""1e-6 Hartree in 1 eV."""
COLUMNS = ("H", "less mu S", "occupied", "HOMO", "LUMO", "gap")
TRAINED = 104_664
PUBLISHED = {
    "QHNet": (76.0, 798.0),
    "SPHNet": (45.0, 334.0),
    "QHNetV2": (31.5, 418.0),
    "QHFlow": (23.0, 120.0),
    "QHFlow2, 12 M": (16.0, None),
    "QHFlow2, 43 M": (9.0, None),
    "QHFlow2, 184 M": (6.0, None),
    "QHFlow2, 910 M": (5.0, None),
}
"""H and occupied orbital energies on QH9-stable (random split) in 1e-6 Hartree, as their authors give them."""
Predict = Callable[[Hamiltonian], Hamiltonian]


def predictor(model: str) -> tuple[Predict, tuple[str, ...]]:
    """What predicts H, and the further matrices that it takes."""
    if model == "H0":
        return lambda data: replace(data, H=data.extra["H0"]), ("H0",)
    loaded = load_model(model)
    return lambda data: predict_anyway(loaded, data), members_of(loaded)[0].given.extra


def errors(reference: Hamiltonian, predicted: Hamiltonian) -> FloatArray:
    """The errors of one molecule in the order of :data:`COLUMNS`, eV."""
    n_electrons = reference.n_electrons
    if reference.basis.spin != "none" or n_electrons is None or round(n_electrons) % 2:
        raise DataError("expected molecules without spin, with an even number of electrons in info.json")
    H, prediction, S = reference.hamiltonian, predicted.hamiltonian, reference.S
    n, occupied = S.entries.shape[1], round(n_electrons) // 2
    dH = replace(H, entries=prediction.entries - H.entries)
    elements = reference.n_orbitals**2  # pairs out of reach have none, and no error
    if n > elements:
        raise DataError("blocks of periodic images: expected molecules")
    mu = energy_zero(dH, S)
    levels = predicted.eigenvalues() - reference.eigenvalues()
    gap = levels[occupied] - levels[occupied - 1]
    figures = [np.abs(dH.entries).sum() / elements, np.abs(dH.entries - mu * S.entries).sum() / elements]
    return np.abs(np.array([*figures, np.abs(levels[:occupied]).mean(), levels[occupied - 1], levels[occupied], gap]))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("data", type=Path)
    p.add_argument("--part", choices=PARTS, default="test")
    args = p.parse_args()
    predict, extra = predictor(args.model)
    dataset = replace(open_dataset(args.data), extra=extra)
    split = read_split(dataset)
    names = getattr(split, args.part)
    found = np.array([errors(data, predict(data)) for data in map(dataset.read, names)]).mean(axis=0) * UNIT
    print(f"mean absolute errors in 1e-6 Hartree; {len(names)} molecules ({args.part}), {len(split.train)} to train on")
    print(f"{'':<20}{'trained on':>12}" + "".join(f"{name:>12}" for name in COLUMNS))
    own = "H0 alone" if args.model == "H0" else Path(args.model).resolve().stem
    n_trained = 0 if args.model == "H0" else len(split.train)
    print(f"{own:<20}{n_trained:>12,}" + "".join(f"{x:>12.4g}" for x in found))
    print("published by others for their own training and test sets (all of QH9-stable), not run here:")
    for name, (H, occupied) in PUBLISHED.items():
        print(f"{name:<20}{TRAINED:>12,}{H:>12.4g}{'-':>12}{'-' if occupied is None else f'{occupied:.4g}':>12}")


if __name__ == "__main__":
    main()
