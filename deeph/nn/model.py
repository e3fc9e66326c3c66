"""The network from top to bottom: embed, interact, read out."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.config import ModelConfig
from deeph.nn.atom import AtomLinear, AtomNorm
from deeph.nn.baseline import Baseline
from deeph.nn.bond import BondFeatures, BondLayout, Frame, PartialFeatures
from deeph.nn.filling import Filling
from deeph.nn.frames import bond_matrices, frame_matrix
from deeph.nn.given import NOTHING_GIVEN, Given, KnownName
from deeph.nn.inputs import KnownInput, added
from deeph.nn.interaction import BondGeometry, Interaction
from deeph.nn.irreps import couplings_fingerprint
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.known import TrainedLengths
from deeph.nn.radial import RadialBasis, smooth_cutoff
from deeph.nn.readout import Readout, Tables, all_codes
from deeph.nn.rows import take_rows
from deeph.nn.shell_potential import ShellPotential, offsite_shift, onsite_shift
from deeph.nn.sizes import channels_of, largest_l, orbital_counts
from deeph.nn.so2 import bond_norm
from deeph.nn.spin import spin_parts
from deeph.physics.basis import Basis
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.spin_parts import PartName
from deeph.runtime.errors import ModelError

WIDTH = 32  # length of the element embedding
WIDE = 20_000  # bonds at a time without gradients on a GPU, which idles with as few as suit a processor's cache
LAYER = 3  # times as much work as the embedding of the same bonds, or the heads
KEEP = 50_000  # bonds whose geometry (12 kB each) is kept from layer to layer when no gradients need it


OffsiteRows = tuple[tuple[int, int], Tensor | slice, Tensor]
OnsiteRows = tuple[int, Tensor | slice, Tensor]


@dataclass
class Prediction:
    """Standardized coefficients h and potentials V of shells; H = B + sigma h + 1/2 (V_i + V_j) S.

    Attributes
    ----------
    offsite : dict of str to list of ((zi, zj), bonds, (n, copies, size) tensor)
        For each part of H, per pair of elements.
    onsite : dict of str to list of (z, atoms, (n, copies, size) tensor)
        For each part of H, per element.
    V : tensor or None
        Potentials of the shells, eV, see :meth:`HamiltonianModel.potentials`.
    """

    offsite: dict[PartName, list[OffsiteRows]]
    onsite: dict[PartName, list[OnsiteRows]]
    V: Tensor | None = None


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
        self.l_max = largest_l(config, basis, self.spin)
        self._trained = trained
        self.register_buffer("n_orbitals", torch.as_tensor(orbital_counts(basis)), persistent=False)

        self.channels, of_bonds = channels_of(config, self.spin, bond=False), channels_of(config, self.spin, bond=True)
        self.layout = BondLayout(self.l_max, of_bonds)
        even = len(self.layout.sectors[0].channels)  # Sigma+ channels
        hidden = config.radial_hidden
        self.element = nn.Embedding(119, WIDTH)
        self.atom_scalars = nn.Linear(WIDTH, config.node_channels)
        self.radial_basis = RadialBasis(config.n_radial, max(cutoffs.values()))
        self.radial = nn.Sequential(nn.Linear(config.n_radial + 2 * WIDTH, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.bond_even = nn.Linear(hidden, even)
        self.bond_odd = nn.Linear(hidden, even)
        self.polarity = nn.Linear(WIDTH, even, bias=False)
        self.first_message = nn.Linear(hidden, even)
        self.first_atoms = AtomLinear(self.l_max, of_bonds, self.channels)
        layers = [Interaction(self.channels, self.layout, hidden, degree) for _ in range(config.n_layers)]
        self.layers = nn.ModuleList(layers)
        self.final_norm = AtomNorm(self.l_max, self.channels)
        self.readouts = nn.ModuleDict({p.name: Readout(p, basis.shells, self.layout, self.channels, config.rank) for p in self.spin})
        flat, degree_ = trained is None, config.baseline_degree
        tables = {p: self.tables(p.name) for p in self.spin}
        self.baselines = nn.ModuleDict({p.name: Baseline(p, t.pairs, t.atoms, cutoffs, degree_, flat=flat) for p, t in tables.items()})
        odd = [sort for sort in self.channels.sorts if sort.odd]
        self.moments = nn.ModuleList(nn.Linear(WIDTH, self.channels.of_sort(sort)[0 if sort.vector else 1].number) for sort in odd)
        self.inputs = nn.ModuleDict()
        for name in given.inputs:
            known = Baseline(self.spin[0], tables[self.spin[0]].pairs, tables[self.spin[0]].atoms, cutoffs, degree_)
            self.inputs[name] = KnownInput(known, self.layout, self.channels, config.rank, onsite=name == "H0")
        self.shell_potential = ShellPotential(basis.shells, config.node_channels, config.rank) if given.potential else None

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
        met = {kind: self.baseline().pair(kind) for kind in self.tables("A0").pairs if self.baseline().pair(kind).series.any()}
        return {kind: [(float(functions.shortest), self.cutoffs[kind])] for kind, functions in met.items()}

    def tables(self, part: PartName) -> Tables:
        """Layout of the coefficients of a part of H."""
        return cast("Readout", self.readouts[part]).tables

    def baseline(self, part: PartName = "A0") -> Baseline:
        """What is known of a part of H before training."""
        return cast("Baseline", self.baselines[part])

    def known_input(self, name: KnownName) -> KnownInput:
        """How a known matrix is read in."""
        return cast("KnownInput", self.inputs[name])

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

    def frame(self, vectors: Tensor) -> Tensor:
        """(n, 3) bond vectors -> (n, K, K) rotations into the bond frames over sqrt 2, in the network's precision."""
        return (frame_matrix(bond_matrices(vectors.double(), self.l_max)) / 2**0.5).to(self.dtype)

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
        return [e[:, None]] + [None] * (len(self.layout.sectors) - 1), total

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
        first = torch.zeros(len(atoms), (self.l_max + 1) ** 2, self.config.bond_channels, dtype=self.dtype, device=self.device)
        e: list[PartialFeatures] = []
        read = self._reader(graph)
        for c, geometry in geometries():
            bond, first = self._embed(graph, geometry, first)
            e.append(read(parts[c], bond))
            done(len(geometry.radial))
        rest = sum(self.layout.channels.widths) - self.config.bond_channels
        x = self.first_atoms(nn.functional.pad(first * self.degree**-0.5, (0, rest))) + self._own(atoms, graph)
        for layer in cast("Iterable[Interaction]", self.layers):
            h = layer.prepare(x)
            total = torch.zeros_like(h)
            for c, geometry in geometries():
                e[c], total = layer.bond_step(h, e[c], geometry, total)
                done(LAYER * (parts[c].stop - parts[c].start))
            x = layer.atom_step(x, total)
        return x, cast("list[BondFeatures]", e)

    def _own(self, atoms: Tensor, graph: Data) -> Tensor:
        """(n_atoms, K, n) what atoms bring along: scalars of their element, and their moment, an axial vector odd under time reversal."""
        out = torch.zeros(len(atoms), (self.l_max + 1) ** 2, sum(self.channels.widths), dtype=self.dtype, device=self.device)
        out[:, 0, : self.config.node_channels] = self.atom_scalars(atoms)
        for sort, linear in zip((s for s in self.channels.sorts if s.odd), self.moments, strict=True):
            moments = graph.moments.to(out)[:, :, None] * linear(atoms)[:, None]  # (n_atoms, n_spin, channels)
            if sort.vector:
                start = self.channels.start(sort)
                out[:, 0, start : start + moments[0].numel()] = moments.flatten(1)
            else:
                start = self.channels.start(sort, pseudo=True)
                out[:, 1:4, start : start + moments.shape[-1]] = moments[:, [1, 2, 0]]  # l = 1 is y, z, x
        for name in self.given.inputs:
            if f"onsite_input_{name}" in graph:
                sizes = self.row_sizes(graph.numbers, graph.bond_index)[1]
                out = out + self.known_input(name).read_atoms(graph.numbers, graph[f"onsite_input_{name}"], sizes)
        return out

    def _reader(self, graph: Data) -> Callable[[slice, PartialFeatures], PartialFeatures]:
        """What adds the known matrices to the features of a run of bonds."""
        if not self.given.inputs:
            return lambda _, e: e
        sizes = self.row_sizes(graph.numbers, graph.bond_index)[0]
        ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]).tolist()
        kinds = [kind for kind, _ in bond_kinds(graph.numbers, graph.bond_index)]
        codes = {name: self.known_input(name).bonds.codes(kinds) for name in self.given.inputs}

        def read(run: slice, e: PartialFeatures) -> PartialFeatures:
            for name, own in codes.items():
                flat = graph[f"offsite_input_{name}"][ends[run.start] : ends[run.stop]]
                e = added(e, self.known_input(name).read_bonds(graph.numbers, graph.bond_index[:, run], flat, sizes[run], own))
            return e

        return read

    def offsite(self, graph: Data, part: slice, e: BondFeatures) -> dict[PartName, list[OffsiteRows]]:
        """Standardized coefficients of a run of bonds, for each part of H, per pair of elements; rows count within the run."""
        codes = all_codes(bond_norm(e, self.layout), self.layout)
        kinds = bond_kinds(graph.numbers, graph.bond_index[:, part])
        D = bond_matrices(graph.bond_vector[part], 1) if self.is_magnetic else []
        out: dict[PartName, list[OffsiteRows]] = {}
        for kind, rows in kinds:
            own, d = {sort: c[:, rows] for sort, c in codes.items()}, [x[rows] for x in D]
            for p in self.spin:
                out.setdefault(p.name, []).append((kind, rows, cast("Readout", self.readouts[p.name]).offsite(own, kind, d)))
        return out

    def onsite(self, numbers: Tensor, x: Tensor) -> dict[PartName, list[OnsiteRows]]:
        """Standardized on-site coefficients, for each part of H, per element."""
        y, kinds = self.final_norm(x), atom_kinds(numbers)
        return {p.name: [(z, rows, cast("Readout", self.readouts[p.name]).onsite(y[rows], z)) for z, rows in kinds] for p in self.spin}

    def potentials(self, numbers: Tensor, x: Tensor) -> Tensor | None:
        """(n_atoms, n) potentials of the shells of all atoms, eV; None if the model has none."""
        if self.shell_potential is None:
            return None
        unit = self.baseline().unit_onsite.to(self.dtype)
        return cast("Tensor", unit * self.shell_potential(numbers, self.final_norm(x)[:, 0, : self.config.node_channels]))

    def offsite_shift(self, graph: Data, V: Tensor, kind: tuple[int, int], rows: Tensor | slice) -> Tensor:
        """(n, size) coefficients of 1/2 (V_i + V_j) S of bonds between two elements, eV."""
        sizes, bonds = self.row_sizes(graph.numbers, graph.bond_index)[0], graph.bond_index[:, rows]
        S, r = take_rows(graph.offsite_overlap, sizes, rows), graph.bond_vector[rows].norm(dim=1)
        return offsite_shift(V, bonds, r, S, self.tables("A0").pairs[kind], self.cutoffs[kind])

    def onsite_shift(self, graph: Data, V: Tensor, z: int, rows: Tensor | slice) -> Tensor:
        """(n, size) coefficients of 1/2 (V_i + V_i) S of atoms of an element, eV."""
        sizes = self.row_sizes(graph.numbers, graph.bond_index)[1]
        return onsite_shift(V[rows], take_rows(graph.onsite_overlap, sizes, rows), self.tables("A0").atoms[z])

    def forward(self, graph: Data) -> Prediction:
        """Standardized coefficients of all bonds and atoms of a graph or batch."""
        x, e = self.features(graph)
        runs = self.chunks(graph.bond_index.shape[1])
        found: dict[PartName, dict[tuple[int, int], list[tuple[Tensor, Tensor]]]] = {p.name: {} for p in self.spin}
        for run, bond in zip(runs, e, strict=True):
            for name, of_part in self.offsite(graph, run, bond).items():
                for kind, members, h in of_part:
                    index = torch.arange(run.stop - run.start, device=self.device) if isinstance(members, slice) else members
                    found[name].setdefault(kind, []).append((index + run.start, h))
        offsite: dict[PartName, list[OffsiteRows]] = {}
        for name, by_kind in found.items():
            single = len(by_kind) == 1
            offsite[name] = [
                (kind, slice(None) if single else torch.cat([i for i, _ in pieces]), torch.cat([h for _, h in pieces]))
                for kind, pieces in by_kind.items()
            ]
        return Prediction(offsite, self.onsite(graph.numbers, x), self.potentials(graph.numbers, x))

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
        config = ModelConfig.model_validate_json(json.dumps(description["config"]))  # lists become tuples
        given = Given(**description.get("given", {}))
        model = cls(config, basis, cutoffs, float(description["degree"]), trained, description.get("parts", ["A0"]), magnetic, given)
        if "filling" in description:  # files of earlier versions do not tell
            model.filling = Filling.from_plain(description["filling"])
        model.free_zero = bool(description.get("free_zero", False))
        return model
