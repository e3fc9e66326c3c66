"""Predictions for whatever says what a structure is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeph.facade.overlaps import BasisFiles, overlap
from deeph.facade.reading import Source, read, to_structure
from deeph.facade.spectra import dense_mesh
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import IntArray, System
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from deeph.inference_moments import Moments
    from deeph.nn.ensemble import Predictor
    from deeph.nn.model import HamiltonianModel

SAME_PLACE = 1e-3
"""Angstrom; atoms and lattice vectors of files that agree to so much are the same."""


def predict(
    model: "Predictor",
    x: Source,
    overlap: Source | None = None,
    basis: BasisFiles | None = None,
    device: str | None = None,
    moments: "Moments | None" = None,
) -> Hamiltonian:
    """What :meth:`deeph.nn.model.HamiltonianModel.predict` does."""
    from deeph.inference import predict as predict_blocks
    from deeph.inference_moments import with_moments
    from deeph.nn.ensemble import members_of

    if device is not None:
        import torch

        if str(device).startswith("cuda") and not torch.cuda.is_available():
            raise UsageError(f"device {device!r}, but torch sees no GPU")
        model.to(device)
    first = members_of(model)[0]
    return predict_blocks(model, with_moments(_with_overlap(first, x, overlap, basis), moments, first))


def _with_overlap(model: "HamiltonianModel", x: Source, given: Source | None, basis: BasisFiles | None) -> Hamiltonian:
    """The structure x with its S, from wherever it comes."""
    if given is not None and basis is not None:
        raise UsageError("both overlap and basis are given: expected one of them")
    if basis is not None:
        return overlap(x, basis, spin=model.basis.spin)
    data = _read_with(model.given.extra, x if given is None else given)
    if not isinstance(data, Hamiltonian):
        raise UsageError(
            f"{data} {'' if given is None else 'given as overlap '}has no overlap matrix: give basis=... (the basis files of the training "
            "data, such as 'C6.0.pao:s2p2d1'), or overlap=... (a structure folder or Hamiltonian with S)"
        )
    if given is None:
        return data
    structure = to_structure(x)
    data = data.permuted(_same_atoms(structure.system, data.system))
    return data if structure.moments is None else replace(data, moments=structure.moments)


def _read_with(extra: Sequence[str], x: Source) -> System | Hamiltonian:
    """What :func:`read` gives, of a structure folder with further matrices."""
    from deeph.files.store import is_structure_folder, read_folder

    if extra and isinstance(x, str | Path) and is_structure_folder(Path(x).expanduser()):
        return read_folder(Path(x).expanduser(), positions=True, extra=extra)
    return read(x)


def _same_atoms(system: System, other: System) -> IntArray:
    """Where each atom of a structure is in the other one; an error unless both are the same."""
    off = np.abs(system.cell - other.cell).max()
    if off > SAME_PLACE:
        raise DataError(f"the overlap is that of another structure: lattice vectors differ by {off:.3g} Angstrom")
    if system.n_atoms != other.n_atoms:
        raise DataError(f"the overlap is that of another structure: {other}, expected {system}")
    from scipy.spatial import cKDTree

    distance, place = cKDTree(other.positions).query(system.positions)
    wrong = (distance > SAME_PLACE) | (system.numbers != other.numbers[place])
    if wrong.any() or len(np.unique(place)) < len(place):
        atom = int(np.argmax(wrong))
        raise DataError(
            f"the overlap is that of another structure: atom {atom}, {system.symbols[atom]} at "
            f"{np.round(system.positions[atom], 4).tolist()}, is not in it (nearest: {other.symbols[place[atom]]}, {distance[atom]:.3g} "
            "Angstrom away; a lattice vector away is another place, because blocks are labelled by lattice vectors)"
        )
    return np.asarray(place, np.int64)


def check_moments(folder: Path) -> None:
    """Tell the Mulliken moments of a predicted H beside those that the network was given, with a warning where they are others.

    Parameters
    ----------
    folder : Path
        Of the prediction. If its cell takes too long, the command that does it is told; nothing is done where no atom was given a moment.
    """
    from deeph.files.store import read_folder, read_info, read_moments
    from deeph.runtime.log import logger
    from postprocess.eigen.selection import DENSE_LARGEST
    from postprocess.states.populations import compute_populations, tell_change, too_much

    info = read_info(folder)
    given = read_moments(info)
    if given is None or not given.any():
        return
    n_orbitals = info["orbits_quantity"] * (2 if info["spinful"] else 1)
    if info.get("occupation") is None:
        logger.info("%s: without the number of electrons ('occupation' in info.json) this H has no Mulliken moments to compare", folder)
        return
    why = too_much(n_orbitals, 1)
    command = f"deeph-states {folder} --charges"
    if not why:
        h = read_folder(folder, predicted=True)
        mesh = dense_mesh(h, None, (0.0, 0.0, 0.0))
        why = too_much(n_orbitals, len(mesh.points))
        command += " --mesh " + " ".join(map(str, mesh.divisions))
        if not why:
            try:
                tell_change(compute_populations(h, mesh), given)
            except DataError as error:
                logger.warning("%s: the prediction is there, but this H has no Mulliken moments to compare: %s", folder, error)
            return
    instead = f"'{command}' computes them" if n_orbitals <= DENSE_LARGEST else "look at those of a smaller cell"
    logger.info("%s: the Mulliken moments of this H are not computed now: %s; %s", folder, why, instead)
