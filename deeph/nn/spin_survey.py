"""What the spin of a training set is: which parts of H are there, and which elements are magnetic."""

from collections.abc import Iterable, Mapping

import numpy as np

from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import TIME_ODD, largest_parts
from deeph.physics.spin_parts import PARTS, PartName
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import ModelError
from deeph.runtime.log import logger

SMALLEST = 1e-5
"""eV; a spin-orbit part whose elements are all smaller is zero."""
SHARE = 0.25
"""Atoms with at least this share of the largest moment of all structures have a moment of their own; smaller ones are induced, or none."""


def survey_spin(structures: Iterable[Hamiltonian], spin: Spin) -> tuple[list[PartName], dict[int, float]]:
    """The parts of H that are not zero, and the magnetic elements with the mean size of their moments, Bohr magneton.

    An element is magnetic if some atom of it has a moment of its own. The mean is over these atoms: where the same element is non-magnetic
    in other structures, a moment of which only the direction is given has the size that such moments have.

    Parameters
    ----------
    structures : iterable of Hamiltonian
        The training set.
    spin : {"none", "collinear", "spinor"}
        Of all of them.

    Raises
    ------
    ModelError
        If a part of H is odd under time reversal, and the moments that it comes from are not known.
    """
    if spin == "none":
        return ["A0"], {}
    largest: dict[PartName, float] = dict.fromkeys(PARTS, 0.0)
    moments: dict[int, list[FloatArray]] = {}
    unknown = list[int]()
    for number, one in enumerate(structures):
        sizes = largest_parts(one.hamiltonian, one.basis.spin)
        largest = {name: max(size, sizes.get(name, 0.0)) for name, size in largest.items()}
        if one.moments is None and max(sizes.get("A", 0.0), sizes.get("B0", 0.0)) > TIME_ODD:
            unknown.append(number)
        if one.moments is not None:
            size = np.linalg.norm(one.moments, axis=1)
            for z in np.unique(one.system.numbers).tolist():
                moments.setdefault(z, []).append(size[one.system.numbers == z])
    noise: dict[PartName, float] = {"A0": -1.0, "B0": TIME_ODD, "A": TIME_ODD, "B": SMALLEST}
    parts: list[PartName] = [name for name in PARTS if largest[name] > noise[name]]
    if unknown:
        raise ModelError(
            f"{len(unknown)} structures (the first is number {unknown[0] + 1}) have a magnetic H but no magnetic moments, which the "
            "network needs as input: expected magnetic_moments_muB in info.json, where deeph-preprocess writes them"
        )
    if "B0" in parts and "B" not in parts:
        logger.warning("H without spin-orbit coupling has an imaginary spin-free part up to %.2g eV, which is not learned", largest["B0"])
        parts.remove("B0")
    odd = {"A", "B0"} & set(parts)
    return parts, _magnetic({z: np.concatenate(own) for z, own in moments.items()}) if odd else {}


def _magnetic(sizes: Mapping[int, FloatArray]) -> dict[int, float]:
    """The magnetic elements and their mean moment, from the moments of all atoms of each element."""
    largest = max((float(own.max()) for own in sizes.values()), default=0.0)
    if not largest > 0:
        raise ModelError("H is magnetic, but all magnetic moments of the training set are zero; the network needs them as input")
    means = {z: float(own[own >= SHARE * largest].mean()) for z, own in sorted(sizes.items()) if own.max() >= SHARE * largest}
    induced = [SYMBOLS[z] for z, own in sizes.items() if z not in means and own.any()]
    logger.info(
        "magnetic elements: %s%s", ", ".join(f"{SYMBOLS[z]} ({mean:.3g} Bohr magneton in the mean)" for z, mean in means.items()),
        f"; the moments of {', '.join(induced)} are taken for induced ones" if induced else "",
    )  # fmt: skip
    return means
