"""A new model for given data: its basis and cutoffs are read off, its baseline is fitted, its weights are random."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deeph.config import ModelConfig
from deeph.nn.baseline import EDGE, AtomSample, BondSample, Coefficients
from deeph.nn.baseline_fit import fit_baselines
from deeph.nn.filling import Filled, Filling
from deeph.nn.given import Given
from deeph.nn.graph import frame_coefficients, relative_moments, select_bonds
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.known import LengthSurvey, TrainedLengths
from deeph.nn.model import HamiltonianModel
from deeph.nn.radial import smooth_cutoff
from deeph.nn.rows import take_rows
from deeph.nn.spin import SpinPart
from deeph.nn.spin_survey import survey_spin
from deeph.physics.basis import Basis, Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.soundness import check_apart
from deeph.physics.spin_parts import PartName
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import ModelError
from deeph.runtime.log import logger

MAX_STRUCTURES = 200  # more do not change the baseline
MAX_BYTES = 2**30  # of coefficients kept in memory; those of further structures are made anew each time


class Structures(Protocol):
    """Several structures by number: a list, or a :class:`deeph.files.dataset.Dataset`, which reads each one when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Hamiltonian: ...


def fit_model(config: ModelConfig, structures: Structures) -> HamiltonianModel:
    """A model with random weights whose baseline and scales are fitted to the given structures.

    Parameters
    ----------
    config : ModelConfig
        Sizes.
    structures : sequence of Hamiltonian
        The training set; each structure is taken several times, one at a time.

    Raises
    ------
    ModelError
        If there is no structure, the structures use different bases or kinds of spin, or lack an H0 that is to be used.
    DataError
        If two atoms lie at one place, or H is magnetic and no moments are known.
    UsageError
        If the configuration names magnetic elements that have no moment.
    """
    basis, cutoffs, kinds, filling, n_zeroth = _survey(structures)
    degree, trained = _neighbours(structures, cutoffs)
    parts, magnetic = survey_spin((structures[number] for number in range(len(structures))), basis.spin, config.magnetic_elements)
    model = HamiltonianModel(config, basis, cutoffs, degree, trained, parts, magnetic, Given.of(config, n_zeroth, len(kinds)))
    model.filling = filling
    if model.is_magnetic and config.n_layers == 1:
        logger.warning(
            "model.n_layers = 1: the exchange field between atoms that have no moments of their own will be zero; 2 layers learn it"
        )
    if config.family == "slater-koster" and "B0" in parts:
        logger.warning("H has an imaginary spin-free part; model.family = 'slater-koster' predicts zero for it")
    numbers = _sample(kinds)
    fit_baselines({part.name: model.baseline(part.name) for part in model.spin}, Samples(structures, numbers, model))
    return model


def _sample(kinds: list[set[object]]) -> list[int]:
    """Every so many structures, and each that is the first with some element or pair of elements."""
    step = -(-len(kinds) // MAX_STRUCTURES)
    seen = set[object]()
    numbers = []
    for number, own in enumerate(kinds):
        if number % step == 0 or own - seen:
            seen |= own
            numbers.append(number)
    return numbers


class Samples:
    """Coefficients of what is learned of H of some structures, one structure after the other, as often as asked for.

    Parameters
    ----------
    structures : sequence of Hamiltonian
        The training set.
    numbers : list of int
        Which of them.
    model : HamiltonianModel
        Its cutoffs and layouts.
    """

    def __init__(self, structures: Structures, numbers: list[int], model: HamiltonianModel) -> None:
        self.structures, self.numbers, self.model = structures, numbers, model
        self._kept: dict[int, dict[PartName, Coefficients]] = {}
        self._room = MAX_BYTES

    def __iter__(self) -> Iterator[dict[PartName, Coefficients]]:
        for number in self.numbers:
            if number in self._kept:
                yield self._kept[number]
                continue
            found = _coefficients(self.structures[number], self.model)
            size = sum(t.nbytes for c in found.values() for sample in (*c.pairs.values(), *c.atoms.values()) for t in sample)
            if size <= self._room:
                self._room -= size
                self._kept[number] = found
            yield found


def _coefficients(structure: Hamiltonian, model: HamiltonianModel) -> dict[PartName, Coefficients]:
    """Coefficients of the parts of H of one structure, by pairs of elements and by elements."""
    bonds = select_bonds(structure, model.cutoffs)
    numbers, pairs = torch.as_tensor(structure.system.numbers), structure.S.pairs[bonds]
    ends = torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T))
    bond_sizes, atom_sizes = model.row_sizes(numbers, ends)
    r = torch.as_tensor(np.linalg.norm(pair_vectors(structure.system, pairs), axis=1))
    moments = relative_moments(structure, model)
    out: dict[PartName, Coefficients] = {}
    found = frame_coefficients(structure, model, bonds, "H")
    for p in model.spin:
        (offsite, onsite), m = found[p.name], moments[:, : p.copies]

        def rows_of(flat: Tensor, sizes: Tensor, rows: Tensor | slice, size: int, p: SpinPart = p) -> Tensor:
            return take_rows(flat, p.n_spin * sizes, rows, p.copies * size).view(-1, p.copies, size)

        tables = model.tables(p.name)

        by_pair = {
            kind: BondSample(r[rows], m[ends[:, rows]].transpose(0, 1), rows_of(offsite, bond_sizes, rows, tables.pairs[kind].size))
            for kind, rows in bond_kinds(numbers, ends)
        }
        by_atom = {z: AtomSample(m[rows], rows_of(onsite, atom_sizes, rows, tables.atoms[z].size)) for z, rows in atom_kinds(numbers)}
        out[p.name] = Coefficients(by_pair, by_atom)
    return out


def _survey(structures: Structures) -> tuple[Basis, dict[tuple[int, int], float], list[set[object]], Filling, int]:
    """Common basis, cutoffs, elements and pairs of elements of each structure, how far levels are filled, and how many structures have H0.

    A cutoff is the sum of the orbital radii where the source gives them, also of elements that never meet; else so far beyond the longest
    bond seen that H may still be anything there.
    """
    shells: dict[int, tuple[int, ...]] = {}
    spins = set[Spin]()
    cutoffs: dict[tuple[int, int], float] = {}
    radius: dict[int, float] = {}
    kinds: list[set[object]] = []
    filled: list[Filled] = []
    n_zeroth = 0
    for number in range(len(structures)):
        s = structures[number]
        check_apart(s)
        n_zeroth += "H0" in s.extra
        filled.append(Filled(s.system.numbers, s.fermi_energy, s.n_electrons))
        spins.add(s.basis.spin)
        if len(spins) > 1:
            raise ModelError(f"the structures mix spin {' and '.join(sorted(spins))}; train on one kind at a time")
        for z, ls in s.basis.shells.items():
            if shells.setdefault(z, ls) != ls:
                raise ModelError(f"{SYMBOLS[z]} has the shells {list(shells[z])} in one structure and {list(ls)} in another")
        bonds = _longest_bonds(s)
        kinds.append({*s.basis.shells, *bonds})
        given = s.source.get("orbital_radii") or {}
        radii = {z: float(given[SYMBOLS[z]]) for z in s.basis.shells if SYMBOLS[z] in given}
        radius |= {z: max(r, radius.get(z, 0.0)) for z, r in radii.items()}
        for kind, longest in bonds.items():
            known = [radii[z] for z in kind if z in radii]
            cutoffs[kind] = max(cutoffs.get(kind, 0.0), sum(known) if len(known) == 2 else longest + EDGE)
    if not spins:
        raise ModelError("no structure to fit the baseline to: the training set is empty")
    widest = max(cutoffs.values(), default=1.0)
    pairs = [(a, b) for a in sorted(shells) for b in sorted(shells) if a <= b]
    for a, b in pairs:
        cutoffs.setdefault((a, b), radius[a] + radius[b] if a in radius and b in radius else widest)
    found = {kind: cutoffs[kind] for kind in pairs}
    return Basis(dict(sorted(shells.items())), spins.pop()), found, kinds, Filling.of(filled), n_zeroth


def _longest_bonds(structure: Hamiltonian) -> dict[tuple[int, int], float]:
    """Longest bond of each pair of elements in the pattern of S, Angstrom."""
    pairs, z = structure.S.pairs[~is_onsite(structure.S.pairs)], structure.system.numbers
    r = np.linalg.norm(pair_vectors(structure.system, pairs), axis=1)
    ends = np.sort(np.stack([z[pairs[:, 3]], z[pairs[:, 4]]]), axis=0)
    kinds, which = np.unique(ends, axis=1, return_inverse=True)
    return {(int(i), int(j)): float(r[which.reshape(-1) == n].max()) for n, (i, j) in enumerate(kinds.T)}


def _neighbours(structures: Structures, cutoffs: dict[tuple[int, int], float]) -> tuple[float, TrainedLengths]:
    """Mean over atoms of the sum of squared envelopes of their bonds; and the lengths of all bonds."""
    total, atoms, survey = 0.0, 0, LengthSurvey()
    for number in range(len(structures)):
        s = structures[number]
        bonds = select_bonds(s, cutoffs)
        survey.add(s, bonds)
        pairs, z = s.S.pairs[bonds], s.system.numbers
        r = torch.as_tensor(np.linalg.norm(pair_vectors(s.system, pairs), axis=1))
        limit = [cutoffs[a, b] for a, b in zip(z[pairs[:, 3]].tolist(), z[pairs[:, 4]].tolist(), strict=True)]
        total += 2 * float(smooth_cutoff(r, torch.tensor(limit, dtype=r.dtype)).square().sum())
        atoms += s.system.n_atoms
    return max(total / max(atoms, 1), 1e-3), survey.lengths()
