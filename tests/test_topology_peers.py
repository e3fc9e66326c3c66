"""Wilson loops and Chern numbers of orthogonal models against other codes; skipped where these are not installed."""

import numpy as np
import pytest
from tight_binding import haldane
from topology_cases import weyl_semimetal

from postprocess.topology.chern import chern_number, lattice_plane
from postprocess.topology.groups import BandGroup
from postprocess.topology.wilson import Lines

E = np.eye(3)
LOWEST = BandGroup(0, 1)


def pythtb_model(data):
    """The same s orbitals and hops in PythTB."""
    pythtb = pytest.importorskip("pythtb", reason="needs PythTB: pip install pythtb")
    model = pythtb.tb_model(3, 3, data.system.cell.tolist(), data.system.fractional.tolist())
    done = set()
    for (*R, i, j), t in zip(data.H.pairs.tolist(), data.H.entries[0], strict=True):
        if not any(R) and i == j:
            model.set_onsite(float(t.real), i)
        elif (*(-x for x in R), j, i) not in done:
            model.set_hop(complex(t), i, j, R)
            done.add((*R, i, j))
    return pythtb, model


def test_chern_number_and_plaquettes_of_pythtb():
    data, n = haldane(0.15, 0.9), 20
    pythtb, model = pythtb_model(data)
    states = pythtb.wf_array(model, [n + 1, n + 1])
    for i in range(n + 1):
        for j in range(n + 1):
            states.solve_on_one_point([i / n, j / n, 0.0], [i, j])
    states.impose_pbc(0, 0)
    states.impose_pbc(1, 1)
    theirs = states.berry_flux([0], individual_phases=True)
    ours = chern_number(data, LOWEST, lattice_plane(data, 2), (n, n)).flux * 2 * np.pi
    assert np.abs(ours - theirs).max() < 1e-8
    assert abs(theirs.sum()) == pytest.approx(2 * np.pi)


def test_berry_phases_of_pythtb():
    data, n = haldane(0.15, 0.9), 30
    pythtb, model = pythtb_model(data)
    t = np.array([0.05, 0.21, 0.4])
    ours = Lines(data, LOWEST, 0 * E[0], E[0], E[1], n_points=n).flow(t).centres[:, 0]
    for x, k2 in zip(ours, t, strict=True):
        states = pythtb.wf_array(model, [n + 1])
        for i in range(n + 1):
            states.solve_on_one_point([i / n, k2, 0.0], [i])
        states.impose_pbc(0, 0)
        difference = float(states.berry_phase([0], 0)) / (2 * np.pi) - x
        assert abs((difference + 0.5) % 1 - 0.5) < 1e-8


def test_wannier_centres_of_z2pack():
    """Its loops run the other way: its centres are ours with the other sign."""
    z2pack = pytest.importorskip("z2pack", reason="needs Z2Pack: pip install z2pack")
    for data in (haldane(0.15, 0.9), weyl_semimetal()):
        orbitals = np.repeat(data.system.fractional, data.basis.n_orbitals(data.system.numbers), axis=0)
        system = z2pack.hm.System(
            lambda k, d=data: d.H_bloch.dense(np.asarray(k, float)), dim=3, pos=orbitals.tolist(), bands=1, convention=2
        )
        for t in (0.08, 0.3):
            line = z2pack.line.run(system=system, line=lambda x, t=t: [x, t, 0.1], iterator=[26], pos_tol=None)
            ours = Lines(data, LOWEST, 0.1 * E[2], E[0], E[1], n_points=25).flow(np.array([t])).centres[0]
            assert np.abs((np.array(line.wcc) + ours + 0.5) % 1 - 0.5).max() < 1e-8
