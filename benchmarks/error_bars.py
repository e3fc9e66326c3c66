"""Are the error bars of an ensemble honest? Blocks and levels against DFT.

    python benchmarks/error_bars.py ENSEMBLE DATA [--also RUN ...] [--part test] [--structures N]

DATA is the dataset with its split; RUN are further DFT runs or structure folders that the ensemble was not trained on, such as a twisted
cell, or structures displaced beyond the training range. Printed are the rank correlation (Spearman) of sigma and |error| and the share of
errors within one sigma: of blocks, all together, structure by structure and within each (pair of elements, bin of 0.5 Angstrom), and of
levels within 1 eV of the Fermi level, and of the occupied ones with those up to 2 eV above it, at Gamma and 1/2 and 1/3 of the reciprocal
vectors. For comparison levels also have the error that independent errors of the blocks would give.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from spin_errors import read_run

import deeph
from deeph import Hamiltonian
from deeph.files.split_file import read_split
from deeph.inference import predict_anyway
from deeph.nn.calibration import ONSITE, Blocks, judged
from deeph.nn.ensemble import Ensemble
from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.error_bars import bloch_modes, level_errors
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.training.band_error import FRACTIONS, WINDOW

NEAR = 1.0
"""eV from the Fermi level."""
FEWEST = 10
"""Blocks of a bin below which no rank correlation is given."""


def figures(name: str, sigma: FloatArray, error: FloatArray) -> str:
    """One row: number, rms error and sigma, rank correlation, share within one sigma."""
    rms = [1e3 * float(np.sqrt((x**2).mean())) for x in (error, sigma)]
    rank = f"{spearmanr(sigma, error)[0]:>10.2f}" if len(sigma) >= FEWEST and np.ptp(sigma) > 0 else f"{'-':>10}"
    return f"  {name:<26}{len(sigma):>8}{rms[0]:>12.3f}{rms[1]:>12.3f}{rank}{(error <= sigma).mean():>12.2f}"


HEAD = f"  {'':<26}{'number':>8}{'rms (meV)':>12}{'sigma':>12}{'Spearman':>10}{'in 1 sigma':>12}"


def block_rows(found: list[Blocks], all_sigma: FloatArray) -> list[str]:
    """All blocks, and bin by bin."""
    keys, _, _, error = (np.concatenate(column) for column in zip(*found, strict=True))
    rows = [figures("all blocks", all_sigma, error)]
    if len(found) > 1:  # errors of one structure stand or fall together
        parts = np.split(all_sigma, np.cumsum([len(one.error) for one in found])[:-1])
        rows += [figures(f"  structure {n}", sigma, one.error) for n, (one, sigma) in enumerate(zip(found, parts, strict=True), 1)]
    for i, j, n in np.unique(keys, axis=0).tolist():
        own = (keys == (i, j, n)).all(axis=1)
        name = f"{SYMBOLS[i]} on-site" if n == ONSITE else f"{SYMBOLS[i]}-{SYMBOLS[j]} {n / 2:.1f}-{(n + 1) / 2:.1f} Angstrom"
        rows.append(figures(name, all_sigma[own], error[own]))
    return rows


def level_table(dft: Hamiltonian, predicted: Hamiltonian) -> FloatArray:
    """(4, n) distance from the Fermi level, error bar, error bar of independent blocks, signed error, eV; states that DFT has, too."""
    if dft.fermi_energy is None:
        raise deeph.DeephError(f"{dft}: the Fermi level is not known")
    out, ends = [], dft.S.pairs[:, 3:]
    atoms = np.repeat(np.arange(dft.system.n_atoms), np.diff(dft.H_bloch.pattern.orbital_start))
    for k in np.outer(FRACTIONS, dft.S.pairs[:, :3].any(axis=0)):
        S = dft.S_bloch.dense(k)
        for spin in range(dft.basis.n_spin):
            reference, states = solve_states_at_k(dft.H_bloch.dense(k, component=spin), S, k)
            energies, own = solve_states_at_k(predicted.H_bloch.dense(k, component=spin), S, k)
            errors = level_errors(energies, own, bloch_modes(predicted.error_bloch, k, dft.basis.n_spin, spin))
            weights = np.zeros((dft.system.n_atoms, len(energies)))
            np.add.at(weights, atoms, np.abs(own) ** 2)
            independent = np.sqrt(((2 * predicted.error_bars.sigma[:, None] ** 2) * weights[ends[:, 0]] * weights[ends[:, 1]]).sum(axis=0))
            shares = np.abs(states.conj().T @ S @ own) ** 2
            same = (shares.max(axis=0) > 1 / 2) & (energies < dft.fermi_energy + WINDOW)
            off = energies - reference[shares.argmax(axis=0)]
            out.append(np.array([energies - dft.fermi_energy, errors, independent, off])[:, same])
    return np.concatenate(out, axis=1)


def level_rows(levels: FloatArray, *, near: bool) -> list[str]:
    """Levels as they are, and without the mean shift of all."""
    levels = levels[:, np.abs(levels[0]) < NEAR] if near else levels
    if not levels.size:
        return ["  no level lies within 1 eV of the Fermi level at these k"]
    _, sigma, independent, off = levels
    return [
        figures("levels", sigma, np.abs(off)),
        figures("  without mean shift", sigma, np.abs(off - off.mean())),
        figures("  independent blocks", independent, np.abs(off)),
        f"  mean shift of these levels {1e3 * off.mean():+.3f} meV",
    ]


def report(title: str, ensemble: Ensemble, structures: list[Hamiltonian]) -> str:
    """All figures of some structures."""
    found, sigma, levels = [], [], []
    for dft in structures:
        predicted = predict_anyway(ensemble, dft)
        found.append(judged(dft, predicted.hamiltonian, predicted.error_bars.sigma))
        sigma.append(predicted.error_bars.sigma)
        levels.append(level_table(dft, predicted))
    table = np.concatenate(levels, axis=1)
    rows = [title, HEAD, *block_rows(found, np.concatenate(sigma)), "  within 1 eV of E_F", *level_rows(table, near=True)]
    return "\n".join([*rows, "  occupied and up to 2 eV", *level_rows(table, near=False)])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ensemble", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--also", type=Path, nargs="+", default=[])
    parser.add_argument("--part", default="test", choices=("train", "validate", "test"))
    parser.add_argument("--structures", type=int, help="only the first ones of the part")
    args = parser.parse_args()
    ensemble = deeph.load_model(args.ensemble)
    if not isinstance(ensemble, Ensemble):
        raise deeph.DeephError(f"{args.ensemble} is a single model; deeph-ensemble makes one of several runs")
    data = replace(deeph.open_dataset(args.data), extra=ensemble.members[0].given.extra)
    names = getattr(read_split(data), args.part)[: args.structures]
    print(report(f"{args.part}: {', '.join(names)}", ensemble, [data.read(name) for name in names]))
    for path in args.also:
        print(report(str(path), ensemble, [read_run(path)]))


if __name__ == "__main__":
    main()
