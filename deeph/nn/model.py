"""The network from top to bottom: embed, interact, read out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.config import ModelConfig
from deeph.nn.atom import AtomLinear, AtomNorm
from deeph.nn.baseline import Baseline
from deeph.nn.bond import BondFeatures, Frame, PartialFeatures
from deeph.nn.filling import Filling
from deeph.nn.frames import bond_matrices, frame_matrix, out_of_frame
from deeph.nn.heads import OffsiteHead, OnsiteHead
from deeph.nn.interaction import BondGeometry, Interaction
from deeph.nn.irreps import couplings_fingerprint, sector_sizes
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.known import TrainedLengths
from deeph.nn.radial import RadialBasis, smooth_cutoff
from deeph.nn.so2 import bond_norm
from deeph.nn.tables import AtomTable, PairTable
from deeph.physics.basis import Basis
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import IntArray
from deeph.runtime.errors import ModelError

WIDTH = 32  # length of the element embedding
MIN_L = 4  # a threefold site needs l = 3 to know a direction in its plane
WIDE = 20_000  # bonds at a time without gradients on a GPU, which idles with as few as suit a processor's cache
LAYER = 3  # times as much work as the embedding of the same bonds, or the heads
KEEP = 50_000  # bonds whose geometry (12 kB each) is kept from layer to layer when no gradients need it


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
    trained : TrainedLengths, optional
        Bond lengths of the training set; None in model files of the first version.

    Attributes
    ----------
    filling : Filling
        Fermi levels and electrons of the training data; no weight depends on them.
    origin : mapping
        What to call the model in what it predicts: file, hash, errors; empty for one that was not read from a file.
    """

    def __init__(
        self,
        config: ModelConfig,
        basis: Basis,
        cutoffs: dict[tuple[int, int], float],
        degree: float,
        trained: TrainedLengths | None = None,
    ) -> None:
        super().__init__()
        if basis.spin != "none":
            raise ModelError(
                f"spin '{basis.spin}': this version learns spin-free Hamiltonians; collinear, spin-orbit and magnetic ones come later"
            )
        self.config, self.basis, self.cutoffs, self.degree = config, basis, cutoffs, degree
        self.filling, self.origin = Filling(), dict[str, Any]()
        self.free_zero = False  # whether the training data had different energy zeros, so that those of predictions are arbitrary
        self.angular = sorted({l for shells in basis.shells.values() for l in shells})
        needed = 2 * max(self.angular)
        self.l_max = max(needed, MIN_L) if config.l_max == "auto" else config.l_max
        if self.l_max < needed:
            raise ModelError(f"l_max = {self.l_max}, but blocks between shells of l = {max(self.angular)} need l_max >= {needed}")
        self.pair_tables = {(a, b): PairTable(basis.shells[a], basis.shells[b]) for a in basis.shells for b in basis.shells if a <= b}
        self.atom_tables = {z: AtomTable(shells) for z, shells in basis.shells.items()}
        self._trained = trained
        self.baseline = Baseline(self.pair_tables, self.atom_tables, cutoffs, config.baseline_degree, flat=trained is None)

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

    def __repr__(self) -> str:
        n, reach = sum(p.numel() for p in self.parameters()), max(self.cutoffs.values())
        return f"HamiltonianModel for {repr(self.basis).removeprefix('Basis ')}, {n} parameters, cutoffs up to {reach:.2f} Angstrom"

    def predict(self, x: Any, overlap: Any = None, basis: Any = None, device: str | None = None, moments: Any = None) -> Hamiltonian:
        """H of a structure.

        Parameters
        ----------
        x : path, ase.Atoms, System or Hamiltonian
            The structure, see :func:`deeph.read`; one that has an overlap needs nothing else.
        overlap : path or Hamiltonian, optional
            Where its overlap is; the atoms may be in another order there.
        basis : str, path, sequence or mapping, optional
            Basis files to compute the overlap from instead, see :func:`deeph.overlap`; the basis of the training data.
        device : str, optional
            Where to compute, such as ``"cuda"``; the model stays there.
        moments : path, mapping or array, optional
            Magnetic moments instead of those of x: a file as ``deeph-infer --moments`` takes it; directions of elements such as
            ``{"Cr": (0, 0, 1)}``, with a size in Bohr magneton as the fourth number where it is not to be the mean of the training data;
            or (n_atoms, 3) moments in Bohr magneton. Atoms that are given none are non-magnetic.

        Returns
        -------
        Hamiltonian
            With H and S, atoms in the order of x.

        Raises
        ------
        ModelError
            If the model does not know an element or the basis.
        DataError
            If something is damaged, or the overlap is that of another structure.
        UsageError
            If the overlap is given twice or not at all, the device is missing, or the model does not take such moments.
        """
        from deeph.facade import predict

        return predict(self, x, overlap, basis, device, moments)

    @property
    def magnetic(self) -> dict[int, float]:
        """Mean size (Bohr magneton) of the moments of each magnetic element in training: of none, since H is spin-free in this version."""
        return {}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return self.atom_scalars.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.atom_scalars.weight.device

    @property
    def trained(self) -> TrainedLengths:
        """Bond lengths of the training set; in old model files all between the shortest one and the cutoff."""
        if self._trained is not None:
            return self._trained
        met = {kind: self.baseline.pair(kind) for kind in self.pair_tables if self.baseline.pair(kind).series.any()}
        return {kind: [(float(functions.shortest), self.cutoffs[kind])] for kind, functions in met.items()}

    def row_sizes(self, numbers: Tensor, bonds: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of each bond and of each atom."""
        n = self.get_buffer("n_orbitals")[numbers]
        return n[bonds[0]] * n[bonds[1]], n * n

    def frame(self, vectors: Tensor) -> Tensor:
        """(n, 3) bond vectors -> (n, K, K) rotations into the bond frames over sqrt 2, in the network's precision."""
        return (frame_matrix(bond_matrices(vectors.double(), self.l_max)) / 2**0.5).to(self.dtype)

    def blocks_from_coefficients(self, kind: tuple[int, int], coefficients: Tensor, D: list[Tensor]) -> Tensor:
        """Blocks of bonds between a pair of elements, along the axes of the crystal.

        Parameters
        ----------
        kind : (zi, zj)
            The elements.
        coefficients : (n, size) tensor
            In the bond frames, laid out as :attr:`pair_tables` tell.
        D : list of tensors
            :func:`deeph.nn.frames.bond_matrices` of the bonds, up to the highest shell.

        Returns
        -------
        (n, n_i, n_j) tensor
        """
        shells = self.basis.shells
        return out_of_frame(self.pair_tables[kind].to_blocks(coefficients), D, shells[kind[0]], shells[kind[1]])

    def chunks(self, n_bonds: int) -> list[slice]:
        """Runs of bonds that are processed together; their length changes no result."""
        step = self.config.chunk_bonds or max(n_bonds, 1)
        if self.device.type == "cuda" and not torch.is_grad_enabled():
            step = max(step, WIDE)
        return [slice(s, min(s + step, n_bonds)) for s in range(0, n_bonds, step)]

    def work(self, n_bonds: int) -> int:
        """How much there is to do for a prediction: one for the embedding of each bond, one for its heads, :data:`LAYER` for each layer."""
        return n_bonds * (2 + LAYER * self.config.n_layers)

    def geometry(self, graph: Data, part: slice) -> BondGeometry:
        """Frames and radial functions of a run of bonds."""
        bonds, vectors = graph.bond_index[:, part], graph.bond_vector[part]
        if vectors.requires_grad:
            raise ModelError(
                "derivatives of H with respect to the positions: the network keeps the frames of the bonds fixed in its gradient, which "
                "would be wrong; use differences of predictions at displaced positions"
            )
        r = vectors.norm(dim=1)
        zi, zj = self.element(graph.numbers[bonds[0]]), self.element(graph.numbers[bonds[1]])
        cutoff = torch.empty_like(r)
        for kind, rows in bond_kinds(graph.numbers, bonds):
            cutoff[rows] = self.cutoffs[kind]
        functions = torch.cat([self.radial_basis(r).to(self.dtype), zi + zj, zi * zj], -1)
        frame = Frame.build(bonds, graph.frame[part] if "frame" in graph else self.frame(vectors), self.l_max)
        return BondGeometry(frame, frame.scaled(smooth_cutoff(r, cutoff).to(self.dtype)), self.radial(functions))

    def _embed(self, graph: Data, geometry: BondGeometry, total: Tensor) -> tuple[PartialFeatures, Tensor]:
        """First features of some bonds, Sigma+ only; ``total`` with their first messages added, scalars times harmonics of the bond."""
        zi, zj = (self.element(graph.numbers[end]) for end in geometry.into.bonds)
        e = torch.stack([self.bond_even(geometry.radial), self.bond_odd(geometry.radial) * self.polarity(zi - zj)])
        scalars = self.first_message(geometry.radial).unflatten(-1, (self.l_max + 1, -1))
        for end, frame in zip(geometry.out.bonds, geometry.out[1:], strict=True):
            message = torch.bmm(frame[:, : self.l_max + 1].transpose(1, 2), scalars)  # rows of m = 0
            total = total.index_add(0, end, message) if torch.is_grad_enabled() else total.index_add_(0, end, message)
        return [e] + [None] * (len(self.sectors) - 1), total

    def features(self, graph: Data, done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Final atom features (n_atoms, K, C), and bond features chunk by chunk; ``done`` hears of each piece of :meth:`work`."""
        parts = self.chunks(graph.bond_index.shape[1])
        # the geometry of a large graph is made anew in each layer and costs no memory
        small = graph.bond_index.shape[1] <= KEEP or torch.is_grad_enabled()
        kept = [self.geometry(graph, p) for p in parts] if small else None

        def geometries() -> Iterator[tuple[int, BondGeometry]]:
            for c, part in enumerate(parts):
                yield c, kept[c] if kept else self.geometry(graph, part)

        atoms = self.element(graph.numbers)
        first = torch.zeros(len(atoms), (self.l_max + 1) ** 2, self.bond_sizes[0], dtype=self.dtype, device=self.device)
        e: list[PartialFeatures] = []
        for _, geometry in geometries():
            bond, first = self._embed(graph, geometry, first)
            e.append(bond)
            done(len(geometry.radial))
        x = self.first_atoms(nn.functional.pad(first * self.degree**-0.5, (0, self.bond_sizes[1])))
        scalars = torch.zeros_like(x)
        scalars[:, 0, : self.config.node_channels] = self.atom_scalars(atoms)
        x = x + scalars
        for layer in cast("Iterable[Interaction]", self.layers):
            h = layer.prepare(x)
            total = (torch.zeros_like(h[0]), torch.zeros_like(h[1]))
            for c, geometry in geometries():
                e[c], total = layer.bond_step(h, e[c], geometry, total)
                done(LAYER * (parts[c].stop - parts[c].start))
            x = layer.atom_step(x, torch.cat(total, -1))
        return x, cast("list[BondFeatures]", e)

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

    def description(self) -> dict[str, Any]:
        """Everything needed to rebuild the model apart from its tensors, as plain JSON values."""
        return {
            "config": self.config.model_dump(),
            "shells": self.basis.to_symbols(),
            "spin": self.basis.spin,
            "cutoffs": [[i, j, c] for (i, j), c in self.cutoffs.items()],
            "degree": self.degree,
            "filling": self.filling.to_plain(),
            **({} if self._trained is None else {"trained_lengths": [[i, j, lengths] for (i, j), lengths in self._trained.items()]}),
            "free_zero": self.free_zero,
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
        lengths = description.get("trained_lengths")
        trained = None if lengths is None else {(int(i), int(j)): [(float(a), float(b)) for a, b in own] for i, j, own in lengths}
        model = cls(ModelConfig.model_validate(description["config"]), basis, cutoffs, float(description["degree"]), trained)
        if "filling" in description:  # files of earlier versions do not tell
            model.filling = Filling.from_plain(description["filling"])
        model.free_zero = bool(description.get("free_zero", False))
        return model


def _orbital_counts(basis: Basis) -> IntArray:
    counts = np.zeros(119, np.int64)
    for z, shells in basis.shells.items():
        counts[z] = sum(2 * l + 1 for l in shells)
    return counts
