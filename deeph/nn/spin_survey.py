"""What the spin of a training set is: which parts of H are there, and which elements are magnetic."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import TIME_ODD, largest_parts
from deeph.physics.spin_parts import PARTS, PartName
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import ModelError
from deeph.runtime.log import logger

SMALLEST = 1e-5
"""eV; a spin-orbit part whose elements are all smaller is zero."""
SHARE = 0.25
"""Elements with at least this share of the mean moment of the most magnetic element have moments of their own; smaller ones are induced."""


class Structures(Protocol):
    """Several structures by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Hamiltonian: ...


def survey_spin(structures: Structures, spin: Spin) -> tuple[list[PartName], dict[int, float]]:
    """The parts of H that are not zero, and the magnetic elements with the mean size of their moments, Bohr magneton.

    Parameters
    ----------
    structures : sequence of Hamiltonian
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
    sums: dict[int, tuple[float, int]] = {}
    unknown = list[int]()
    for number in range(len(structures)):
        one = structures[number]
        sizes = largest_parts(one.hamiltonian, one.basis.spin)
        largest = {name: max(size, sizes.get(name, 0.0)) for name, size in largest.items()}
        if one.moments is None and max(sizes.get("A", 0.0), sizes.get("B0", 0.0)) > TIME_ODD:
            unknown.append(number)
        for z, size in _moments(one):
            total, count = sums.get(z, (0.0, 0))
            sums[z] = (total + float(size.sum()), count + len(size))
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
    return parts, _magnetic(sums, parts)


def _moments(structure: Hamiltonian) -> Iterator[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]:
    """Elements and sizes of the moments of their atoms."""
    if structure.moments is not None:
        size = np.linalg.norm(structure.moments, axis=1)
        for z in np.unique(structure.system.numbers).tolist():
            yield z, size[structure.system.numbers == z]


def _magnetic(sums: Mapping[int, tuple[float, int]], parts: list[PartName]) -> dict[int, float]:
    if not {"A", "B0"} & set(parts):
        return {}
    means = {z: total / max(count, 1) for z, (total, count) in sums.items()}
    largest = max(means.values(), default=0.0)
    found = {z: mean for z, mean in sorted(means.items()) if mean >= SHARE * largest and mean > 0}
    if not found:
        raise ModelError("H is magnetic, but all magnetic moments of the training set are zero; the network needs them as input")
    induced = [SYMBOLS[z] for z in means if z not in found]
    logger.info(
        "magnetic elements: %s%s", ", ".join(f"{SYMBOLS[z]} ({mean:.3g} Bohr magneton in the mean)" for z, mean in found.items()),
        f"; the moments of {', '.join(induced)} are taken for induced ones" if induced else "",
    )  # fmt: skip
    return found
