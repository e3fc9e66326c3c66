"""Berry curvature and conductivity of twisted bilayers: sparse states, linear solves and kernel polynomials beside dense matrices.

    python benchmarks/large.py [--mn 5 6 8 9] [--dense 1000] [--moments 100] [--width 0.15]

The two-centre model of tests/twisted_cases.py, one pi orbital an atom, with a sublattice potential. CPU seconds of one thread; the peak of
the memory is that of the process so far, the sparse work coming first.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from postprocess.density.kpm import KPMOperator
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import find_positions
from postprocess.large.find_group import Bands, find_group
from postprocess.large.group import GroupGeometry
from postprocess.large.kubo import Nodes, Window
from postprocess.large.kubo_moments import Velocity, double_moments
from postprocess.large.settings import ConductivitySettings
from postprocess.large.sparse_basis import SparseBasis

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from twisted_cases import pi_bilayer

K = np.array([0.13, 0.27, 0.0])
CENTER = 0.81
"""eV, in the gap."""
GROUP = 4
"""Highest valence bands: two layers, two valleys."""


def say(text: str, start: float) -> float:
    """CPU time since ``start`` and peak memory so far; the time."""
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"  {text:<64} {seconds:8.2f} CPU s, peak {peak:5.2f} GiB\n")
    sys.stdout.flush()
    return seconds


def curvature(data: Hamiltonian, *, dense: bool) -> None:
    """Of the group at one k, by both routes."""
    n = data.n_orbitals // 2
    levels = list(range(n - GROUP, n))
    basis, pencils = SparseBasis(data, find_positions(data)), BlochPencils(data)
    begin = start = time.process_time()
    pencil = pencils.at(K)
    group = find_group(pencil, Bands(n - GROUP, n, CENTER))
    say(f"states, counted: {pencil.n_factored} factorizations", start)
    start = time.process_time()
    g = GroupGeometry(basis, pencil, K, group)
    say("factorization within the group, Newton step, dH, dS, r", start)
    start = time.process_time()
    found = np.einsum("ann->a", g.curvature_matrix()).real
    say(f"first-order states by {g.n_steps} steps of {3 * GROUP} solutions, factor of S", start)
    start_factor = time.process_time()
    pencil.factor(CENTER)
    say(f"(one factorization, of which a solve for each level takes {GROUP})", start_factor)
    sparse = start_factor - begin
    if dense:
        start = time.process_time()
        other = np.einsum("ann->a", Geometry(data, K[None]).curvature_matrix(levels)[0]).real
        seconds = say("dense matrices", start)
        text = f"  dense/sparse {seconds / sparse:.2f}; largest difference {np.abs(found - other).max():.1e} of {np.abs(other).max():.3g}"
        sys.stdout.write(f"{text} Angstrom^2\n")


def conductivity(data: Hamiltonian, moments: int, width: float, *, dense: bool) -> None:
    """Of one random vector at one k, and what the moments for a width would take."""
    start = time.process_time()
    operator = KPMOperator(BlochPencils(data).at(K))
    velocity = Velocity.along(SparseBasis(data, find_positions(data)), K, 0, np.eye(3)[:2], operator.dtype)
    say("factor of S, ends of the spectrum, velocities", start)
    functions = ConductivitySettings(width=width, temperature=600.0).functions(CENTER)
    needed = functions.moments(operator.half_width, hall=False)
    scale, seconds = (operator.center, operator.half_width), []
    for n in (moments // 2, moments):
        near, window = Nodes.of(n, *scale, (CENTER, functions.reach())), Window.around(functions, n, *scale)
        start = time.process_time()
        phases = operator.random_phases(1, np.random.default_rng(0))
        double_moments(operator, velocity, n, phases, rows=near.rows, window=window.coefficients)
        seconds.append(say(f"{n} moments of a random vector at {len(near.rows)} energies, xx to yy", start))
    a, b = np.linalg.solve([[moments / 2, moments**2 / 4], [moments, moments**2]], seconds)
    expected = a * needed + b * needed**2
    sys.stdout.write(f"  {needed} moments for a width of {width:g} eV: {expected:.1f} CPU s a vector, extrapolated\n")
    if dense:
        start = time.process_time()
        g = Geometry(data, K[None])
        np.einsum("apq,bqp->abpq", g.velocity[0, :2], g.velocity[0, :2])
        say("levels and velocities by dense matrices", start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mn", type=int, nargs="+", default=[5, 6, 8, 9], help="pairs of indices")
    parser.add_argument("--dense", type=int, default=1000, help="orbitals up to which dense matrices are tried")
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--width", type=float, default=0.15, help="of transitions, eV, at 600 K")
    parser.add_argument("--what", nargs="+", default=["curvature", "conductivity"])
    args = parser.parse_args()
    for m, n in zip(args.mn[::2], args.mn[1::2], strict=True):
        data = hermitian(pi_bilayer(m, n, mass=0.3))
        dense = data.n_orbitals <= args.dense
        sys.stdout.write(f"({m}, {n}): {data.n_orbitals} atoms\n")
        if "curvature" in args.what:
            curvature(data, dense=dense)
        if "conductivity" in args.what:
            conductivity(data, args.moments, args.width, dense=dense)


if __name__ == "__main__":
    main()
