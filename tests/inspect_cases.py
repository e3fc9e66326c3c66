"""Structures broken on purpose, for the tests of deeph-inspect."""

from dataclasses import replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian


def with_orbitals(
    data: Hamiltonian, order: dict[int, list[int]], signs: dict[int, list[int]] | None = None, only: str = "SH"
) -> Hamiltonian:
    """The same matrices with the orbitals of some elements in another order or with other signs."""
    numbers = data.system.numbers
    orders = {z: np.array(order.get(z, range(sum(2 * l + 1 for l in ls)))) for z, ls in data.basis.shells.items()}
    flips = None if signs is None else {z: np.array(signs.get(z, np.ones(len(one)))) for z, one in orders.items()}
    factors = {"S": 1, "H": data.basis.spin_factor}
    return replace(data, extra={}, r=None, **{name: getattr(data, name).reordered(numbers, orders, factors[name], flips) for name in only})


def with_entries(data: Hamiltonian, name: str, change) -> Hamiltonian:
    """The same structure with other entries of one matrix."""
    blocks = getattr(data, name)
    return replace(data, **{name: replace(blocks, entries=change(blocks.entries.copy()))})


def interleaved(data: Hamiltonian) -> Hamiltonian:
    """Spinor blocks with the orbitals in the order up, down, up, down, taken for spin-major ones."""

    def mix(blocks, _pairs):
        c, n, rows, columns = blocks.shape
        parts = blocks.reshape(c, n, 2, rows // 2, 2, columns // 2)
        return parts.transpose(0, 1, 3, 2, 5, 4).reshape(blocks.shape)

    return replace(data, H=data.H.mapped(mix))


def verdicts(checks) -> dict[str, str]:
    """Verdict by name."""
    return {check.name: check.verdict for check in checks}
