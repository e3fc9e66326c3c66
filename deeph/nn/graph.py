"""A structure as the network sees it: atoms, half of the bonds, and (for training) coefficients to learn."""

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.frames import bond_matrices, into_frame
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.known import check_known, unfamiliar
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import half_pairs, is_onsite, pair_vectors, reversed_pairs
from deeph.physics.soundness import check_apart
from deeph.physics.system import SYMBOLS, IntArray
from deeph.runtime.errors import ModelError
from deeph.runtime.log import logger


def select_bonds(structure: Hamiltonian, cutoffs: dict[tuple[int, int], float]) -> IntArray:
    """Positions in the pattern of one of each two partners, the lighter element first, sorted by atom i.

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
    return np.asarray(index[np.lexsort((pairs[index, 4], pairs[index, 3]))])


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
        ``numbers`` (n_atoms,), ``bond_index`` (2, n_bonds), ``bond_vector`` (n_bonds, 3) float64; with targets also ``frame``, and
        flat arrays, bond by bond and atom by atom: ``offsite_target``, ``offsite_scale``, ``offsite_overlap``, ``onsite_target``,
        ``onsite_overlap``. Targets are what the baseline leaves, in eV. ``beyond_target`` and ``beyond_overlap`` are the ``beyond_size``
        elements of H and S, one of each two partners, that lie beyond the cutoffs, where zero is predicted.

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
    if targets:
        graph.frame = model.frame(vectors)
        _add_targets(graph, structure, model, bonds)
    return graph


def check_compatible(structure: Hamiltonian, model: HamiltonianModel) -> None:
    """Raise a ModelError that names the first thing the model does not know, or a DataError if two atoms lie at one place."""
    check_apart(structure)
    if structure.basis.spin != "none":
        raise ModelError(f"this model predicts spin-free Hamiltonians; the structure has spin '{structure.basis.spin}'")
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
    beyond = int((~is_onsite(structure.S.pairs)).sum()) // 2 - len(bonds)
    if beyond:
        logger.warning("%d pairs lie beyond the cutoffs of the model; their blocks are zero", beyond)
    doubt = unfamiliar(structure, bonds, model.trained, model.cutoffs)
    if doubt:
        logger.warning("%s", doubt)


def take_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice) -> Tensor:
    """(n, size) equally long rows of a flat array whose rows have different lengths ``sizes``."""
    if isinstance(rows, slice):
        return flat.view(len(sizes), -1)
    return flat[_places(sizes, rows)]


def put_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice, values: Tensor) -> None:
    """Write (n, size) rows into a flat array; the reverse of :func:`take_rows`."""
    if isinstance(rows, slice):
        flat.copy_(values.reshape(-1))
    else:
        flat[_places(sizes, rows)] = values


def _places(sizes: Tensor, rows: Tensor) -> Tensor:
    starts = torch.cumsum(sizes, 0) - sizes
    return starts[rows][:, None] + torch.arange(int(sizes[rows[0]]), device=sizes.device)


def frame_coefficients(structure: Hamiltonian, model: HamiltonianModel, bonds: IntArray, name: str) -> tuple[Tensor, Tensor]:
    """Coefficients of H or S, flat, bond by bond and atom by atom, float64."""
    matrix = structure.hamiltonian if name == "H" else structure.S
    pairs, numbers = matrix.pairs[bonds], torch.as_tensor(structure.system.numbers)
    ends = torch.as_tensor(np.ascontiguousarray(pairs[:, 3:].T))
    bond_sizes, atom_sizes = model.row_sizes(numbers, ends)
    offsite, onsite = torch.empty(int(bond_sizes.sum()), dtype=torch.float64), torch.empty(int(atom_sizes.sum()), dtype=torch.float64)
    vectors = torch.as_tensor(pair_vectors(structure.system, pairs))
    for (zi, zj), rows in bond_kinds(numbers, ends):
        members = bonds[rows if isinstance(rows, slice) else rows.numpy()]
        blocks, D = torch.as_tensor(matrix.take(members)[0]), bond_matrices(vectors[rows], max(model.angular))
        local = into_frame(blocks, D, model.basis.shells[zi], model.basis.shells[zj])
        put_rows(offsite, bond_sizes, rows, model.pair_tables[zi, zj].to_coefficients(local))
    own = np.flatnonzero(is_onsite(matrix.pairs))
    own = own[np.argsort(matrix.pairs[own, 3])]
    for z, rows in atom_kinds(numbers):
        members = own[rows if isinstance(rows, slice) else rows.numpy()]
        put_rows(onsite, atom_sizes, rows, model.atom_tables[z].to_coefficients(torch.as_tensor(matrix.take(members)[0])))
    return offsite, onsite


def _add_targets(graph: Data, structure: Hamiltonian, model: HamiltonianModel, bonds: IntArray) -> None:
    offsite, onsite = frame_coefficients(structure, model, bonds, "H")
    graph.offsite_overlap, graph.onsite_overlap = frame_coefficients(structure, model, bonds, "S")
    bond_sizes, atom_sizes = model.row_sizes(graph.numbers, graph.bond_index)
    scale, r = torch.empty_like(offsite), graph.bond_vector.norm(dim=1)
    for kind, rows in bond_kinds(graph.numbers, graph.bond_index):
        functions = model.baseline.pair(kind)
        put_rows(offsite, bond_sizes, rows, take_rows(offsite, bond_sizes, rows) - functions.two_centre(r[rows]))
        put_rows(scale, bond_sizes, rows, functions.scale(r[rows]))
    for z, rows in atom_kinds(graph.numbers):
        put_rows(onsite, atom_sizes, rows, take_rows(onsite, atom_sizes, rows) - model.baseline.atom_mean(z))
    graph.offsite_target, graph.offsite_scale, graph.onsite_target = offsite, scale, onsite
    half = half_pairs(structure.S.pairs)
    beyond = half[~np.isin(half, np.concatenate([bonds, structure.S.partners[bonds]]))]
    for name, matrix in (("beyond_target", structure.hamiltonian), ("beyond_overlap", structure.S)):
        graph[name] = torch.as_tensor(matrix.selected(beyond).entries[0])
    graph.beyond_size = torch.tensor([len(graph.beyond_target)])
    for name in (
        "offsite_target",
        "offsite_scale",
        "offsite_overlap",
        "onsite_target",
        "onsite_overlap",
        "beyond_target",
        "beyond_overlap",
    ):
        graph[name] = graph[name].to(model.dtype)
