"""The magnetic moments that a network is given: from a file, from Python, or from the structure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deeph.files.moments_file import MomentRows, read_moments_file, rows_of_elements
from deeph.nn.model import HamiltonianModel
from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, own_moments
from deeph.physics.system import SYMBOLS, FloatArray, System
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger

Moments = str | Path | Mapping[str, Sequence[float]] | MomentRows | npt.ArrayLike
"""A file; directions of elements, such as ``{"Cr": (0, 0, 1)}``; or (n_atoms, 3) moments in Bohr magneton."""
INPUT = "input of the network"
"""What ``source.moments`` says of the moments of a prediction."""
UNUSUAL = 0.3
"""Of the mean of an element in training; a size that differs by more is told."""
ALONG_Z = 1e-6
"""Of its size; how much of a collinear moment may lie across z."""


def with_moments(structure: Hamiltonian, given: Moments | None, model: HamiltonianModel) -> Hamiltonian:
    """The structure with the moments that the model is to be given, of its own or instead of them; what they are is told."""
    given = _read(given)
    moments = input_moments(structure.system, given, structure.moments, model.magnetic, model.basis.spin)
    tell_left_out(structure.system, given, structure.moments, model.magnetic)
    if moments is not None:
        tell(structure.system, moments, model.magnetic)
    return as_input(structure, moments, model)


def as_input(structure: Hamiltonian, moments: FloatArray | None, model: HamiltonianModel) -> Hamiltonian:
    """The structure as the model is given it: with these moments and a note on what they are; S without spin serves every model."""
    source = {key: value for key, value in structure.source.items() if key != "moments"}
    structure = replace(structure, moments=moments, source=source if moments is None else {**source, "moments": INPUT})
    if structure.basis.spin == model.basis.spin or structure.basis.spin != "none":
        return structure
    return replace(structure, basis=replace(structure.basis, spin=model.basis.spin), H=None, extra={})


def _read(given: Moments | None) -> MomentRows | FloatArray | None:
    """What was given, read.

    Raises
    ------
    DataError
        If a row or an array is not understood.
    """
    match given:
        case None | MomentRows():
            return given
        case str() | Path():
            return read_moments_file(given)
        case Mapping():
            return rows_of_elements(given)
    try:
        return np.array(given, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"moments: {error}; expected a file, directions of elements, or an array (n_atoms, 3)") from error


def input_moments(
    system: System, given: Moments | None, stored: FloatArray | None, magnetic: Mapping[int, float], spin: Spin
) -> FloatArray | None:
    """The moments of all atoms, as a network reads them.

    Parameters
    ----------
    system : System
        The atoms.
    given : file, mapping, array or MomentRows, optional
        What the user asks for; where it says no size, an atom has the mean of its element in training. An array, Bohr magneton, is taken
        as ``stored`` is: it may be what DFT found.
    stored : (n_atoms, 3) array, optional
        Those that came with the structure, Bohr magneton: taken if none are given, without those that are induced or noise, see
        :func:`deeph.physics.magnetism.own_moments`.
    magnetic : mapping of int to float
        The magnetic elements of the model, and their mean size in training, Bohr magneton.
    spin : {"none", "collinear", "spinor"}
        Of the model.

    Returns
    -------
    (n_atoms, 3) array or None
        Bohr magneton, zero of atoms that are not magnetic; None for a model that is not magnetic.

    Raises
    ------
    UsageError
        If the model does not take such moments.
    DataError
        If they are not those of this structure.
    """
    given = _read(given)
    if not magnetic:
        if given is not None:
            raise UsageError("magnetic moments are given, but the model is not magnetic: no element had a moment in its training data")
        return None
    where = [""] * system.n_atoms
    if isinstance(given, MomentRows):
        moments, where = _of_rows(system, given, magnetic)
    else:
        chosen = stored if given is None else given
        moments = np.zeros((system.n_atoms, 3)) if chosen is None else chosen
    if moments.shape != (system.n_atoms, 3):
        raise DataError(f"magnetic moments of shape {moments.shape}: expected {(system.n_atoms, 3)} for {system}")
    if bad := np.flatnonzero(~np.isfinite(moments).all(axis=1)).tolist():
        raise DataError(f"{where[bad[0]]}the magnetic moment of atom {bad[0] + 1}, {system.symbols[bad[0]]}, is no number")
    own = own_moments(moments, system.numbers, magnetic)
    _check(system, moments if isinstance(given, MomentRows) else own, where, magnetic, spin)
    return own


def _of_rows(system: System, rows: MomentRows, magnetic: Mapping[int, float]) -> tuple[FloatArray, list[str]]:
    """Moments of all atoms, and where they were read; without a size any, if the element is not magnetic: that is an error anyway."""
    moments, where = np.zeros((system.n_atoms, 3)), [""] * system.n_atoms
    for atom, row in enumerate(rows.of_atoms(system)):
        if row is not None:
            size = magnetic.get(int(system.numbers[atom]), 1.0) if row.size is None else row.size
            moments[atom], where[atom] = size * row.direction, f"{row.where}: "
    return moments, where


def _check(system: System, moments: FloatArray, where: Sequence[str], magnetic: Mapping[int, float], spin: Spin) -> None:
    """Refuse moments that the model does not take."""
    for atom in np.flatnonzero(~(moments == 0).all(axis=1)).tolist():
        what = f"{where[atom]}the magnetic moment of atom {atom + 1}, {system.symbols[atom]},"
        if int(system.numbers[atom]) not in magnetic:
            names = ", ".join(SYMBOLS[z] for z in magnetic)
            raise UsageError(
                f"{what} is none that the model takes: its magnetic elements are {names}; moments that these induce in others come out of "
                "the prediction"
            )
        x, y, z = moments[atom]
        if spin == "collinear" and max(abs(x), abs(y)) > ALONG_Z * abs(z):
            raise UsageError(f"{what} is ({x:.3g}, {y:.3g}, {z:.3g}), but the model is collinear: expected one along z, such as 0 0 1")


def tell_left_out(system: System, given: MomentRows | FloatArray | None, stored: FloatArray | None, magnetic: Mapping[int, float]) -> None:
    """Say which moments of an array or of a structure folder :func:`input_moments` left out; warn if the model takes none at all."""
    moments = stored if given is None else given
    if moments is None or isinstance(moments, MomentRows):
        return
    if not magnetic:
        if (largest := float(np.linalg.norm(moments, axis=1).max(initial=0.0))) >= MOMENT:
            logger.warning(
                "%s has magnetic moments up to %.2f Bohr magneton, but the model is not magnetic: no element had a moment in its training "
                "data, and H is predicted without", system, largest,
            )  # fmt: skip
        return
    out = np.linalg.norm(moments - own_moments(moments, system.numbers, magnetic), axis=1)
    text = []
    for z in np.unique(system.numbers[out >= MOMENT]).tolist():
        sizes = out[(system.numbers == z) & (out >= MOMENT)]
        text.append(f"{len(sizes)} {SYMBOLS[z]} (up to {sizes.max():.3f} Bohr magneton)")
    if text:
        logger.info(
            "%s: the moments of %s are no input of the model, whose magnetic elements are %s; what these induce in others comes out of the "
            "prediction", system, ", ".join(text), ", ".join(SYMBOLS[z] for z in magnetic),
        )  # fmt: skip


def tell(system: System, moments: FloatArray, magnetic: Mapping[int, float]) -> None:
    """Say which atoms have a moment and which have none; warn where all have none, or one of a size that was not learned."""
    has = moments.any(axis=1)
    if not has.any():
        learned = ", ".join(f"{SYMBOLS[z]} of {size:.2f} Bohr magneton" for z, size in magnetic.items())
        logger.warning(
            "%s: no atom is given a magnetic moment, so H is that of non-magnetic atoms, but the model learned %s; moments are given by "
            "--moments FILE, in Python by moments=...", system, learned,
        )  # fmt: skip
        return
    sizes, text = np.linalg.norm(moments, axis=1), []
    for z, mean in magnetic.items():
        chosen = sizes[has & (system.numbers == z)]
        if len(chosen):
            low, high = f"{chosen.min():.3f}", f"{chosen.max():.3f}"
            text.append(f"{len(chosen)} {SYMBOLS[z]} ({low}{'' if low == high else f' to {high}'} Bohr magneton)")
            if (far := np.abs(chosen - mean) > UNUSUAL * mean).any():
                logger.warning(
                    "%s: %d %s have moments of another size than in training, %.3f Bohr magneton in the mean",
                    system, far.sum(), SYMBOLS[z], mean,
                )  # fmt: skip
    none = ", ".join(f"{n} {symbol}" for symbol, n in Counter(np.array(system.symbols)[~has].tolist()).items())
    logger.info("%s: magnetic moments of %s%s", system, ", ".join(text), f"; non-magnetic: {none}" if none else "")
