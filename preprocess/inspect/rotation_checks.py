"""Checks by rotations: orbital order and signs from the overlap along bonds, H and S from the symmetry of the crystal."""

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.covariance import Operation, bond_violations, difference, turned
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, Magnetism
from deeph.physics.system import SYMBOLS
from preprocess.inspect.report import Check, Verdict
from preprocess.inspect.symmetry import find_operations

MAX_ATOMS = 200
"""Above this number of atoms no symmetry is searched for."""
OVERLAP_LIMITS = (1e-4, 1e-2)
"""Violations of S that are noise of the code (real-space grids) and that are a mistake."""
ENERGY_LIMITS = (0.05, 0.3)
"""The same for H in eV: DFT on a real-space grid breaks symmetries by up to 0.04 eV in single elements."""


def _verdict(value: float, limits: tuple[float, float]) -> Verdict:
    return "ok" if value <= limits[0] else "warning" if value <= limits[1] else "bad"


def check_bonds(data: Hamiltonian) -> Check:
    """About its bond, the overlap of atom-centred orbitals couples only equal m, m and -m alike."""
    found = bond_violations(data)
    if not found:
        return Check("orbitals", "note", "no bonds to look along")
    worst = max(found, key=lambda kind: found[kind])
    value = found[worst]
    verdict = _verdict(value, OVERLAP_LIMITS)
    text = f"order and signs fit the bonds: S conserves m to {value:.0e}"
    if verdict != "ok":
        largest = sorted(found.items(), key=lambda one: -one[1])[:4]
        wrong = "; ".join(f"{a} with {b} {violation:.1e}" for (a, b), violation in largest if violation > OVERLAP_LIMITS[0])
        text = f"S couples different m along bonds ({wrong}): order or signs of these orbitals, or the positions, are wrong"
    return Check("orbitals", verdict, text, value)


def check_symmetry(data: Hamiltonian) -> list[Check]:
    """S and H turn with the structure under the operations of the crystal that keep its moments."""
    if data.system.n_atoms > MAX_ATOMS:
        return [Check("symmetry", "note", f"not searched for: {data.system}, more than {MAX_ATOMS}")]
    operations = find_operations(data.system)
    names = sorted({operation.name for operation in operations})
    if not operations:
        return [Check("symmetry", "note", "none but the identity")]
    S = _compare("S symmetry", data, data.S, operations, OVERLAP_LIMITS, "")
    out = [S._replace(text=f"{S.text}, {len(operations)} beside the identity ({', '.join(names)})")]
    if data.H is not None:
        out.append(_check_H(data, data.H, operations))
    return out


def _check_H(data: Hamiltonian, H: PairBlocks, operations: list[Operation]) -> Check:
    """H, where moments and spins restrict what may be demanded."""
    known = data.moments is not None
    magnetic = not Magnetism.of(data).time_reversal
    if magnetic and known:
        operations = [operation for operation in operations if _keeps_moments(data, operation)]
        if not operations:
            return Check("H symmetry", "note", "no operation keeps the magnetic moments")
    check = _compare("H symmetry", data, H, operations, ENERGY_LIMITS, " eV")
    if magnetic and not known and check.verdict != "ok":
        return check._replace(verdict="note", text=f"{check.text}; no verdict, because the magnetic moments are not recorded")
    return check._replace(text=f"{check.text} by the {len(operations)} that keep the moments") if magnetic and known else check


def _keeps_moments(data: Hamiltonian, operation: Operation) -> bool:
    """Whether the moments turn into those of the image atoms; collinear ones do not turn with the lattice."""
    m = np.zeros((data.system.n_atoms, 3)) if data.moments is None else data.moments
    turn = np.eye(3) if data.basis.spin == "collinear" else np.linalg.det(operation.Q) * operation.Q
    return bool(np.abs(m @ turn.T - m[operation.image]).max() < MOMENT)


def _compare(
    name: str, data: Hamiltonian, blocks: PairBlocks, operations: list[Operation], limits: tuple[float, float], unit: str
) -> Check:
    """The largest violation under all operations, and where it is."""
    worst, pair, by = 0.0, 0, operations[0]
    for operation in operations:
        value, n = difference(turned(data, blocks, operation), blocks)
        if value > worst:
            worst, pair, by = value, n, operation
    verdict = _verdict(worst, limits)
    text = f"kept to {worst:.1e}{unit}"
    if verdict != "ok":
        i, j = (f"{SYMBOLS[data.system.numbers[a]]} {a + 1}" for a in by.pairs(blocks.pairs)[pair, 3:].tolist())
        cause = (
            "noise of the run, or a mistake" if verdict == "warning" else "order or signs of orbitals, spin layout or positions are wrong"
        )
        text = f"broken by {worst:.2g}{unit} ({by.name}, atoms {i} and {j}): {cause}"
    return Check(name, verdict, text, worst)
