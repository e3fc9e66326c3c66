"""Prediction: H for structures whose overlap is known, written block by block.

Memory is that of the bond features (8 kB a bond for the default model); frames and radial functions are made anew chunk by chunk,
and finished blocks go straight to the file. The predicted H is exactly Hermitian.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deeph.files.folders import new_folder
from deeph.files.matrix_file import MatrixWriter
from deeph.files.store import PREDICTED, element_order, write_overlap_part
from deeph.nn.frames import bond_matrices
from deeph.nn.graph import check_compatible, check_reach, make_graph, select_bonds
from deeph.nn.kinds import find_kinds
from deeph.nn.model import HamiltonianModel
from deeph.nn.precision import output_dtype
from deeph.physics.blocks import Array, PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import PartName, join_spin
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from deeph.runtime.version import VERSION

CODE = "deeph"
"""What ``source`` calls the code that made a prediction."""
MOVED = ("code", "version", "format", "settings", "structure_sha256", "changes")
"""What the source of an overlap says of the overlap alone; a prediction keeps it under ``overlap``."""
DFT_ONLY = ("scf", "H0", "largest_dropped_H_eV")
"""What it says of another H than the predicted one."""


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
        With H in eV on the pattern of S, float32 unless that is too coarse (:func:`deeph.nn.precision.output_dtype`). Its Fermi level is
        unknown (None): the energy zero of H is the model's, and ``fermi_guess`` is where that of the training data was. ``source`` names
        the model.

    Raises
    ------
    ModelError
        If the model does not know an element, the basis, the kind of spin, or neighbours of some elements or at some distance.
    DataError
        If a pair of the overlap has no partner, an atom has no on-site block, or two atoms lie at one place.
    """
    check_reach(structure, model)
    return predict_anyway(model, structure)


def predict_anyway(model: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """The same without a look at what the model was trained on: for errors against DFT, which tell more."""
    check_compatible(structure, model)
    pairs, dtype = structure.S.pairs, output_dtype(model, structure.system.numbers)
    shapes = block_shapes(structure.basis, structure.system.numbers, pairs, spin=True)
    H = PairBlocks.zeros(pairs, shapes, structure.basis.n_spin, dtype)
    fill(model, structure, H)
    return replace(_described(model, structure), H=H, r=structure.r)


def predict_folder(
    model: HamiltonianModel, structure: Hamiltonian, folder: Path, *, overwrite: bool = False, done: Callable[[float], object] = float
) -> int:
    """Predict H and write it as a structure folder with ``hamiltonian_pred.h5``; blocks go to the file as they are made.

    Parameters
    ----------
    model, structure : HamiltonianModel, Hamiltonian
        As for :func:`predict`. The numbers in S are let go once they are in their file: do not keep a name for a large structure.
    folder : path
        Must not exist unless ``overwrite``; it appears complete or not at all.
    done : callable
        Hears what share of the work each finished piece was, 1 in all.

    Returns
    -------
    int
        Number of blocks.

    Raises
    ------
    ModelError, DataError
        As for :func:`predict`, and a FolderExistsError if there is something at ``folder``.
    """
    check_reach(structure, model)  # before anything is written
    order = element_order(structure.system)
    structure = _described(model, structure).permuted(order)
    pairs = structure.S.pairs
    shapes = block_shapes(structure.basis, structure.system.numbers, pairs, spin=True)
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_overlap_part(temporary, structure, order)
        structure = replace(structure, S=replace(structure.S, entries=np.broadcast_to(np.float64(0), structure.S.entries.shape)))
        dtype = output_dtype(model, structure.system.numbers)
        with MatrixWriter(temporary / PREDICTED, pairs, shapes, structure.basis.n_spin, dtype) as writer:
            fill(model, structure, writer.blocks, done)
    return len(pairs)


def _described(model: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """The overlap with all that info.json says of the prediction, without what belongs to a DFT run."""
    source = structure.source
    of_overlap = source.get("overlap") or {key: source[key] for key in MOVED if key in source}
    kept = {key: value for key, value in source.items() if key not in (*MOVED, *DFT_ONLY)}
    n = structure.n_electrons
    zero = {"energy_zero": "arbitrary"} if model.free_zero else {}
    if model.free_zero:
        logger.warning("the energy zero of the prediction is arbitrary: the training data of the model had different ones")
    return replace(
        structure,
        H=None,
        r=None,
        extra={},
        moments=structure.moments if model.is_magnetic else None,
        fermi_energy=None,
        fermi_guess=None if model.free_zero else model.filling.fermi,
        n_electrons=model.filling.n_electrons(structure.system.numbers) if n is None else n,
        source={**kept, **zero, "code": CODE, "version": VERSION, "model": dict(model.origin), "overlap": of_overlap},
        predicted=True,
    )


def fill(model: HamiltonianModel, structure: Hamiltonian, H: PairBlocks, done: Callable[[float], object] = float) -> None:
    """Put all predicted blocks, both directions of each pair, into H; of S only the pattern is looked at."""
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
    work = max(model.work(len(bonds)), 1)
    with torch.inference_mode():
        for kind, index, blocks in _blocks(model, structure, bonds, own, lambda n: done(n / work)):
            values = blocks.astype(H.entries.dtype)
            adjoint = values.conj().swapaxes(-1, -2)
            if kind == "onsite":
                H.put(index, (values + adjoint) / 2)
            else:
                H.put(index, values)
                H.put(H.partners[index], np.ascontiguousarray(adjoint))


def _blocks(
    model: HamiltonianModel, structure: Hamiltonian, bonds: IntArray, own: IntArray, done: Callable[[int], object]
) -> Iterator[tuple[str, IntArray, Array]]:
    """Yield (kind, positions in the pattern, (n_components, n, rows, columns) blocks in eV) of equally shaped blocks."""
    graph, spin = make_graph(structure, model, targets=False).to(model.device), model.basis.spin
    x, features = model.features(graph, done)
    kinds = find_kinds(graph.numbers, graph.bond_index)
    moments, onsite, maps = model.moments_of(graph), model.onsite(kinds, x), model.contracted(kinds)
    for number, (z, atoms, _) in enumerate(onsite["A0"]):
        parts: dict[PartName, Array] = {}
        for p in model.spin:
            baseline = model.baseline(p.name)
            h = onsite[p.name][number][2].double()
            coefficients = baseline.onsite(z, moments[atoms]) + baseline.atom_scale(z) * h
            parts[p.name] = model.tables(p.name).atom_blocks(z, coefficients).cpu().numpy()
        rows = own[atoms if isinstance(atoms, slice) else atoms.cpu().numpy()]
        yield "onsite", rows, join_spin(parts, spin)
    for number, run in enumerate(model.chunks(len(bonds))):
        e, features[number] = features[number], []  # free what is done
        vectors, ends = graph.bond_vector[run], moments[graph.bond_index[:, run]].transpose(0, 1)
        r, D = vectors.norm(dim=1), bond_matrices(vectors, max(model.largest_shell, 1))
        offsite = model.offsite(graph, kinds, maps, run, e)
        for of_kind in range(len(offsite["A0"])):
            parts = {}
            for p in model.spin:
                kind, members, h = offsite[p.name][of_kind]
                functions = model.baseline(p.name).pair(kind)
                known, sigma = functions.two_centre(r[members], ends[members]), functions.scale(r[members])[:, None]
                blocks = model.tables(p.name).pair_blocks(kind, known + sigma * h.double(), [d[members] for d in D])
                parts[p.name] = blocks.cpu().numpy()
            members = offsite["A0"][of_kind][1]
            index = bonds[run][members if isinstance(members, slice) else members.cpu().numpy()]
            yield "offsite", index, join_spin(parts, spin)
        done(run.stop - run.start)
