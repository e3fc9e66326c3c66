"""Checks by rotations: orbital order and signs from the overlap along bonds, H and S from the symmetry of the crystal."""

from dataclasses import replace

from deeph.physics.blocks import PairBlocks
from deeph.physics.covariance import bond_violations
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism
from deeph.physics.symmetrize import violation
from deeph.physics.symmetry_group import SymmetryGroup, symmetry_group
from deeph.runtime.errors import DataError
from preprocess.inspect.report import Check, Verdict

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
    """S and H turn with the structure under the operations of the crystal, H under those that keep its moments."""
    if data.system.n_atoms > MAX_ATOMS:
        return [Check("symmetry", "note", f"not searched for: {data.system}, more than {MAX_ATOMS}")]
    crystal = symmetry_group(replace(data, H=None))
    if not crystal.generators:
        return [Check("symmetry", "note", "none but the identity")]
    S = _compare("S symmetry", data, data.S, crystal, OVERLAP_LIMITS, "")
    names = sorted({operation.name for operation in crystal.generators})
    out = [S._replace(text=f"{S.text}, {len(crystal.generators)} beside the identity ({', '.join(names)})")]
    if data.H is not None:
        out.append(_check_H(data, data.H))
    return out


def _check_H(data: Hamiltonian, H: PairBlocks) -> Check:
    """H, where moments and spins restrict what may be demanded."""
    try:
        group = symmetry_group(data)
    except DataError as error:
        return Check("H symmetry", "note", str(error))
    magnetic = not Magnetism.of(data).time_reversal
    if not group.generators:
        return Check("H symmetry", "note", "no operation keeps the magnetic moments")
    check = _compare("H symmetry", data, H, group, ENERGY_LIMITS, " eV")
    if magnetic and data.moments is None:
        text = f"{check.text} by the {len(group.generators)} that keep the exchange fields in H; the magnetic moments are not recorded"
        return check._replace(verdict="note", text=text)
    return check._replace(text=f"{check.text} by the {len(group.generators)} that keep the moments") if magnetic else check


def _compare(name: str, data: Hamiltonian, blocks: PairBlocks, group: SymmetryGroup, limits: tuple[float, float], unit: str) -> Check:
    """The largest violation under all operations, and where it is."""
    found = violation(data, blocks, group.generators)
    verdict = _verdict(found.largest, limits)
    text = f"kept to {found.largest:.1e}{unit}"
    if verdict != "ok":
        cause = (
            "noise of the run, or a mistake" if verdict == "warning" else "order or signs of orbitals, spin layout or positions are wrong"
        )
        text = f"broken by {found.largest:.2g}{unit} ({found.where(data.system)}): {cause}"
    return Check(name, verdict, text, found.largest)
