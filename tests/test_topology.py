"""Topological invariants of exact models, in any basis and from any origin, by routes that share nothing but H(k)."""

from dataclasses import replace

import lattice_models
import numpy as np
import pytest
from tight_binding import HONEYCOMB, changed_basis, haldane, moved_origin, tight_binding, with_spinors
from topology_cases import bhz, kane_mele, rice_mele, weyl_semimetal

from deeph.runtime.errors import DataError, UsageError
from postprocess.topology.chern import chern_number, lattice_plane
from postprocess.topology.groups import BandGroup, energies_at, filled_groups, named_group
from postprocess.topology.links import CoarseMeshError, PeriodicParts
from postprocess.topology.mirror import mirror_chern_number
from postprocess.topology.parity import z2_by_parity
from postprocess.topology.polarisation import born_charges, followed, ion_charges, parse_charges, polarisation
from postprocess.topology.spin_orbit import find_transition, with_spin_orbit
from postprocess.topology.weyl import find_weyl_points
from postprocess.topology.wilson import Lines
from postprocess.topology.z2 import z2_by_flow

E = np.eye(3)
LOWEST = BandGroup(0, 1)
PAIR = BandGroup(0, 2, filled=True)


def own_combinations(data, seed=3):
    """Random combinations of the orbitals of each atom, r with them."""
    turned = lattice_models.changed_basis(data, seed)
    position = lattice_models.changed_basis(replace(data, H=None), seed) if data.H is None else None
    del position
    rng = np.random.default_rng(seed)
    n = data.basis.n_orbitals(data.system.numbers)
    X = [np.eye(m) + 0.4 * rng.normal(size=(m, m)) for m in n]
    r = replace(data.r, entries=data.r.entries.copy())
    for p, (_, _, _, i, j) in enumerate(r.pairs.tolist()):
        r.put(np.array([p]), (X[i].T @ r.take(np.array([p]))[:, 0] @ X[j])[:, None])
    return replace(turned, r=r)
