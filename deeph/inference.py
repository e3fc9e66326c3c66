"""Prediction: H for structures whose overlap is known, written block by block.

Memory is that of the bond features (8 kB a bond for the default model); frames and radial functions are made anew chunk by chunk,
and finished blocks go straight to the file. The predicted H is exactly Hermitian.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from deeph.files.folders import new_folder
from deeph.files.matrix_file import MatrixWriter
from deeph.files.store import PREDICTED, element_order, write_overlap_part
from deeph.nn.frames import bond_matrices
from deeph.nn.graph import check_compatible, make_graph, select_bonds
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger


def predict(model: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """H of a structure, in memory.

    Parameters
    ----------
    model : HamiltonianModel
        From :func:`deeph.training.checkpoint.load_model`.
    structure : Hamiltonian
        Needs S; an H that it may hold is not looked at.

    Returns
    -------
    Hamiltonian
        With H in eV, float32, on the pattern of S. Its Fermi level is unknown (None): the energy zero of H is the model's.

    Raises
    ------
    ModelError
        If the model does not know an element, the basis or the kind of spin.
    DataError
        If a pair of the overlap has no partner, or an atom has no on-site block.
    """
    pairs = structure.S.pairs
    H = PairBlocks.zeros(pairs, block_shapes(structure.basis, structure.system.numbers, pairs, spin=True), dtype=np.float32)
    fill(model, structure, H)
    return replace(structure, H=H, fermi_energy=None, moments=None, extra={}, predicted=True)


def predict_folder(model: HamiltonianModel, structure: Hamiltonian, folder: Path, *, overwrite: bool = False) -> None:
    """Predict H and write it as a structure folder with ``hamiltonian_pred.h5``; blocks go to the file as they are made."""
    check_compatible(structure, model)  # before anything is written
    if model.free_zero:
        logger.warning("the energy zero of the prediction is arbitrary: the training data of the model had different ones")
        structure = replace(structure, source={**structure.source, "energy_zero": "arbitrary"})
    order = element_order(structure.system)
    structure = replace(structure, H=None, r=None, fermi_energy=None, moments=None, extra={}).permuted(order)
    pairs = structure.S.pairs
    shapes = block_shapes(structure.basis, structure.system.numbers, pairs, spin=True)
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_overlap_part(temporary, structure, order)
        with MatrixWriter(temporary / PREDICTED, pairs, shapes, 1, np.float32) as writer:
            fill(model, structure, writer.blocks)


def fill(model: HamiltonianModel, structure: Hamiltonian, H: PairBlocks) -> None:
    """Put all predicted blocks, both directions of each pair, into H."""
    check_compatible(structure, model)
    missing = H.partners < 0
    if missing.any():
        R1, R2, R3, i, j = H.pairs[int(np.argmax(missing))].tolist()
        raise DataError(f"the overlap holds R = {R1} {R2} {R3}, i = {i}, j = {j} but not its partner (-R, j, i); compute it anew")
    own = np.flatnonzero(is_onsite(H.pairs))
    if len(own) != structure.system.n_atoms:
        raise DataError(f"the overlap holds {len(own)} on-site blocks for {structure.system.n_atoms} atoms; compute it anew")
    own = own[np.argsort(H.pairs[own, 3])]
    bonds = select_bonds(structure, model.cutoffs)
    beyond = (H.n_pairs - len(own)) // 2 - len(bonds)
    if beyond:
        logger.warning("%d pairs lie beyond the cutoffs of the model; their blocks are zero", beyond)
    with torch.inference_mode():
        for kind, index, blocks in _blocks(model, structure, bonds, own):
            values = blocks.astype(H.entries.dtype)
            if kind == "onsite":
                H.put(index, (values + values.swapaxes(-1, -2)) / 2)
            else:
                H.put(index, values)
                H.put(H.partners[index], np.ascontiguousarray(values.swapaxes(-1, -2)))


def _blocks(
    model: HamiltonianModel, structure: Hamiltonian, bonds: IntArray, own: IntArray
) -> Iterator[tuple[str, IntArray, npt.NDArray[np.float64]]]:
    """Yield (kind, positions in the pattern, blocks in eV) of equally shaped blocks."""
    graph = make_graph(structure, model, targets=False).to(model.device)
    x, features = model.features(graph)
    for z, atoms, h in model.onsite(graph.numbers, x):
        rows = own[atoms if isinstance(atoms, slice) else atoms.cpu().numpy()]
        coefficients = model.baseline.atom_mean(z) + model.baseline.atom_scale(z) * h.double()
        yield "onsite", rows, model.atom_tables[z].to_blocks(coefficients).cpu().numpy()
    for number, part in enumerate(model.chunks(len(bonds))):
        e, features[number] = features[number], []  # free what is done
        vectors = graph.bond_vector[part]
        r = vectors.norm(dim=1)
        D = bond_matrices(vectors, max(model.angular))
        for kind, members, h in model.offsite(graph, part, e):
            functions = model.baseline.pair(kind)
            coefficients = functions.two_centre(r[members]) + functions.scale(r[members]) * h.double()
            blocks = model.blocks_from_coefficients(kind, coefficients, [d[members] for d in D])
            index = bonds[part][members if isinstance(members, slice) else members.cpu().numpy()]
            yield "offsite", index, blocks.cpu().numpy()
