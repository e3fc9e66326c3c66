"""Polarisation and Born charges of ``deeph-topology``."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import UsageError
from postprocess.cli.topology_task import Found, Task, links_text
from postprocess.lattice.periodic import periodic_directions
from postprocess.topology.polarisation import Polarisation, born_charges, followed, ion_charges, parse_charges, polarisation


def _polarisations(task: Task) -> list[Polarisation]:
    charges = parse_charges(task.args.ions)
    axes = np.flatnonzero(periodic_directions(task.data)).tolist()
    n = max((task.points(axis) for axis in axes), default=8)

    def one(data: Hamiltonian) -> Polarisation:
        ions = ion_charges(data, charges)
        groups = task.groups_of(data)
        return task.refined(lambda n, m: polarisation(data, groups, ions, n_along=n, n_across=m, jobs=task.jobs), n, max(4, n // 2))

    return followed([one(data) for data in task.structures])


def _known(values: npt.NDArray[Any], defined: npt.NDArray[Any]) -> list[float | None]:
    """Numbers, None where there is none."""
    return [float(x) if known and not np.isnan(x) else None for x, known in zip(values, defined, strict=True)]


def find_polarisation(task: Task) -> Found:
    """Polarisation, along a path of structures on one branch."""
    path = _polarisations(task)
    unit, names = path[0].unit, [folder.resolve().name for folder in task.args.folders]
    branches = "whole numbers" if path[0].quantum == 1 else f"multiples of {path[0].quantum}"
    lines = [f"polarisation in e along a1, a2, a3 (known but for {branches}), then in {unit} along x, y, z"]
    rows: list[list[Any]] = [["structure", "p1", "p2", "p3", "Px", "Py", "Pz"]]
    defined = np.concatenate([path[0].periodic, path[0].defined])

    def line(name: str, values: npt.NDArray[Any]) -> str:
        told = (f"{x:10.6f}" if known else f"{'-':>10}" for x, known in zip(values, defined, strict=True))
        return f"  {name:<16} {' '.join(told)}"

    for name, one in zip(names, path, strict=True):
        values = np.concatenate([one.fractions, one.cartesian])
        lines.append(line(name, values))
        rows.append([name, *_known(values, defined)])
    if len(path) > 1:
        lines.append(line("last - first", np.concatenate([path[-1].fractions - path[0].fractions, path[-1].cartesian - path[0].cartesian])))
    if not defined.all():
        lines.append("  - not defined: across vacuum there is a dipole moment instead, which is not computed")
    smallest, position = min(p.smallest for p in path), path[0].position
    lines += [f"direct gap   at least {min(p.gap for p in path):.6f} eV", *links_text(smallest, position)]
    record = {"unit": unit, "position": position, "smallest_singular_value": smallest, "structures": [
        {"name": name, "fractions": _known(p.fractions, p.periodic), "electronic": _known(p.electronic, p.periodic),
         "ionic": _known(p.ionic, p.periodic), "cartesian": _known(p.cartesian, p.defined)}
        for name, p in zip(names, path, strict=True)]}  # fmt: skip
    return Found(lines, record, rows, f"polarisation in e along the lattice vectors, then in {unit}; {position}")


def find_born(task: Task) -> Found:
    """Born charges of the atoms that the further structures move."""
    if len(task.structures) < 2:
        raise UsageError("--find born: name the structure, then folders of it with one atom moved in each")
    path = _polarisations(task)
    pairs = list(zip(task.structures, path, strict=True))
    tensors = {atom: np.where(path[0].defined[:, None], Z, np.nan) for atom, Z in born_charges(pairs[0], pairs[1:]).items()}
    lines = ["Born charges Z*_ab = d(V P_a)/d u_b, e; rows a, columns b = x, y, z"]
    rows: list[list[Any]] = [["atom", "element", *(a + b for a in "xyz" for b in "xyz")]]
    for atom, Z in tensors.items():
        lines.append(f"  atom {atom + 1} ({task.data.system.symbols[atom]})")
        lines += ["    " + " ".join(f"{x:10.5f}" for x in row) for row in Z]
        rows.append([atom + 1, task.data.system.symbols[atom], *map(float, Z.ravel())])
    lines += links_text(min(p.smallest for p in path), path[0].position)
    record = {"position": path[0].position, "born": {str(atom + 1): [[None if np.isnan(x) else float(x) for x in row] for row in Z]
                                                     for atom, Z in tensors.items()}}  # fmt: skip
    return Found(lines, record, rows, f"Born charges, e; {path[0].position}")
