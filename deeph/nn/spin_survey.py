"""What the spin of a training set is: which parts of H are there, and which elements are magnetic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from deeph.files.training_set import check_moments
from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import NO_MOMENT, NO_SPIN_ORBIT, TIME_ODD, Magnetism, has_own
from deeph.physics.spin_parts import PARTS, PartName
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger


def survey_spin(
    structures: Iterable[Hamiltonian], spin: Spin, chosen: Literal["auto"] | Sequence[str] = "auto"
) -> tuple[list[PartName], dict[int, float]]:
    """The parts of H that are not zero, and the magnetic elements with the mean size of their moments, Bohr magneton.

    An element is magnetic if some atom of it has a moment of its own, or because the user says so. The mean is over these atoms: where the
    same element is non-magnetic in other structures, a moment of which only the direction is given has the size that such moments have.

    Parameters
    ----------
    structures : iterable of Hamiltonian
        The training set.
    spin : {"none", "collinear", "spinor"}
        Of all of them.
    chosen : "auto" or sequence of str
        The magnetic elements, if the user knows them: ``model.magnetic_elements``.

    Raises
    ------
    DataError
        If a part of H is odd under time reversal, and the moments that it comes from are not known.
    UsageError
        If an element that was chosen has no moment.
    """
    if spin == "none":
        return ["A0"], _magnetic({}, chosen) if chosen != "auto" else {}
    largest: dict[PartName, float] = dict.fromkeys(PARTS, 0.0)
    moments: dict[int, list[FloatArray]] = {}
    for number, one in enumerate(structures, start=1):
        magnetism = Magnetism.of(one)
        try:
            check_moments(one, magnetism)
        except DataError as error:
            raise type(error)(f"structure {number} of the training set: {error}") from error
        largest = {name: max(size, magnetism.parts.get(name, 0.0)) for name, size in largest.items()}
        if one.moments is not None:
            size = np.linalg.norm(one.moments, axis=1)
            for z in np.unique(one.system.numbers).tolist():
                moments.setdefault(z, []).append(size[one.system.numbers == z])
    noise: dict[PartName, float] = {"A0": -1.0, "B0": TIME_ODD, "A": TIME_ODD, "B": NO_SPIN_ORBIT}
    parts: list[PartName] = [name for name in PARTS if largest[name] > noise[name]]
    if "B0" in parts and "B" not in parts:
        logger.warning("H without spin-orbit coupling has an imaginary spin-free part up to %.2g eV, which is not learned", largest["B0"])
        parts.remove("B0")
    if not {"A", "B0"} & set(parts):
        moments = {}
        if chosen == "auto":
            return parts, {}
    return parts, _magnetic({z: np.concatenate(own) for z, own in moments.items()}, chosen)


def check_chosen(chosen: Sequence[str], largest: Mapping[int, float]) -> None:
    """The magnetic elements that the user names have moments.

    Parameters
    ----------
    chosen : sequence of str
        ``model.magnetic_elements``.
    largest : mapping of int to float
        Largest moment of each element in the training set, Bohr magneton; empty where no H is magnetic.

    Raises
    ------
    UsageError
        If one has none.
    """
    absent = [name for name in sorted(set(chosen), key=SYMBOLS.index) if not largest.get(SYMBOLS.index(name), 0.0) >= NO_MOMENT]
    if absent:
        known = ", ".join(f"{SYMBOLS[z]} {size:.3g}" for z, size in sorted(largest.items()))
        raise UsageError(
            f"model.magnetic_elements: {', '.join(absent)} has no magnetic moment in the training set; "
            + (f"its largest moments (Bohr magneton) are {known}" if largest else "no H there is magnetic")
        )


def _magnetic(sizes: Mapping[int, FloatArray], chosen: Literal["auto"] | Sequence[str]) -> dict[int, float]:
    """The magnetic elements and their mean moment, from the moments of all atoms of each element; none where H is not magnetic."""
    largest = max((float(own.max()) for own in sizes.values()), default=0.0)
    if chosen == "auto":
        elements = [z for z, own in sorted(sizes.items()) if has_own(own, largest).any()]
    else:
        elements = sorted({SYMBOLS.index(name) for name in chosen})
        check_chosen(chosen, {z: float(own.max()) for z, own in sizes.items()})
    # where an element that was chosen has induced moments only, the largest of these tells which atoms are magnetic
    means = {}
    for z in elements:
        own = has_own(sizes[z], largest)
        means[z] = float(sizes[z][own if own.any() else has_own(sizes[z], sizes[z].max())].mean())
    induced = [SYMBOLS[z] for z, own in sizes.items() if z not in means and own.any()]
    logger.info(
        "magnetic elements: %s%s", ", ".join(f"{SYMBOLS[z]} ({mean:.3g} Bohr magneton in the mean)" for z, mean in means.items()),
        f"; the moments of {', '.join(induced)} are taken for induced ones ([model] magnetic_elements changes that)" if induced else "",
    )  # fmt: skip
    return means
