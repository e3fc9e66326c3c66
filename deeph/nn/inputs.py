"""Known matrices, S or H0, as input of a network: what is read of their blocks is added to the first features of bonds and atoms."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.nn.baseline import EDGE, Baseline
from deeph.nn.block_inputs import AtomInput, BondInput
from deeph.nn.bond import BondLayout, PartialFeatures
from deeph.nn.channels import Channels
from deeph.nn.kinds import Kinds, PairKind
from deeph.nn.radial import smooth_cutoff
from deeph.nn.rows import take_rows


class KnownInput(nn.Module):
    """One known matrix as input: what its own two-centre functions leave, in units of what that is at each bond length.

    Of S, which is a two-centre integral, nothing would be left: it is read in as it is, in units of its mean size.

    Parameters
    ----------
    baseline : Baseline
        Two-centre functions and scales of the matrix.
    layout : BondLayout
        Of the bond features.
    channels : Channels
        Of the atom features.
    rank : int
        Length of a shell-pair code.
    onsite : bool
        Whether on-site blocks are read, too; those of S are the same in all structures.
    """

    def __init__(self, baseline: Baseline, layout: BondLayout, channels: Channels, rank: int, *, onsite: bool) -> None:
        super().__init__()
        shells = {z: table.shells for z, table in baseline.atom_tables.items()}
        self.baseline = baseline
        self.bonds = BondInput(baseline.pair_tables, shells, layout, rank)
        self.atoms = AtomInput(baseline.atom_tables, layout.l_max, channels, rank) if onsite else None

    def offsite_values(self, kind: PairKind, r: Tensor, coefficients: Tensor) -> Tensor:
        """(n, size) coefficients in eV -> what is read in, of the order of one; zero at the cutoff, and where nothing was in training."""
        functions = self.baseline.pair(kind)
        known, level = functions.two_centre(r, r.new_zeros(len(r), 2, 1))[:, 0], functions.level(r)
        x = (coefficients - known) / level.clamp(min=self.baseline.floor / 10)
        return torch.where(level > 0, x, 0.0) * smooth_cutoff(r, functions.cutoff, EDGE)[:, None]

    def onsite_values(self, z: int, coefficients: Tensor) -> Tensor:
        """The same of on-site blocks."""
        scale = self.baseline.atom_scale(z)
        x = (coefficients - self.baseline.atom_mean(z)) / scale.clamp(min=self.baseline.floor / 10)
        return torch.where(scale > 0, x, 0.0)


class KnownInputs(nn.ModuleDict):
    """All known matrices that a model reads, by name; often none."""

    def reading(self, graph: Data, kinds: Kinds, atom_sizes: Tensor) -> "Reading":
        """Those of a graph, see :class:`Reading`."""
        return Reading({name: cast("KnownInput", known) for name, known in self.items()}, graph, kinds, atom_sizes)


class Reading:
    """The known matrices of one graph, which add to the first features of a network.

    Parameters
    ----------
    inputs : mapping of str to KnownInput
        How each matrix is read.
    graph : Data
        With ``offsite_input_M`` and ``onsite_input_M`` of each matrix M, its bonds sorted by pairs of elements.
    kinds : Kinds
        Its elements and pairs of elements.
    atom_sizes : (n_atoms,) int tensor
        Coefficients of the on-site block of each atom.
    """

    def __init__(self, inputs: Mapping[str, KnownInput], graph: Data, kinds: Kinds, atom_sizes: Tensor) -> None:
        self._inputs, self._graph, self._kinds, self._atom_sizes = inputs, graph, kinds, atom_sizes
        self._maps = {name: known.bonds.contract([kind for kind, _ in kinds.bonds]) for name, known in inputs.items()}
        sizes = {name: {kind: known.bonds.tables[kind].size for kind, _ in kinds.bonds} for name, known in inputs.items()}
        self._blocks = {name: kinds.split(graph[f"offsite_input_{name}"], sizes[name]) for name in inputs}

    def with_bonds(self, e: PartialFeatures, run: slice) -> PartialFeatures:
        """The features of a run of bonds, and what is read of their blocks."""
        met = [kind for kind, _ in self._kinds.within(run)]
        for name, known in self._inputs.items():
            rows = self._kinds.rows_within(run, self._blocks[name])
            read = known.bonds(list(zip(met, rows, strict=True)), self._maps[name])
            e = [b if a is None else a if b is None else a + b for a, b in zip(e, read, strict=True)]
        return e

    def with_atoms(self, x: Tensor) -> Tensor:
        """The features of all atoms, and what is read of their blocks."""
        for name, known in self._inputs.items():
            if known.atoms is not None:
                flat = self._graph[f"onsite_input_{name}"]
                for z, rows in self._kinds.atoms:
                    read = known.atoms(take_rows(flat, self._atom_sizes, rows), z)
                    x = x + read if isinstance(rows, slice) else x.index_add(0, rows, read)
        return x
