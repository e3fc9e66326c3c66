"""Checks of spin: time reversal, and the moments against the exchange field in H."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, NO_MOMENT, Magnetism, exchange_fields, has_own, moments_text
from preprocess.inspect.report import Check

MAX_ANGLE = 30.0
"""Accepted between moment and exchange field, degrees; DFT data of Cr, Fe, Pt and O2 have 0.4 at most."""


def check_time_reversal(data: Hamiltonian) -> Check:
    """H of a structure without moments is invariant under time reversal, that of one with moments is not."""
    magnetism = Magnetism.of(data)
    value, moments = magnetism.time_odd, magnetism.moments
    if magnetism.time_reversal:
        if magnetism.largest_moment >= MOMENT and moments is not None:
            text = f"kept to {value:.0e} eV in spite of moments ({moments_text(moments)} Bohr magneton): they are those of another run"
            return Check("time reversal", "warning", text, value)
        return Check("time reversal", "ok", f"kept to {value:.0e} eV: not magnetic", value)
    if moments is None:
        return Check("time reversal", "note", f"broken by {value:.2g} eV: magnetic, or a wrong spin layout; no moments are recorded", value)
    if magnetism.largest_moment < NO_MOMENT:
        return Check("time reversal", "bad", f"broken by {value:.2g} eV without magnetic moments: the spin layout is wrong", value)
    return Check("time reversal", "ok", f"broken by {value:.2g} eV: magnetic, moments {moments_text(moments)} Bohr magneton", value)


def check_moments(data: Hamiltonian) -> Check:
    """The exchange field 1/2 tr(sigma H_ii) of an atom with a moment of its own is opposite to it."""
    moments = np.zeros((data.system.n_atoms, 3)) if data.moments is None else data.moments
    size, field = np.linalg.norm(moments, axis=1), -exchange_fields(data)
    own = np.flatnonzero((size >= MOMENT) & has_own(size, size.max(initial=0.0)))
    if not len(own):
        return Check("moments", "ok", f"none of {MOMENT} Bohr magneton or more")
    cosine = (moments[own] * field[own]).sum(axis=1) / np.maximum(size[own] * np.linalg.norm(field[own], axis=1), NO_MOMENT)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    worst = int(angle.argmax())
    value = float(angle[worst])
    if value > MAX_ANGLE:
        atom = f"atom {own[worst] + 1} ({data.system.symbols[own[worst]]})"
        text = f"{atom}: {value:.0f} degrees from where its exchange field in H points; sign, axes or order of the moments may be wrong"
        return Check("moments", "warning", text, value)
    return Check("moments", "ok", f"along the exchange fields in H to {value:.1f} degrees", value)
