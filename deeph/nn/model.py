"""The model: features of a network, heads that read H off them, and what is known without a network."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.config import REMOVED, ModelConfig
from deeph.nn.atom import AtomNorm
from deeph.nn.baseline import Baseline
from deeph.nn.bond import BondFeatures
from deeph.nn.families import check_family, make_trunk
from deeph.nn.filling import Filling
from deeph.nn.frames import bond_matrices
from deeph.nn.given import NOTHING_GIVEN, Given
from deeph.nn.heads import Contracted
from deeph.nn.irreps import couplings_fingerprint
from deeph.nn.kinds import Kinds, PairKind, find_kinds
from deeph.nn.known import TrainedLengths
from deeph.nn.readout import Readout, Tables, by_sort
from deeph.nn.shell_potential import Potentials, ShellPotential
from deeph.nn.sizes import largest_l, orbital_counts
from deeph.nn.so2 import inverse_size
from deeph.nn.spin import spin_parts
from deeph.physics.basis import Basis
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.spin_parts import PartName
from deeph.runtime.errors import ModelError

WIDE = 20_000  # bonds at a time on a GPU, which idles with as few as suit a processor's cache

OffsiteRows = tuple[tuple[int, int], Tensor | slice, Tensor]
OnsiteRows = tuple[int, Tensor | slice, Tensor]
HeadMaps = dict[PartName, list[dict[PairKind, Contracted]]]
"""For each part of H and each of its heads."""


@dataclass
class Prediction:
    """Standardized coefficients h and potentials V of shells; H = B + sigma h + 1/2 (V_i + V_j) S.

    Attributes
    ----------
    offsite : dict of str to list of ((zi, zj), bonds, (n, copies, size) tensor)
        For each part of H, per pair of elements.
    onsite : dict of str to list of (z, atoms, (n, copies, size) tensor)
        For each part of H, per element.
    V : Potentials or None
        Of the shells, see :mod:`deeph.nn.shell_potential`.
    """

    offsite: dict[PartName, list[OffsiteRows]]
    onsite: dict[PartName, list[OnsiteRows]]
    V: Potentials | None = None


class HamiltonianModel(nn.Module):
    """Equivariant network for the blocks of a Hamiltonian: spin-free, with collinear spins, or of spinors.

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
    parts : sequence of str
        The parts of H that are not zero, see :mod:`deeph.physics.spin_parts`.
    magnetic : mapping of int to float
        Elements with magnetic moments of their own, and the mean size of these in the training set, Bohr magneton. Where parts of H are odd
        under time reversal, the moments of these elements are what the network is given.
    given : Given
        Which known matrices it takes.

    Attributes
    ----------
    spin : tuple of SpinPart
        The parts of H.
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
        parts: Iterable[PartName] = ("A0",),
        magnetic: Mapping[int, float] | None = None,
        given: Given = NOTHING_GIVEN,
    ) -> None:
        super().__init__()
        self.config, self.basis, self.cutoffs, self.degree, self.given = config, basis, cutoffs, degree, given
        self.filling, self.origin = Filling(), dict[str, Any]()
        self.free_zero = False  # whether the training data had different energy zeros, so that those of predictions are arbitrary
        self.spin = spin_parts(basis.spin, parts)
        self.magnetic = dict(magnetic or {})
        self._trained = trained
        self.register_buffer("n_orbitals", torch.as_tensor(orbital_counts(basis)), persistent=False)

        check_family(config, magnetic=any(part.odd for part in self.spin))
        self.trunk = trunk = make_trunk(config, self.spin, largest_l(config, basis, self.spin), cutoffs, degree)
        self.final_norm = AtomNorm(trunk.l_max, trunk.channels)
        self.readouts = nn.ModuleDict({p.name: Readout(p, basis.shells, trunk.layout, trunk.channels, config.rank) for p in self.spin})
        flat, degree_ = trained is None, config.baseline_degree
        tables = {p: self.tables(p.name) for p in self.spin}
        self.baselines = nn.ModuleDict({p.name: Baseline(p, t.pairs, t.atoms, cutoffs, degree_, flat=flat) for p, t in tables.items()})
        self.shell_potential = ShellPotential(self.tables("A0"), cutoffs, trunk.channels, config.rank) if given.potential else None

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
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return self.trunk.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.trunk.device

    @property
    def trained(self) -> TrainedLengths:
        """Bond lengths of the training set; in old model files all between the shortest one and the cutoff."""
        if self._trained is not None:
            return self._trained
        met = {kind: self.baseline().pair(kind) for kind in self.tables("A0").pairs if self.baseline().pair(kind).series.any()}
        return {kind: [(float(functions.shortest), self.cutoffs[kind])] for kind, functions in met.items()}

    def tables(self, part: PartName) -> Tables:
        """Layout of the coefficients of a part of H."""
        return cast("Readout", self.readouts[part]).tables

    def baseline(self, part: PartName = "A0") -> Baseline:
        """What is known of a part of H before training."""
        return cast("Baseline", self.baselines[part])

    @property
    def n_spin(self) -> int:
        """Components of the spin vectors: 1 of collinear spins, else 3."""
        return 1 if self.basis.spin == "collinear" else 3

    @property
    def is_magnetic(self) -> bool:
        """Whether the network is given magnetic moments."""
        return any(part.odd for part in self.spin)

    @property
    def largest_shell(self) -> int:
        """Highest l of the basis."""
        return max(l for shells in self.basis.shells.values() for l in shells)

    def moments_of(self, graph: Data) -> Tensor:
        """(n_atoms, n_spin) moments of a graph, none without magnetism."""
        return graph.moments if self.is_magnetic else torch.zeros(len(graph.numbers), 1, dtype=torch.float64, device=graph.numbers.device)

    def row_sizes(self, numbers: Tensor, bonds: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of each bond and of each atom, in the spin-free part."""
        n = self.get_buffer("n_orbitals")[numbers]
        return n[bonds[0]] * n[bonds[1]], n * n

    def chunks(self, n_bonds: int) -> list[slice]:
        """Runs of bonds that are processed together; their length changes no result."""
        step = self.config.chunk_bonds or max(n_bonds, 1)
        if self.device.type == "cuda":
            step = max(step, WIDE)
        return [slice(s, min(s + step, n_bonds)) for s in range(0, n_bonds, step)]

    def work(self, n_bonds: int) -> int:
        """How much there is to do for a prediction: that of the trunk, and one for the heads of each bond."""
        return n_bonds * (self.trunk.work + 1)

    def features(self, graph: Data, done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Final atom features (n_atoms, K, C), and bond features chunk by chunk.

        Parameters
        ----------
        graph : Data
            Sorted by pairs of elements.
        done : callable
            Hears of each piece of :meth:`work`.
        """
        if graph.bond_vector.requires_grad:
            raise ModelError(
                "derivatives of H with respect to the positions: the network keeps the frames of the bonds fixed in its gradient, which "
                "would be wrong; use differences of predictions at displaced positions"
            )
        x, e = self.trunk(graph, self.chunks(graph.bond_index.shape[1]), done)
        return x, e

    def contracted(self, kinds: Kinds) -> HeadMaps:
        """The maps of the heads for the pairs of elements of a graph."""
        return {p.name: cast("Readout", self.readouts[p.name]).contract([kind for kind, _ in kinds.bonds]) for p in self.spin}

    def offsite(self, graph: Data, kinds: Kinds, maps: HeadMaps, part: slice, e: BondFeatures) -> dict[PartName, list[OffsiteRows]]:
        """Standardized coefficients of a run of bonds, for each part of H, per pair of elements; rows count within the run.

        Parameters
        ----------
        graph : Data
            Sorted by pairs of elements.
        kinds, maps : Kinds, HeadMaps
            Of the whole graph, from :func:`deeph.nn.kinds.find_kinds` and :meth:`contracted`.
        part : slice
            Which bonds.
        e : BondFeatures
            Theirs.
        """
        features, scale, runs = by_sort(e, self.trunk.layout), inverse_size(e, self.trunk.layout)[:, None, None], kinds.within(part)
        D = bond_matrices(graph.bond_vector[part], 1) if self.is_magnetic else []
        scales = scale.split([rows.stop - rows.start for _, rows in runs])
        out: dict[PartName, list[OffsiteRows]] = {}
        for p in self.spin:
            found = cast("Readout", self.readouts[p.name]).offsite(features, runs, maps[p.name], D)
            out[p.name] = [(kind, rows, h * s) for (kind, rows), h, s in zip(runs, found, scales, strict=True)]
        return out

    def onsite(self, kinds: Kinds, x: Tensor) -> dict[PartName, list[OnsiteRows]]:
        """Standardized on-site coefficients, for each part of H, per element."""
        y = self.final_norm(x)
        own = [(z, rows, y[rows]) for z, rows in kinds.atoms]
        return {p.name: [(z, rows, cast("Readout", self.readouts[p.name]).onsite(h, z)) for z, rows, h in own] for p in self.spin}

    def potentials(self, kinds: Kinds, x: Tensor) -> Potentials | None:
        """Potentials of the shells of all atoms; None if the model has none."""
        if self.shell_potential is None:
            return None
        return cast("Potentials", self.shell_potential(kinds, self.final_norm(x), self.baseline().unit_onsite))

    def forward(self, graph: Data) -> Prediction:
        """Standardized coefficients of all bonds and atoms of a graph or batch."""
        kinds = graph.kinds if isinstance(graph.get("kinds"), Kinds) else find_kinds(graph.numbers, graph.bond_index)
        if kinds.order is not None:
            graph = sorted_bonds(graph, kinds.order)
        x, e = self.features(graph)
        maps, runs = self.contracted(kinds), self.chunks(graph.bond_index.shape[1])
        found: dict[PartName, dict[PairKind, list[Tensor]]] = {p.name: {} for p in self.spin}
        for run, bond in zip(runs, e, strict=True):
            for name, of_part in self.offsite(graph, kinds, maps, run, bond).items():
                for kind, _, h in of_part:
                    found[name].setdefault(kind, []).append(h)
        offsite = {
            name: [(kind, kinds.rows(rows), torch.cat(by_kind[kind])) for kind, rows in kinds.bonds] for name, by_kind in found.items()
        }
        return Prediction(offsite, self.onsite(kinds, x), self.potentials(kinds, x))

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
            "parts": [part.name for part in self.spin],
            "magnetic": [[z, size] for z, size in self.magnetic.items()],
            "given": self.given._asdict(),
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
        magnetic = {int(z): float(size) for z, size in description.get("magnetic", [])}
        given = description.get("given", {})
        if any(given.get(name) for name in REMOVED):
            raise ModelError("the model reads blocks of S or H0 as input, as this version cannot; train another one")
        given = {name: given[name] for name in Given._fields if name in given}
        sizes = {name: value for name, value in description["config"].items() if name not in REMOVED}
        if sizes.get("family", "so2") == "so2":
            sizes = {"bond_layers": 0, **sizes}  # files of earlier versions have none
        config = ModelConfig.model_validate_json(json.dumps(sizes))  # lists become tuples
        parts = description.get("parts", ["A0"])
        model = cls(config, basis, cutoffs, float(description["degree"]), trained, parts, magnetic, Given(**given))
        if "filling" in description:  # files of earlier versions do not tell
            model.filling = Filling.from_plain(description["filling"])
        model.free_zero = bool(description.get("free_zero", False))
        return model


def sorted_bonds(graph: Data, order: Tensor) -> Data:
    """What the network reads of a graph, its bonds in another order."""
    own = {name: graph[name] for name in ("numbers", "moments") if name in graph}
    of_bonds = {name: graph[name][order] for name in ("bond_vector", "frame") if name in graph}
    return Data(**own, **of_bonds, bond_index=graph.bond_index[:, order], num_nodes=len(graph.numbers))
