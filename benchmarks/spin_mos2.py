"""Spin-orbit coupling of a trained model of MoS2: errors of its part of H, splitting at K, bands, spin texture.

    python benchmarks/spin_mos2.py MODEL DATA OUT --relaxed RUN [--texture NAME]

DATA is the dataset with its split.json, RUN the relaxed cell, as DFT run or structure folder; MODEL may be the word dft: DFT's own H in the
place of the prediction, without errors. OUT gets spin_mos2.txt, texture.csv and texture.png. "xi L.S" is fitted to the training structures
here; "baseline alone" is the model without its network, xi L.S and two-centre functions.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from spin_coupling import Coupling, fit_coupling, with_coupling
from spin_errors import HEADER, Predict, Report, add_errors, error_rows, predictor, read_run, with_split, without_network

from deeph import Hamiltonian
from deeph.files.dataset import Dataset
from deeph.files.figures import BLUE, GREY, LINE, ORANGE, THIN, new_figure, save_figure, styled
from deeph.physics.difference import ErrorSums
from deeph.physics.spin_parts import join_spin, split_spin
from postprocess.bands.bands import Bands
from postprocess.compare.bands import compare_bands
from postprocess.compare.like import compute_bands_like
from postprocess.states.projectors import SpinComponents

GAMMA_M = "G=0,0,0 M=1/2,0,0"
KRAMERS = 1e-5
"""eV; the spins of levels that are closer are no observables."""
Array = npt.NDArray[np.float64]
Answer = Callable[[Hamiltonian], Hamiltonian]


def answers(model: str, predict: Predict, coupling: Coupling) -> dict[str, Answer]:
    """The spin-orbit part with and without the network, the rest of H as each has it."""
    bare: dict[str, Answer] = {"zero": lambda h: scaled(h, 0.0), "xi L.S": lambda h: with_coupling(h, coupling)}
    return {**bare, **without_network(model), "prediction": predict}


def scaled(h: Hamiltonian, factor: float) -> Hamiltonian:
    """H with its spin-orbit part times a factor."""

    def change(blocks: npt.NDArray[np.complex128], _pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.complex128]:
        parts = split_spin(blocks, "spinor")
        return join_spin({**parts, "B": factor * parts["B"]}, "spinor")

    return replace(h, H=h.hamiltonian.mapped(change))


def with_spin_orbit_of(h: Hamiltonian, other: Hamiltonian) -> Hamiltonian:
    """H with the spin-orbit part of another one: what that part alone does to the levels."""
    part = other.hamiltonian.entries - scaled(other, 0.0).hamiltonian.entries
    return replace(h, H=replace(h.hamiltonian, entries=scaled(h, 0.0).hamiltonian.entries + part))


def tables(report: Report, data: Dataset, names: tuple[str, ...], found: dict[str, Answer], relaxed: Hamiltonian) -> None:
    """Errors of the spin-orbit and the spin-free part on the test structures, and what the first does at K of the relaxed cell."""
    sums = {name: ErrorSums() for name in found}
    for name in names:
        h = data.read(name)
        for answer, make in found.items():
            add_errors(sums[answer], h, make(h))
    report(f"errors on the test structures {', '.join(names)}; spin-orbit part B, mean of its three components", HEADER)
    for answer, one in sums.items():
        report(*error_rows(one, answer, ["B"]))
    kinds = [label for label in sums["zero"].table("by_elements") if label.startswith("B ")]
    report("rms by elements, on-site and between them", f"{'meV':<28}" + "".join(f"{kind[2:]:>10}" for kind in kinds))
    for answer, one in sums.items():
        report(f"{'B':<4}{answer:<24}" + "".join(f"{one.table('by_elements')[kind].rmse:>10.4f}" for kind in kinds))
    report("spin-free part A0, without the common energy zero", HEADER)
    for answer, one in sums.items():
        if answer not in ("zero", "xi L.S"):
            report(*error_rows(one, answer, ["A0"]))
    report("and the parts that time reversal forbids", *error_rows(sums["prediction"], "prediction", ["B0", "A"]), "")
    E = at_K(relaxed)
    report("valence splitting at K of the relaxed cell with DFT's spin-free part and this spin-orbit part, meV")
    for answer, make in found.items():
        other = at_K(with_spin_orbit_of(relaxed, make(relaxed)))
        report(f"    {answer:<24}{1e3 * other[0]:>10.3f}   ({1e3 * (other[0] - E[0]):+.3f})")


def at_K(h: Hamiltonian) -> tuple[float, float]:
    """Valence splitting and gap at K, eV."""
    E, n = h.eigenvalues("K"), round(h.n_electrons or 0)
    return float(E[n - 1] - E[n - 2]), float(E[n] - E[n - 1])


def relaxed_cell(report: Report, h: Hamiltonian, predict: Predict) -> None:
    """The levels at K and the bands of a cell that was in no training set."""
    predicted = predict(h)
    report("", "relaxed cell" + " " * 16 + "DFT       predicted")
    for name, value, other in zip(("valence splitting at K", "gap at K"), at_K(h), at_K(predicted), strict=True):
        report(f"    {name:<24}{1e3 * value:>10.3f}{1e3 * other:>12.3f} meV ({1e3 * (other - value):+.3f})")
    dft = h.bands("GMKG")
    near = compare_bands(dft, compute_bands_like(dft, predicted), align=False).near_fermi
    if near is not None:
        report(f"    bands within 2 eV of E_F, G-M-K-G: mean |error| {near.mae:.3f}, largest {near.max:.3f} meV, {near.n} levels")


class Texture:
    """Spins of the two highest valence bands along G-M, DFT and predicted: (2, n_k, 2 bands, 3), and their splitting (2, n_k) in eV."""

    def __init__(self, h: Hamiltonian, predict: Predict | None = None) -> None:
        dft = h.bands(GAMMA_M, points=41, projections="spin")
        both = [dft]
        if predict is not None:
            both.append(compute_bands_like(dft, predict(h), projectors=(SpinComponents(),)))
        n = int((dft.energies[0, 0] <= (dft.fermi_energy or 0.0)).sum())  # of an insulator; not every folder knows its electrons
        top = slice(n - 2, n)
        self.x: Array = dft.path.distances / dft.path.distances[-1]
        self.spin: Array = np.stack([np.stack([b.weights[s][0, :, top] for s in ("sx", "sy", "sz")], axis=-1) for b in both])
        self.splitting: Array = np.stack([_split(b, top) for b in both])
        self.known = np.asarray((self.splitting > KRAMERS).all(axis=0))

    def in_plane(self) -> float:
        """The largest in-plane spin of DFT."""
        return float(np.linalg.norm(self.spin[0, self.known, :, :2], axis=-1).max())


def _split(bands: Bands, top: slice) -> Array:
    E = bands.energies[0, :, top]
    return np.asarray(E[:, 1] - E[:, 0])


def texture(report: Report, name: str, found: Texture, out: Path) -> None:
    """Numbers, table and figure of one structure."""
    error = np.linalg.norm(found.spin[1] - found.spin[0], axis=-1)[found.known]
    size = np.linalg.norm(found.spin[0, found.known, :, :2], axis=-1)
    report("", f"spin texture of {name} along G-M, the two highest valence bands; without the k where they are degenerate")
    report(f"    in-plane spin of DFT: rms {_rms(size):.4f}, largest {size.max():.4f}")
    report(f"    error of the spin vector: rms {_rms(error):.4f}, largest {error.max():.4f}")
    split = 1e3 * found.splitting
    report("       k/M   splitting (meV)     lower band <sx> <sy>, DFT, predicted          upper band, DFT, predicted")
    for n in range(0, len(found.x), 5):
        spins = "  ".join("".join(f"{found.spin[m, n, band, a]:>9.4f}" for m in (0, 1) for a in (0, 1)) for band in (0, 1))
        report(f"    {found.x[n]:>6.3f}{split[0, n]:>9.3f}{split[1, n]:>9.3f}  {spins}" + ("" if found.known[n] else "   degenerate"))
    head = ",".join(f"{s}_{band}_{who}" for who in ("dft", "predicted") for band in ("lower", "upper") for s in ("sx", "sy", "sz"))
    table = np.column_stack([found.x, *found.splitting, found.spin.transpose(1, 0, 2, 3).reshape(len(found.x), -1)])
    head = f"k_over_M,splitting_dft,splitting_predicted,{head}"
    np.savetxt(out / "texture.csv", table, fmt="%.6f", delimiter=",", header=head, comments="")
    draw(found, out / "texture.png")


def _rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def draw(found: Texture, path: Path) -> None:
    """In-plane spin of both bands: lines of DFT, dots of the prediction."""
    with styled():
        figure = new_figure(height=5.5, columns=2)
        axes = figure.subplots(1, 2, sharey=True)
        for a, (ax, label) in enumerate(zip(axes, ("x", "y"), strict=True)):
            for band, (name, colour) in enumerate((("lower", BLUE), ("upper", ORANGE))):
                line, dots = np.where(found.known, found.spin[:, :, band, a], np.nan)
                ax.plot(found.x, line, color=colour, lw=LINE, label=f"{name} band, DFT")
                ax.plot(found.x, dots, "o", color=colour, ms=2.2, mew=0, label=f"{name} band, predicted")
            ax.axhline(0, color=GREY, lw=THIN, zorder=0)
            ax.set_xticks([0, 1], ["Γ", "M"])
            ax.set_xlim(0, 1)
            ax.set_ylabel(rf"$\langle\sigma_{label}\rangle$")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    save_figure(axes[0], path)


def main() -> None:
    """Everything, in the order of the page on spin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--relaxed", type=Path, required=True)
    parser.add_argument("--texture", help="test structure; default: the one with the largest in-plane spin")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    report, predict, relaxed = Report(), predictor(args.model), read_run(args.relaxed)
    data, split = with_split(args.data)
    names, coupling = split.test, fit_coupling(data.read(name) for name in split.train)
    tables(report, data, names, answers(args.model, predict, coupling), relaxed)
    relaxed_cell(report, relaxed, predict)
    chosen = args.texture or max(names, key=lambda name: Texture(data.read(name)).in_plane())
    texture(report, chosen, Texture(data.read(chosen), predict), args.out)
    report.save(args.out / "spin_mos2.txt")


if __name__ == "__main__":
    main()
