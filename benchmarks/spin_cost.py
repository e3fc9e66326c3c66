"""What spin costs: a training step and a prediction of each kind of spin, over those of the spin-free network on the same graph.

    python benchmarks/spin_cost.py [--repeats 5]

64-atom bilayer graphene of benchmarks/network.py, carbon s2p2d1, default settings, float32, one thread. The kinds take turns, and times
are CPU seconds, because other work on the machine slows all of them alike. Half of the atoms have moments in the magnetic kinds.
"""

import argparse
import statistics
from dataclasses import replace

import numpy as np
import torch
from network import bilayer, cpu_time

from deeph import Hamiltonian, PairBlocks
from deeph.config import LossConfig, ModelConfig
from deeph.inference import predict_anyway
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.physics.blocks import block_shapes
from deeph.physics.spin_parts import join_spin
from deeph.training.loss import compute_loss

KINDS = {
    "spin-free": ("none", ()),
    "collinear": ("collinear", ("A",)),
    "spin-orbit": ("spinor", ("B",)),
    "non-collinear": ("spinor", ("A",)),
    "magnetic, spin-orbit": ("spinor", ("A", "B")),
}


def with_spin(plain: Hamiltonian, kind: str) -> Hamiltonian:
    """The same structure with random parts of H that the kind has."""
    spin, parts = KINDS[kind]
    rng = np.random.default_rng(1)
    basis = replace(plain.basis, spin=spin)
    shapes = block_shapes(basis, plain.system.numbers, plain.S.pairs, spin=True)
    H = PairBlocks.zeros(plain.S.pairs, shapes, basis.n_spin, complex if spin == "spinor" else float)
    for _, index in plain.S.groups():
        mean = plain.hamiltonian.take(index)[0][:, None]
        n_spin = 1 if spin == "collinear" else 3
        made = {"A0": mean, **{name: 0.1 * mean * rng.normal(size=(len(index), n_spin, *mean.shape[2:])) for name in parts}}
        H.put(index, join_spin(made, spin))
    moments = None
    if "A" in parts:
        moments = rng.normal(size=(plain.system.n_atoms, 3)) * (np.arange(plain.system.n_atoms) % 2)[:, None]
        moments = moments * [0, 0, 1] if spin == "collinear" else moments
    return replace(plain, basis=basis, H=H.hermitized(), moments=moments)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--repeats", type=int, default=5)
    args = p.parse_args()
    torch.set_num_threads(1)
    steps, predictions, sizes = {}, {}, {}
    for kind in KINDS:
        structure = with_spin(bilayer(), kind)
        torch.manual_seed(0)
        model = fit_model(ModelConfig(), [structure])
        graph = make_graph(structure, model, targets=True)

        def step(model=model, graph=graph) -> None:  # noqa: ANN001
            model.train()
            loss, _ = compute_loss(model, graph, LossConfig())
            loss.backward()

        steps[kind], predictions[kind] = step, lambda model=model, structure=structure: predict_anyway(model.eval(), structure)
        sizes[kind] = (model.trunk.l_max, sum(w.numel() for w in model.parameters()), graph.bond_index.shape[1])
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(args.repeats + 1):  # the first one warms up
        for kind in KINDS:
            times[kind].append((cpu_time(steps[kind]), cpu_time(predictions[kind])))
    base = [statistics.median(row[n] for row in times["spin-free"][1:]) for n in (0, 1)]
    print(f"{'kind':<22}{'l_max':>6}{'weights':>10}{'bonds':>7}{'step (s)':>10}{'ratio':>7}{'prediction (s)':>16}{'ratio':>7}")
    for kind, rows in times.items():
        step_s, predict_s = (statistics.median(row[n] for row in rows[1:]) for n in (0, 1))
        l_max, weights, bonds = sizes[kind]
        ratios = [step_s / base[0], predict_s / base[1]]
        print(f"{kind:<22}{l_max:>6}{weights:>10}{bonds:>7}{step_s:>10.3f}{ratios[0]:>7.2f}{predict_s:>16.3f}{ratios[1]:>7.2f}")


if __name__ == "__main__":
    main()
