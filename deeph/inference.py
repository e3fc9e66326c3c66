"""Prediction: H for structures whose overlap is known, written block by block.

Memory is that of the bond features (8 kB a bond for the default model); frames and radial functions are made anew chunk by chunk,
and finished blocks go straight to the file. The predicted H is exactly Hermitian. The members of an ensemble predict one after the other.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deeph.files.error_files import ERROR_MODES, write_sigma
from deeph.files.folders import new_folder
from deeph.files.matrix_file import MatrixWriter
from deeph.files.store import PREDICTED, copy_positions, element_order, write_overlap_part
from deeph.nn.ensemble import Ensemble, MeanBlocks, Predictor, members_of
from deeph.nn.frames import bond_matrices
from deeph.nn.given import beyond, put_zeroth
from deeph.nn.graph import check_compatible, check_reach, make_graph, select_bonds
from deeph.nn.kinds import find_kinds
from deeph.nn.model import HamiltonianModel
from deeph.nn.precision import output_dtype
from deeph.nn.rows import take_rows
from deeph.nn.threads import in_order
from deeph.physics.blocks import Array, PairBlocks, block_shapes
from deeph.physics.error_bars import ErrorBars, block_rms
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import PartName, join_spin
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from deeph.runtime.version import VERSION

CODE = "deeph"
"""What ``source`` calls the code that made a prediction."""
MOVED = ("code", "version", "format", "settings", "structure_sha256", "changes")
"""What the source of an overlap says of the overlap alone; a prediction keeps it under ``overlap``."""
DFT_ONLY = ("scf", "H0", "largest_dropped_H_eV")
"""What it says of another H than the predicted one."""
KEPT_MODES = 2**28
"""Bytes up to which the modes of the error, which only error bars of levels need, are kept without being asked for."""


def predict(model: Predictor, structure: Hamiltonian) -> Hamiltonian:
    """H of a structure, in memory.

    Parameters
    ----------
    model : HamiltonianModel or Ensemble
        From :func:`deeph.training.checkpoint.load_model`.
    structure : Hamiltonian
        Needs S, and H0 if the model learned H - H0; an H that it may hold is not looked at.

    Returns
    -------
    Hamiltonian
        With H in eV on the pattern of S, float32 unless that is too coarse (:func:`deeph.nn.precision.output_dtype`). Its Fermi level is
        unknown (None): the energy zero of H is the model's, and ``fermi_guess`` is where that of the training data was. ``source`` names
        the model. Of an ensemble H is the mean of its members, with ``error_bars``.

    Raises
    ------
    ModelError
        If the model does not know an element, the basis, the kind of spin, or neighbours of some elements or at some distance, or H0 is
        missing.
    DataError
        If a pair of the overlap has no partner, an atom has no on-site block, or two atoms lie at one place.
    """
    check_reach(structure, members_of(model)[0])
    return predict_anyway(model, structure)


def predict_anyway(model: Predictor, structure: Hamiltonian) -> Hamiltonian:
    """The same without a look at what the model was trained on: for errors against DFT, which tell more."""
    first, pairs = members_of(model)[0], structure.S.pairs
    check_compatible(structure, first)
    dtype = output_dtype(first, structure)
    shapes, n_spin = block_shapes(structure.basis, structure.system.numbers, pairs, spin=True), structure.basis.n_spin
    H = PairBlocks.zeros(pairs, shapes, n_spin, dtype)
    modes = None
    if keeps_modes(model, H):
        modes = PairBlocks.zeros(pairs, shapes, _n_modes(model) * n_spin, dtype)
        _add_common_mode(model, structure, modes)
    sigma = fill_mean(model, structure, H, modes)
    bars = None if sigma is None else ErrorBars(sigma, modes)
    return replace(_described(first, structure), H=H, r=structure.r, error_bars=bars)


def keeps_modes(model: Predictor, H: PairBlocks) -> bool:
    """Whether the modes of the error are kept without being asked for: those of an ensemble, where they are not large."""
    return 0 < _n_modes(model) * H.entries.nbytes <= KEPT_MODES


def _n_modes(model: Predictor) -> int:
    """One for each member, and the common one."""
    return len(model.members) + 1 if isinstance(model, Ensemble) else 0


def _add_common_mode(model: Predictor, structure: Hamiltonian, modes: PairBlocks) -> None:
    """The last mode is a multiple of S: what the members have in common is one error bar for all levels."""
    if isinstance(model, Ensemble):
        S = structure.S.to_spinor() if structure.basis.spin == "spinor" else structure.S
        modes.entries[-structure.basis.n_spin :] = model.calibration.levels[1] * S.entries


def predict_folder(
    model: Predictor,
    structure: Hamiltonian,
    folder: Path,
    *,
    given: Path | None = None,
    overwrite: bool = False,
    modes: bool = False,
    done: Callable[[float], object] = float,
) -> int:
    """Predict H and write it as a structure folder with ``hamiltonian_pred.h5``; blocks go to the file as they are made.

    Of an ensemble the error bars are written beside it, see :mod:`deeph.files.error_files`.

    Parameters
    ----------
    model, structure : HamiltonianModel or Ensemble, Hamiltonian
        As for :func:`predict`. The numbers in S are let go once they are in their file, unless the model reads them: do not keep a name
        for a large structure.
    folder : path
        Must not exist unless ``overwrite``; it appears complete or not at all.
    given : path, optional
        The structure folder that the structure is from: its position matrices go along.
    modes : bool
        Of an ensemble: keep the modes of the error although they are large.
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
    first = members_of(model)[0]
    check_reach(structure, first)  # before anything is written
    order = element_order(structure.system)
    H0 = structure.extra  # its numbers stay in their file if they are many
    structure = replace(_described(first, structure), extra=H0).permuted(order)
    pairs, n_spin = structure.S.pairs, structure.basis.n_spin
    shapes = block_shapes(structure.basis, structure.system.numbers, pairs, spin=True)
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_overlap_part(temporary, structure, order)
        if given is not None:
            copy_positions(given, temporary, order)
        dtype = output_dtype(first, structure)
        with MatrixWriter(temporary / PREDICTED, pairs, shapes, n_spin, dtype) as writer, ExitStack() as further:
            own = None
            if (modes and _n_modes(model)) or keeps_modes(model, writer.blocks):
                own = further.enter_context(MatrixWriter(temporary / ERROR_MODES, pairs, shapes, _n_modes(model) * n_spin, dtype)).blocks
                _add_common_mode(model, structure, own)
            if not first.given.potential:
                structure = replace(structure, S=replace(structure.S, entries=np.broadcast_to(np.float64(0), structure.S.entries.shape)))
            sigma = fill_mean(model, structure, writer.blocks, own, done)
        if sigma is not None:
            write_sigma(temporary, pairs, sigma)
    return len(pairs)


def fill_mean(
    model: Predictor, structure: Hamiltonian, H: PairBlocks, modes: PairBlocks | None = None, done: Callable[[float], object] = float
) -> FloatArray | None:
    """Put the H of a model, of an ensemble the mean of its members, into H.

    Parameters
    ----------
    model, structure : HamiltonianModel or Ensemble, Hamiltonian
        As for :func:`fill`.
    H : PairBlocks
        Zero.
    modes : PairBlocks, optional
        Room for the modes of the error, see :class:`deeph.physics.error_bars.ErrorBars`.
    done : callable
        As for :func:`predict_folder`.

    Returns
    -------
    (n_pairs,) array or None
        Standard deviations of the blocks, eV; None of a single model.
    """
    if not isinstance(model, Ensemble):
        fill(model, structure, H, done)
        return None
    n, n_spin = len(model.members), H.n_components
    squares = np.zeros(H.n_pairs)
    for number, member in enumerate(model.members):
        own = None if modes is None else replace(modes, entries=modes.entries[number * n_spin : (number + 1) * n_spin])
        fill(member, structure, MeanBlocks(H.pairs, H.shapes, H.entries, number, squares, own), lambda share: done(share / n))
    if modes is not None:
        factor = model.calibration.levels[0] / (n - 1) ** 0.5
        for component in range(n * n_spin):  # one after the other: they may be large and lie in a file
            modes.entries[component] -= H.entries[component % n_spin]
            modes.entries[component] *= factor
    spread = np.sqrt(squares / (n - 1) / (n_spin * H.shapes.prod(axis=1)))
    return model.calibration.sigma(structure, spread, block_rms(H))


def _described(model: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """The overlap with all that info.json says of the prediction, without what belongs to a DFT run."""
    source = structure.source
    of_overlap = source.get("overlap") or {key: source[key] for key in MOVED if key in source}
    kept = {key: value for key, value in source.items() if key not in (*MOVED, *DFT_ONLY) or (key == "H0" and model.given.zeroth)}
    n = structure.n_electrons
    zero = {"energy_zero": "arbitrary"} if model.free_zero else {}
    if model.free_zero:
        logger.warning("the energy zero of the prediction is arbitrary: the training data of the model had different ones")
    return replace(
        structure,
        H=None,
        r=None,
        error_bars=None,
        extra={},
        moments=structure.moments if model.is_magnetic else None,
        fermi_energy=None,
        fermi_guess=None if model.free_zero else model.filling.fermi,
        n_electrons=model.filling.n_electrons(structure.system.numbers) if n is None else n,
        source={**kept, **zero, "code": CODE, "version": VERSION, "model": dict(model.origin), "overlap": of_overlap},
        predicted=True,
    )


def fill(model: HamiltonianModel, structure: Hamiltonian, H: PairBlocks, done: Callable[[float], object] = float) -> None:
    """Put all predicted blocks, both directions of each pair, into H, which is zero so far.

    Of S only the pattern is looked at, unless the model reads the overlap.
    """
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
    H0 = structure.extra["H0"] if model.given.zeroth else None
    if H0 is not None:
        put_zeroth(H, H0, beyond(H.pairs, H.partners, bonds))
    with torch.inference_mode():
        for kind, index, blocks in _blocks(model, structure, bonds, own, lambda n: done(n / work)):
            values = (blocks if H0 is None else H0.take(index) + blocks).astype(H.entries.dtype)
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
    kinds = find_kinds(graph.numbers, graph.bond_index)
    x, features = model.features(graph, done)
    moments, onsite, maps = model.moments_of(graph), model.onsite(kinds, x), model.contracted(kinds)
    V, atom_sizes = model.potentials(kinds, x), model.row_sizes(graph.numbers, graph.bond_index)[1]
    S = {} if V is None else kinds.split(graph.offsite_overlap, {kind: table.size for kind, table in V.tables.pairs.items()})
    for number, (z, atoms, _) in enumerate(onsite["A0"]):
        parts: dict[PartName, Array] = {}
        for p in model.spin:
            baseline = model.baseline(p.name)
            h = onsite[p.name][number][2].double()
            coefficients = baseline.onsite(z, moments[atoms]) + baseline.atom_scale(z) * h
            if p.name == "A0" and V is not None:
                own_overlap = take_rows(graph.onsite_overlap, atom_sizes, atoms, coefficients.shape[2])
                coefficients = coefficients + V.onsite(z, atoms, own_overlap)[:, None]
            parts[p.name] = model.tables(p.name).atom_blocks(z, coefficients).cpu().numpy()
        rows = own[atoms if isinstance(atoms, slice) else atoms.cpu().numpy()]
        yield "onsite", rows, join_spin(parts, spin)
    runs = model.chunks(len(bonds))

    def of_run(number: int) -> list[tuple[IntArray, Array]]:
        run, out = runs[number], []
        e, features[number] = features[number], []  # free what is done
        vectors, ends = graph.bond_vector[run], moments[graph.bond_index[:, run]].transpose(0, 1)
        r, D = vectors.norm(dim=1), bond_matrices(vectors, max(model.largest_shell, 1))
        offsite = model.offsite(graph, kinds, maps, run, e)
        S_run = kinds.rows_within(run, S) if V is not None else []
        for of_kind in range(len(offsite["A0"])):
            parts: dict[PartName, Array] = {}
            for p in model.spin:
                kind, members, h = offsite[p.name][of_kind]
                functions = model.baseline(p.name).pair(kind)
                known, sigma = functions.two_centre(r[members], ends[members]), functions.scale(r[members])[:, None]
                if p.name == "A0" and V is not None:
                    known = known + V.offsite(kind, graph.bond_index[:, run][:, members], r[members], S_run[of_kind])[:, None]
                blocks = model.tables(p.name).pair_blocks(kind, known + sigma * h.double(), [d[members] for d in D])
                parts[p.name] = blocks.cpu().numpy()
            members = offsite["A0"][of_kind][1]
            index = bonds[run][members if isinstance(members, slice) else members.cpu().numpy()]
            out.append((index, join_spin(parts, spin)))
        return out

    for run, found in zip(runs, in_order(of_run, range(len(runs)), model.device), strict=True):
        for index, blocks in found:
            yield "offsite", index, blocks
        done(run.stop - run.start)
