"""Second harmonic: the polarization at twice the frequency of light, P_a(2 omega) = eps0 chi_abc(-2 omega; omega, omega) E_b E_c.

E(t) = E(omega) e^{-i omega t} + c.c., electrons do not see each other. The density matrix is expanded in the length gauge, where a field
adds e E.r with the positions r between groups of degenerate levels and the covariant derivative within them; P comes from the current of
the groups and from r between them. What the expansion has of 1/omega is a total derivative, which the zone has none of; what is left are
single poles at E = hbar omega and E = 2 hbar omega. With E_nm = E_n - E_m, f_nm = f_n - f_m, V the slopes of the levels and R_bc = (r_b
r_c + r_c r_b)/2:

    chi_abc = (e^3/eps0) int sum_nm f_nm [ two_nm / (E_nm - 2 hbar omega) + one_nm / (E_nm - hbar omega) ]
    two = 2i r_a,mn r_b,nm;c / E - 4i r_a,mn [V_c, r_b]_nm / E^2 + 2 r_a,mn sum_l R_bc,nlm / (E_lm - E_nl)
    one = i r_a,mn;c r_b,nm / E + i r_a,mn [V_c, r_b]_nm / E^2 - (i/2) r_c,mn;a r_b,nm / E + (i/4) r_c,mn [V_a, r_b]_nm / E^2
          + r_c,nm sum_l [ r_a,ml r_b,ln / (E_ln - E_nm) - r_b,ml r_a,ln / (E_ml - E_nm) ],   all symmetrized in b and c.

J. E. Sipe and A. I. Shkrebtii, doi:10.1103/PhysRevB.61.5337; empty levels moved up as by F. Nastos et al.,
doi:10.1103/PhysRevB.72.045223. The term with V_a vanishes with time reversal; no step takes components of r within the basis to commute.
Terms of a Fermi surface are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.log import logger
from postprocess.eigen.hermitian import hermitian
from postprocess.response.covariant import Frame
from postprocess.response.measure import measure
from postprocess.response.optics import E2_OVER_EPS0
from postprocess.response.second_order import SecondOrder, SecondOrderSums
from postprocess.response.transitions import Conditions, LightSettings, Pairs, levels_cross
from postprocess.states.fermi import FermiLevel

Array = npt.NDArray[Any]
TIE = 1e-6
"""eV; a level so close to the middle of two others makes their poles at omega and 2 omega one double pole."""
PICOMETRE = 100.0
"""In one Angstrom."""


class Poles(NamedTuple):
    """What the transitions of one k-point add: pole(E - hbar omega) times each row of (n, 27), of a double pole its slope."""

    at: FloatArray
    strength: Array
    double_at: FloatArray
    double_strength: Array


@dataclass(frozen=True)
class Harmonic(SecondOrderSums):
    """Second harmonic, Angstrom^3/eV^2; with time reversal -k has the complex conjugate strengths of k."""

    conditions: Conditions

    def spectrum(self, frame: Frame, n: int, pairs: Pairs) -> Array:
        """(m, 27) complex, of both signs of the frequency."""
        c, E = self.conditions, frame.energies[n]
        levels, f = E + c.scissor * (c.fermi_energy < E), c.occupation(E)
        return self._spectrum(_poles(frame.r[n], frame.derivative[n], frame.slope[n], levels, f, pairs))

    def _spectrum(self, poles: Poles) -> Array:
        """(m, 27) of both signs of the frequency."""
        c, E = self.conditions, self.conditions.photons.energies[:, None]
        out = np.zeros((len(E), 27), complex)
        for at, complete, shape in (
            (poles.at, poles.strength, c.broadening.pole),
            (poles.double_at, poles.double_strength, c.broadening.pole_slope),
        ):
            strength = complete.real.astype(complex) if c.reversal else complete
            out += shape(at - E) @ strength + shape(at + E).conj() @ strength.conj()
        return out


def _poles(r: Array, derivative: Array, slope: Array, E: FloatArray, f: FloatArray, pairs: Pairs) -> Poles:
    """Of one k-point, from r (3, n, n), r_b;a (3, 3, n, n), slopes (3, n, n), levels and occupations."""
    low, high = pairs.low, pairs.high
    step = E[high] - E[low]
    one, two = _two_levels(r, derivative, slope, low, high, step)
    double_at: list[FloatArray] = [np.zeros(0)]
    double: list[Array] = [np.zeros((0, 3, 3, 3), complex)]
    for m, n in _by_lower(low):
        more, twice, place, strength = _three_levels(r, E, f, m, high[n])
        one[n] += more
        two[n] += twice
        double_at.append(place)
        double.append(strength)
    weight = -pairs.filled[:, None, None, None]  # f_n - f_m
    strength = np.concatenate([weight * one, weight * two / 2])  # 1/(E - 2 omega) = 1/2 1/(E/2 - omega)
    both = (np.asarray(x + x.swapaxes(2, 3)).reshape(-1, 27) / 2 for x in (strength, np.concatenate(double)))
    strength, double_strength = both
    return Poles(np.concatenate([step, step / 2]), strength, np.concatenate(double_at), double_strength)


def _by_lower(low: IntArray) -> Iterator[tuple[int, slice]]:
    """Each lower level, and where its pairs are; pairs are in the order of their lower levels."""
    edges = np.flatnonzero(np.diff(low, prepend=-1, append=-1))
    for start, end in pairwise(edges):
        yield int(low[start]), slice(int(start), int(end))


def _two_levels(r: Array, derivative: Array, slope: Array, low: IntArray, high: IntArray, step: FloatArray) -> tuple[Array, Array]:
    """(n_pairs, 3, 3, 3) what r_nm;c and the slopes add to ``one`` and ``two``."""
    up, down = r[:, high, low], r[:, low, high]
    up_slope, down_slope = derivative[:, :, high, low], derivative[:, :, low, high]
    turned = (slope[:, None] @ r - r @ slope[:, None])[:, :, high, low] / step**2
    two = 2j * np.einsum("ap,cbp->pabc", down, up_slope / step) - 4j * np.einsum("ap,cbp->pabc", down, turned)
    one = 1j * np.einsum("cap,bp->pabc", down_slope / step, up) + 1j * np.einsum("ap,cbp->pabc", down, turned)
    one += np.einsum("acp,bp->pabc", -0.5j * down_slope / step, up) + 0.25j * np.einsum("abp,cp->pabc", turned, down)
    return one, two


def _three_levels(r: Array, E: FloatArray, f: FloatArray, m: int, high: IntArray) -> tuple[Array, Array, FloatArray, Array]:
    """What the pairs of a lower level m add to ``one`` and ``two`` through every third level, and their double poles."""
    n, third = E[high], E[:, None]
    up, down = r[:, high, m], r[:, m, high]
    first = r[:, m] @ (r[:, :, high] * _inverse(third + E[m] - 2 * n))  # (b, a, n)
    last = r[:, m] @ (r[:, :, high] * _inverse(2 * E[m] - n - third))  # (a, b, n)
    one = np.einsum("abn,cn->nabc", first.swapaxes(0, 1) - last, up)
    middle = 2 * third - E[m] - n
    between = (r[:, high] * _inverse(middle).T) @ r[:, :, m].T  # (b, n, c)
    two = 2 * np.einsum("an,bnc->nabc", down, between)
    l, where = np.nonzero(np.abs(middle) < TIE)
    weight = -(2 * f[l] - f[m] - f[high[where]]) / 2
    double = np.einsum("p,ap,bp,cp->pabc", weight, down[:, where], r[:, high[where], l], r[:, l, m])
    return one, two, np.asarray((n[where] - E[m]) / 2), np.asarray(double)


def _inverse(x: FloatArray) -> FloatArray:
    """1/x, and 0 of what is a double pole."""
    near = np.abs(x) < TIE
    return np.where(near, 0.0, 1 / np.where(near, 1.0, x))


def second_harmonic(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: LightSettings | None = None) -> SecondOrder:
    """Second harmonic susceptibility of one structure.

    Parameters
    ----------
    hamiltonian, fermi, settings
        As for :func:`postprocess.response.optics.optical_response`. The width is that in the photon energy: peaks at half the distance of
        two levels are as wide as those at the distance.

    Returns
    -------
    SecondOrder
        chi_abc in pm/V of a crystal, pm^2/V of a layer, pm^3/V of a chain.

    Raises
    ------
    UsageError
        If the structure is a molecule.
    DataError
        As :func:`postprocess.geometry.positions.find_positions`.
    """
    hamiltonian, settings = hermitian(hamiltonian), settings or LightSettings()
    size, quantity = measure(hamiltonian), Harmonic(settings.conditions(hamiltonian, fermi))
    per = E2_OVER_EPS0 * PICOMETRE ** (4 - size.dimension) / size.size
    unit = ("pm^3/V", "pm^2/V", "pm/V")[size.dimension - 1]
    found = SecondOrder.of("harmonic", quantity, per, unit, hamiltonian, fermi, settings)
    if levels_cross(found.integral.value["filled"]):
        logger.warning("levels cross the Fermi level: what a Fermi surface adds to the second harmonic at low photon energies is left out")
    return found
