"""A structure as the network sees it: atoms, half of the bonds, and (for training) coefficients to learn."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.frames import bond_matrices
from deeph.nn.given import beyond
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.known import check_known, unfamiliar
from deeph.nn.model import HamiltonianModel
from deeph.nn.rows import put_rows, take_rows
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import own_moments
from deeph.physics.pairs import is_onsite, pair_vectors, reversed_pairs
from deeph.physics.soundness import check_apart
from deeph.physics.spin_parts import PartName, split_spin
from deeph.physics.system import SYMBOLS, IntArray
from deeph.runtime.errors import ModelError
from deeph.runtime.log import logger

MatrixName = Literal["H", "S"]


def select_bonds(structure: Hamiltonian, cutoffs: dict[tuple[int, int], float]) -> IntArray:
    """Positions in the pattern of one of each two partners, the lighter element first, sorted by the elements, then by atom i.

    Pairs beyond the cutoff of their elements are left out (the network predicts zero for them).
    """
    pairs, numbers = structure.S.pairs, structure.system.numbers
    partner = reversed_pairs(pairs)
    # compare (Z_i, i, j, R) with the same of the partner, so that the choice is unique and lighter elements come first
    mine = np.concatenate([numbers[pairs[:, 3]][:, None], pairs[:, 3:], pairs[:, :3]], axis=1)
    theirs = np.concatenate([numbers[partner[:, 3]][:, None], partner[:, 3:], partner[:, :3]], axis=1)
    difference = mine - theirs
    first = np.argmax(difference != 0, axis=1)
    lower = difference[np.arange(len(pairs)), first] < 0
    length = np.linalg.norm(pair_vectors(structure.system, pairs), axis=1)
    limit = np.array([[cutoffs.get((min(a, b), max(a, b)), 0.0) for b in np.unique(numbers)] for a in np.unique(numbers)])
    place = np.searchsorted(np.unique(numbers), numbers)
    keep = lower & ~is_onsite(pairs) & (length < limit[place[pairs[:, 3]], place[pairs[:, 4]]])
    index = np.flatnonzero(keep)
    i, j = pairs[index, 3:].T
    return np.asarray(index[np.lexsort((j, i, numbers[j], numbers[i]))])


def make_graph(structure: Hamiltonian, model: HamiltonianModel, *, targets: bool) -> Data:
    """Build the graph of a structure.

    Parameters
    ----------
    structure : Hamiltonian
        With S, and with H if ``targets``.
    model : HamiltonianModel
        Gives cutoffs, layouts, baseline and precision.
    targets : bool
        Whether to add what is to be learned.

    Returns
    -------
    torch_geometric.data.Data
        ``numbers`` (n_atoms,), ``bond_index`` (2, n_bonds), ``bond_vector`` (n_bonds, 3) float64, for magnetic models ``moments``
        (n_atoms, n_spin) in units of the mean of each element. With targets also ``frame``. Flat arrays, bond by bond and atom by atom:
        with targets, and where potentials are predicted, ``offsite_overlap``, ``onsite_overlap``; with targets, for each part P of H,
        ``offsite_target_P``, ``offsite_scale_P``, ``onsite_target_P``.
        Targets are what the baseline leaves of H, or of H - H0, in eV. ``beyond_target_P`` and ``beyond_overlap`` are the elements of
        H (or H - H0) and S, one of each two partners, that lie beyond the cutoffs, where zero (or H0) is predicted; ``beyond_size`` is the
        number of those of S.

    Raises
    ------
    ModelError
        If the structure has an element, a basis or a kind of spin the model does not know.
    DataError
        If two atoms lie at one place.
    """
    check_compatible(structure, model)
    bonds = select_bonds(structure, model.cutoffs)
    pairs = structure.S.pairs[bonds]
    vectors = torch.as_tensor(pair_vectors(structure.system, pairs))
    graph = Data(
        numbers=torch.as_tensor(structure.system.numbers),
        bond_index=torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T)),
        bond_vector=vectors,
        num_nodes=structure.system.n_atoms,
    )
    if model.is_magnetic:
        graph.moments = relative_moments(structure, model)
    if targets or model.given.potential:
        graph.offsite_overlap, graph.onsite_overlap = (x.to(model.dtype) for x in frame_coefficients(structure, model, bonds, "S")["A0"])
    if targets:
        model.trunk.prepare(graph)
        _add_targets(graph, structure, model, bonds)
    return graph


def check_compatible(structure: Hamiltonian, model: HamiltonianModel) -> None:
    """Raise a ModelError that names the first thing the model does not know, or a DataError if two atoms lie at one place."""
    check_apart(structure)
    if structure.basis.spin != model.basis.spin:
        raise ModelError(
            f"the model was trained on Hamiltonians of spin '{model.basis.spin}'; the structure has spin '{structure.basis.spin}'"
        )
    for z in np.unique(structure.system.numbers).tolist():
        known = model.basis.shells.get(z)
        if known is None:
            elements = ", ".join(SYMBOLS[n] for n in model.basis.shells)
            raise ModelError(f"the model does not know {SYMBOLS[z]}; it was trained on {elements}")
        if known != structure.basis.shells[z]:
            raise ModelError(
                f"{SYMBOLS[z]} has the shells {list(structure.basis.shells[z])} in this structure, but the model was trained with "
                f"{list(known)}; run the DFT or overlap calculation with the basis of the training set"
            )
    model.given.check(structure)  # last: H0 of another element or basis would be of no use


def check_reach(structure: Hamiltonian, model: HamiltonianModel) -> None:
    """Refuse a structure whose bonds are nothing like those of the training set; warn of single ones that are not.

    Raises
    ------
    ModelError, DataError
        See :func:`check_compatible` and :func:`deeph.nn.known.check_known`.
    """
    check_compatible(structure, model)
    bonds = select_bonds(structure, model.cutoffs)
    check_known(structure, bonds, model.trained)
    far = int((~is_onsite(structure.S.pairs)).sum()) // 2 - len(bonds)
    if far:
        logger.warning("%d pairs lie beyond the cutoffs of the model; their blocks are %s", far, "H0" if model.given.zeroth else "zero")
    doubt = unfamiliar(structure, bonds, model.trained, model.cutoffs)
    if doubt:
        logger.warning("%s", doubt)


def relative_moments(structure: Hamiltonian, model: HamiltonianModel) -> Tensor:
    """(n_atoms, n_spin) magnetic moments in units of the mean of their element; zero of atoms that have none of their own.

    What is noise has to be zero: the norms of the network lift small features, and with a hundredth of its moment an atom would have an
    exchange field of the same size, up to a factor of two.
    """
    out = torch.zeros(structure.system.n_atoms, model.n_spin, dtype=torch.float64)
    if structure.moments is not None:
        moments, numbers = np.asarray(structure.moments, np.float64), structure.system.numbers
        given = torch.as_tensor(own_moments(moments, numbers, model.magnetic))[:, -model.n_spin :]  # collinear ones along z
        for z, size in model.magnetic.items():
            own = torch.as_tensor(numbers == z)
            out[own] = given[own] / size
    return out


def frame_coefficients(
    structure: Hamiltonian, model: HamiltonianModel, bonds: IntArray, name: MatrixName
) -> dict[PartName, tuple[Tensor, Tensor]]:
    """Coefficients of all parts of what is learned of H, or of S; flat, by bonds and by atoms, float64."""
    spin = "none" if name == "S" else structure.basis.spin
    matrix = model.given.learned(structure) if name == "H" else structure.S
    parts = [part for part in model.spin if name == "H" or part.name == "A0"]
    pairs, numbers = matrix.pairs[bonds], torch.as_tensor(structure.system.numbers)
    ends = torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T))
    bond_sizes, atom_sizes = model.row_sizes(numbers, ends)
    out: dict[PartName, tuple[Tensor, Tensor]] = {
        p.name: (
            torch.empty(p.n_spin * int(bond_sizes.sum()), dtype=torch.float64),
            torch.empty(p.n_spin * int(atom_sizes.sum()), dtype=torch.float64),
        )
        for p in parts
    }
    vectors = torch.as_tensor(pair_vectors(structure.system, pairs))
    for kind, rows in bond_kinds(numbers, ends):
        members = bonds[rows if isinstance(rows, slice) else rows.numpy()]
        blocks, D = split_spin(matrix.take(members), spin), bond_matrices(vectors[rows], max(model.largest_shell, 1))
        for p in parts:
            found = model.tables(p.name).pair_coefficients(kind, torch.as_tensor(blocks[p.name], dtype=torch.float64), D)
            put_rows(out[p.name][0], p.n_spin * bond_sizes, rows, found)
    own = np.flatnonzero(is_onsite(matrix.pairs))
    own = own[np.argsort(matrix.pairs[own, 3])]
    for z, rows in atom_kinds(numbers):
        members = own[rows if isinstance(rows, slice) else rows.numpy()]
        blocks = split_spin(matrix.take(members), spin)
        for p in parts:
            found = model.tables(p.name).atom_coefficients(z, torch.as_tensor(blocks[p.name], dtype=torch.float64))
            put_rows(out[p.name][1], p.n_spin * atom_sizes, rows, found)
    return out


def _add_targets(graph: Data, structure: Hamiltonian, model: HamiltonianModel, bonds: IntArray) -> None:
    coefficients = frame_coefficients(structure, model, bonds, "H")
    bond_sizes, atom_sizes = model.row_sizes(graph.numbers, graph.bond_index)
    r, moments = graph.bond_vector.norm(dim=1), model.moments_of(graph)
    for p in model.spin:
        offsite, onsite = coefficients[p.name]
        baseline, sizes = model.baseline(p.name), p.n_spin * bond_sizes
        scale = torch.empty(offsite.numel() // p.copies, dtype=offsite.dtype)
        for kind, rows in bond_kinds(graph.numbers, graph.bond_index):
            functions, ends = baseline.pair(kind), moments[graph.bond_index[:, rows]].transpose(0, 1)
            known = functions.two_centre(r[rows], ends).flatten(1)
            put_rows(offsite, sizes, rows, take_rows(offsite, sizes, rows, known.shape[1]) - known)
            put_rows(scale, sizes // p.copies, rows, functions.scale(r[rows]))
        for z, rows in atom_kinds(graph.numbers):
            sizes = p.n_spin * atom_sizes
            known = baseline.onsite(z, moments[rows]).flatten(1)
            put_rows(onsite, sizes, rows, take_rows(onsite, sizes, rows, known.shape[1]) - known)
        for name, values in (("offsite_target", offsite), ("offsite_scale", scale), ("onsite_target", onsite)):
            graph[f"{name}_{p.name}"] = values.to(model.dtype)
    _add_beyond(graph, structure, model, bonds)


def _add_beyond(graph: Data, structure: Hamiltonian, model: HamiltonianModel, bonds: IntArray) -> None:
    """Elements of H and S of pairs beyond the cutoffs, shape by shape."""
    learned, far = model.given.learned(structure), beyond(structure.S.pairs, structure.S.partners, bonds)
    overlap, of_parts = [np.zeros(0)], {p.name: [np.zeros(0)] for p in model.spin}
    for _, index in structure.S.selected(far).groups():
        overlap.append(structure.S.take(far[index]).ravel())
        blocks = split_spin(learned.take(far[index]), structure.basis.spin)
        for name, found in of_parts.items():
            found.append(blocks[name].ravel())
    graph.beyond_overlap = torch.as_tensor(np.concatenate(overlap)).to(model.dtype)
    graph.beyond_size = torch.tensor([len(graph.beyond_overlap)])
    for name, found in of_parts.items():
        graph[f"beyond_target_{name}"] = torch.as_tensor(np.concatenate(found)).to(model.dtype)
