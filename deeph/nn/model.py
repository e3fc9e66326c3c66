"""The network from top to bottom: embed, interact, read out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.basis import Basis
from deeph.config import ModelConfig
from deeph.errors import ModelError
from deeph.hamiltonian import Hamiltonian
from deeph.nn.atom import AtomLinear, AtomNorm
from deeph.nn.baseline import Baseline, Coefficients
from deeph.nn.bond import BondFeatures, Frame, to_atoms
from deeph.nn.frames import bond_rotation, frame_matrix, wigner_matrices
from deeph.nn.graph import atom_kinds, bond_kinds, frame_coefficients, select_bonds, take_rows
from deeph.nn.heads import OffsiteHead, OnsiteHead
from deeph.nn.interaction import BondGeometry, Interaction
from deeph.nn.irreps import couplings_fingerprint, sector_sizes
from deeph.nn.radial import RadialBasis, smooth_cutoff
from deeph.nn.so2 import bond_norm, zero_features
from deeph.nn.tables import AtomTable, PairTable
from deeph.pairs import is_onsite, pair_vectors
from deeph.system import IntArray

WIDTH = 32  # length of the element embedding


@dataclass
class Prediction:
    """Standardized coefficients h; H = B + sigma h.

    Attributes
    ----------
    offsite : list of ((zi, zj), bonds, (n, size) tensor)
        Per pair of elements.
    onsite : list of (z, atoms, (n, size) tensor)
        Per element.
    """

    offsite: list[tuple[tuple[int, int], Tensor | slice, Tensor]]
    onsite: list[tuple[int, Tensor | slice, Tensor]]


class HamiltonianModel(nn.Module):
    """Equivariant network for the blocks of a spin-free Hamiltonian.

    Parameters
    ----------
    config : ModelConfig
        Sizes.
    basis : Basis
        Shells of the elements it covers.
    cutoffs : dict of (zi, zj) to float
        Where blocks vanish, Angstrom, zi <= zj.
    degree : float
        Mean over atoms of the summed squared envelopes; normalizes messages.
    """

    def __init__(self, config: ModelConfig, basis: Basis, cutoffs: dict[tuple[int, int], float], degree: float) -> None:
        super().__init__()
        if basis.spin != "none":
            raise ModelError(
                f"spin '{basis.spin}': this version learns spin-free Hamiltonians; collinear, spin-orbit and magnetic ones come later"
            )
        self.config, self.basis, self.cutoffs, self.degree = config, basis, cutoffs, degree
        self.angular = sorted({l for shells in basis.shells.values() for l in shells})
        needed = 2 * max(self.angular)
        self.l_max = needed if config.l_max == "auto" else config.l_max
        if self.l_max < needed:
            raise ModelError(f"l_max = {self.l_max}, but blocks between shells of l = {max(self.angular)} need l_max >= {needed}")
        self.pair_tables = {(a, b): PairTable(basis.shells[a], basis.shells[b]) for a in basis.shells for b in basis.shells if a <= b}
        self.atom_tables = {z: AtomTable(shells) for z, shells in basis.shells.items()}
        self.baseline = Baseline(self.pair_tables, self.atom_tables, cutoffs, config.baseline_degree)

        self.register_buffer("n_orbitals", torch.as_tensor(_orbital_counts(basis)), persistent=False)

        atom = (config.node_channels, config.node_pseudo_channels)
        self.bond_sizes = (config.bond_channels, config.bond_pseudo_channels)
        self.sectors = sector_sizes(self.l_max, *self.bond_sizes)
        hidden = config.radial_hidden
        self.element = nn.Embedding(119, WIDTH)
        self.atom_scalars = nn.Linear(WIDTH, atom[0])
        self.radial_basis = RadialBasis(config.n_radial, max(cutoffs.values()))
        self.radial = nn.Sequential(nn.Linear(config.n_radial + 2 * WIDTH, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.bond_even = nn.Linear(hidden, self.sectors[0])
        self.bond_odd = nn.Linear(hidden, self.sectors[0])
        self.polarity = nn.Linear(WIDTH, self.sectors[0], bias=False)
        self.first_message = nn.Linear(hidden, self.sectors[0])
        self.first_atoms = AtomLinear(self.l_max, self.bond_sizes, atom)
        layers = [Interaction(self.l_max, atom, self.bond_sizes, hidden, degree) for _ in range(config.n_layers)]
        self.layers = nn.ModuleList(layers)
        self.final_norm = AtomNorm(self.l_max, atom)
        self.offsite_head = OffsiteHead(self.angular, self.l_max, self.bond_sizes, config.rank)
        self.onsite_head = OnsiteHead(self.angular, atom, config.rank)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return self.atom_scalars.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.atom_scalars.weight.device

    def row_sizes(self, numbers: Tensor, bonds: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of each bond and of each atom."""
        n = self.get_buffer("n_orbitals")[numbers]
        return n[bonds[0]] * n[bonds[1]], n * n

    def frame(self, vectors: Tensor) -> Tensor:
        """(n, 3) bond vectors -> (n, K, K) rotations into the bond frames over sqrt 2, in the network's precision."""
        v = vectors.double()
        D = wigner_matrices(bond_rotation(v / v.norm(dim=1, keepdim=True)), self.l_max)
        return (frame_matrix(D) / 2**0.5).to(self.dtype)

    def chunks(self, n_bonds: int) -> list[slice]:
        """Runs of bonds that are processed together; their length changes no result."""
        step = self.config.chunk_bonds or max(n_bonds, 1)
        return [slice(s, min(s + step, n_bonds)) for s in range(0, n_bonds, step)]

    def geometry(self, graph: Data, part: slice) -> BondGeometry:
        """Frames and radial functions of a run of bonds."""
        bonds, vectors = graph.bond_index[:, part], graph.bond_vector[part]
        r = vectors.norm(dim=1)
        zi, zj = self.element(graph.numbers[bonds[0]]), self.element(graph.numbers[bonds[1]])
        cutoff = torch.empty_like(r)
        for kind, rows in bond_kinds(graph.numbers, bonds):
            cutoff[rows] = self.cutoffs[kind]
        functions = torch.cat([self.radial_basis(r).to(self.dtype), zi + zj, zi * zj], -1)
        frame = Frame.build(bonds, graph.frame[part] if "frame" in graph else self.frame(vectors), self.l_max)
        return BondGeometry(frame, frame.scaled(smooth_cutoff(r, cutoff).to(self.dtype)), self.radial(functions))

    def _embed(self, graph: Data, geometry: BondGeometry) -> tuple[BondFeatures, Tensor]:
        """First features of some bonds, and their first messages: scalars of the bond times its harmonics."""
        zi, zj = (self.element(graph.numbers[end]) for end in geometry.into.bonds)
        e = zero_features(self.sectors, len(zi), zi)
        e[0] = torch.stack([self.bond_even(geometry.radial), self.bond_odd(geometry.radial) * self.polarity(zi - zj)])
        message = zero_features(self.sectors, len(zi), zi)
        message[0] = torch.stack([self.first_message(geometry.radial), torch.zeros_like(e[0][1])])
        return e, torch.cat(to_atoms(message, geometry.out, graph.num_nodes, self.l_max), -1)

    def features(self, graph: Data) -> tuple[Tensor, list[BondFeatures]]:
        """Final atom features (n_atoms, K, C), and bond features chunk by chunk."""
        parts = self.chunks(graph.bond_index.shape[1])
        # small graphs carry their frames and keep the geometry; for large ones it is made anew in each layer and costs no memory
        kept = [self.geometry(graph, p) for p in parts] if "frame" in graph or torch.is_grad_enabled() else None

        def geometries() -> Iterator[tuple[int, BondGeometry]]:
            for c, part in enumerate(parts):
                yield c, kept[c] if kept else self.geometry(graph, part)

        atoms = self.element(graph.numbers)
        x = torch.zeros(len(atoms), (self.l_max + 1) ** 2, sum(self.bond_sizes), dtype=self.dtype, device=self.device)
        e: list[BondFeatures] = []
        for _, geometry in geometries():
            bond, message = self._embed(graph, geometry)
            e.append(bond)
            x = x + message
        x = self.first_atoms(x * self.degree**-0.5)
        scalars = torch.zeros_like(x)
        scalars[:, 0, : self.config.node_channels] = self.atom_scalars(atoms)
        x = x + scalars
        for layer in cast("Iterable[Interaction]", self.layers):
            h = layer.prepare(x)
            total = torch.zeros(len(x), x.shape[1], sum(self.bond_sizes), dtype=self.dtype, device=self.device)
            for c, geometry in geometries():
                e[c], message = layer.bond_step(h, e[c], geometry)
                total = total + message
            x = layer.atom_step(x, total)
        return x, e

    def offsite(self, graph: Data, part: slice, e: BondFeatures) -> list[tuple[tuple[int, int], Tensor | slice, Tensor]]:
        """Standardized coefficients of a run of bonds, per pair of elements; rows count within the run."""
        codes = self.offsite_head.codes(bond_norm(e))
        out = []
        for (zi, zj), rows in bond_kinds(graph.numbers, graph.bond_index[:, part]):
            table = self.pair_tables[zi, zj]
            h = self.offsite_head(codes[rows], (zi, self.basis.shells[zi]), (zj, self.basis.shells[zj]), table)
            out.append(((zi, zj), rows, h))
        return out

    def onsite(self, numbers: Tensor, x: Tensor) -> list[tuple[int, Tensor | slice, Tensor]]:
        """Standardized on-site coefficients per element."""
        y = self.final_norm(x)
        return [(z, rows, self.onsite_head(y[rows], (z, self.basis.shells[z]), self.atom_tables[z])) for z, rows in atom_kinds(numbers)]

    def forward(self, graph: Data) -> Prediction:
        """Standardized coefficients of all bonds and atoms of a graph or batch."""
        x, e = self.features(graph)
        parts = self.chunks(graph.bond_index.shape[1])
        rows: dict[tuple[int, int], list[Tensor]] = {}
        values: dict[tuple[int, int], list[Tensor]] = {}
        for part, bond in zip(parts, e, strict=True):
            n = part.stop - part.start
            for kind, members, h in self.offsite(graph, part, bond):
                index = torch.arange(n, device=self.device) if isinstance(members, slice) else members
                rows.setdefault(kind, []).append(index + part.start)
                values.setdefault(kind, []).append(h)
        single = len(rows) == 1
        offsite: list[tuple[tuple[int, int], Tensor | slice, Tensor]] = [
            (kind, slice(None) if single else torch.cat(rows[kind]), torch.cat(values[kind])) for kind in rows
        ]
        return Prediction(offsite, self.onsite(graph.numbers, x))

    @classmethod
    def fit(cls, config: ModelConfig, structures: Iterable[Hamiltonian]) -> "HamiltonianModel":
        """A model with random weights whose baseline and scales are fitted to the given structures.

        Raises
        ------
        ModelError
            If the structures use different bases or have spin.
        """
        structures = list(structures)
        if not structures:
            raise ModelError("no structure to fit the baseline to: the training set is empty")
        basis = _common_basis(structures)
        cutoffs = _pair_cutoffs(structures, basis)
        model = cls(config, basis, cutoffs, _mean_degree(structures, cutoffs))
        samples: list[Coefficients] = []
        for s in structures:
            bonds = select_bonds(s, cutoffs)
            offsite, onsite = frame_coefficients(s, model, bonds, "H")
            numbers, pairs = torch.as_tensor(s.system.numbers), s.S.pairs[bonds]
            ends = torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T))
            bond_sizes, atom_sizes = model.row_sizes(numbers, ends)
            r = torch.as_tensor(np.linalg.norm(pair_vectors(s.system, pairs), axis=1))
            by_pair = {kind: (r[rows], take_rows(offsite, bond_sizes, rows)) for kind, rows in bond_kinds(numbers, ends)}
            by_atom = {z: take_rows(onsite, atom_sizes, rows) for z, rows in atom_kinds(numbers)}
            samples.append((by_pair, by_atom))
        model.baseline.fit(samples)
        return model

    def description(self) -> dict[str, Any]:
        """Everything needed to rebuild the model apart from its tensors, as plain JSON values."""
        return {
            "config": self.config.model_dump(),
            "shells": self.basis.to_symbols(),
            "spin": self.basis.spin,
            "cutoffs": [[i, j, c] for (i, j), c in self.cutoffs.items()],
            "degree": self.degree,
            "couplings": couplings_fingerprint(),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> "HamiltonianModel":
        """Rebuild a model; its tensors are loaded afterwards.

        Raises
        ------
        ModelError
            If the installed coupling tables have other phases than those of the training.
        """
        if description["couplings"] != couplings_fingerprint():
            raise ModelError(
                "the installed e3nn has coupling tables with other phases than the model was trained with; install the version it names"
            )
        basis = Basis.from_symbols(description["shells"], description["spin"])
        cutoffs = {(int(i), int(j)): float(c) for i, j, c in description["cutoffs"]}
        return cls(ModelConfig.model_validate(description["config"]), basis, cutoffs, float(description["degree"]))


def _orbital_counts(basis: Basis) -> IntArray:
    counts = np.zeros(119, np.int64)
    for z, shells in basis.shells.items():
        counts[z] = sum(2 * l + 1 for l in shells)
    return counts


def _common_basis(structures: list[Hamiltonian]) -> Basis:
    shells: dict[int, tuple[int, ...]] = {}
    for s in structures:
        if s.basis.spin != structures[0].basis.spin:
            raise ModelError(f"the structures mix spin '{structures[0].basis.spin}' and '{s.basis.spin}'; train on one kind at a time")
        for z, ls in s.basis.shells.items():
            if shells.setdefault(z, ls) != ls:
                raise ModelError(f"element {z} has the shells {list(shells[z])} in one structure and {list(ls)} in another")
    return Basis(dict(sorted(shells.items())), structures[0].basis.spin)


def _pair_cutoffs(structures: list[Hamiltonian], basis: Basis) -> dict[tuple[int, int], float]:
    """Sum of the orbital radii where the source gives them, else the longest bond seen (slightly rounded up)."""
    cutoffs: dict[tuple[int, int], float] = {}
    for s in structures:
        radii = s.source.get("orbital_radii")
        z = s.system.numbers
        off = ~is_onsite(s.S.pairs)
        pairs = s.S.pairs[off]
        r = np.linalg.norm(pair_vectors(s.system, pairs), axis=1)
        code = np.minimum(z[pairs[:, 3]], z[pairs[:, 4]]) * 1000 + np.maximum(z[pairs[:, 3]], z[pairs[:, 4]])
        for k in np.unique(code).tolist():
            i, j = divmod(k, 1000)
            symbols = Basis({i: basis.shells[i], j: basis.shells[j]}).to_symbols()
            known = [radii[a] for a in symbols] if radii and all(a in radii for a in symbols) else None
            longest = float(r[code == k].max()) + 1e-3 if known is None else float(known[0] + known[-1])
            cutoffs[i, j] = max(cutoffs.get((i, j), 0.0), longest)
    longest = max(cutoffs.values(), default=1.0)
    return {(a, b): cutoffs.get((a, b), longest) for a in basis.shells for b in basis.shells if a <= b}


def _mean_degree(structures: list[Hamiltonian], cutoffs: dict[tuple[int, int], float]) -> float:
    """Mean over atoms of the sum of squared envelopes of their bonds."""
    total, atoms = 0.0, 0
    for s in structures:
        pairs = s.S.pairs[select_bonds(s, cutoffs)]
        r = torch.as_tensor(np.linalg.norm(pair_vectors(s.system, pairs), axis=1))
        z = s.system.numbers
        limit = torch.tensor([cutoffs[a, b] for a, b in zip(z[pairs[:, 3]].tolist(), z[pairs[:, 4]].tolist(), strict=True)], dtype=r.dtype)
        total += 2 * float(smooth_cutoff(r, limit).square().sum())
        atoms += s.system.n_atoms
    return max(total / max(atoms, 1), 1e-3)
