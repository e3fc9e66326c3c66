"""Basis files in OpenMX's layout with Slater-like functions, for tests that need one where there is no OpenMX."""

from pathlib import Path

import numpy as np

from deeph.physics.system import NUMBERS

POINTS = 300


def write_pao(
    path: Path, element: str, n_electrons: float, cutoff: float = 6.0, n_functions: tuple[int, ...] = (2, 2, 1), *, smooth: bool = False
) -> Path:
    """So many functions r^l exp(-a r) of each l, smoothly zero at the cutoff (Bohr), normalized; ``smooth``: Gaussians, without a cusp."""
    x = np.linspace(-7.0, np.log(cutoff), POINTS)
    r = np.exp(x)
    lines = [f"AtomSpecies {NUMBERS[element]}", f"valence.electron {n_electrons}", f"radial.cutoff.pao {cutoff}"]
    for l, n in enumerate(n_functions):
        functions = []
        for zeta in range(n):
            decay = (0.4 + 0.5 * zeta) * r**2 if smooth else (1.5 + zeta) * r
            f = r**l * np.exp(-decay) * (1 - (r / cutoff) ** 2) ** 3
            functions.append(f / np.sqrt(np.trapezoid(f**2 * r**3, x)))  # r^2 dr = r^3 dx
        table = np.column_stack([x, r, *functions])
        rows = [" ".join(f"{value:.15e}" for value in row) for row in table]
        lines += [f"<pseudo.atomic.orbitals.L={l}", *rows, f"pseudo.atomic.orbitals.L={l}>"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
