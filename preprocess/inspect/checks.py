"""Checks that need no symmetry: numbers, geometry, units, overlap, pattern, energy zero, electrons."""

from collections.abc import Mapping

import numpy as np

from deeph.physics.blocks import PairBlocks, energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.soundness import check_finite, check_hermitian
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.threads import blas_threads
from preprocess.inspect.report import Check, Verdict
from preprocess.verify import check_one_basis, count_electrons

MAX_DENSE = 3000
"""Largest dimension for which the smallest eigenvalue of S is computed exactly."""
NORMALIZATION = 0.05
"""Accepted error of the norm of an orbital; OpenMX's own Mo7.0 orbitals are normalized to 0.015."""
MAX_DENSITY_ERROR = 1e-3
"""Accepted error of the electrons in the density matrix, as a part of all."""
SMALL_OVERLAP = 1e-6
"""Below this eigenvalue of S, errors of single precision in S move bands."""


def check_numbers(data: Hamiltonian) -> Check:
    """No NaN and no infinity; the precision of H."""
    try:
        check_finite(data)
    except DataError as error:
        return Check("numbers", "bad", str(error))
    if data.H is None:
        return Check("numbers", "ok", "all finite; no H, only the overlap")
    single = data.H.entries.real.dtype.itemsize < 8
    return Check("numbers", "ok", f"all finite, H in {'single' if single else 'double'} precision")


def check_units(data: Hamiltonian) -> Check:
    """The constants the data were converted with."""
    constants = data.source.get("constants")
    if not isinstance(constants, Mapping) or "hartree" not in constants:
        return Check("units", "note", "eV and Angstrom assumed; the constants of the source are not recorded")
    numbers = f"1 Hartree = {constants['hartree']} eV, 1 Bohr = {constants.get('bohr')} Angstrom"
    return Check("units", "ok", f"eV and Angstrom, with {numbers} ({constants.get('name')})", constants["hartree"])


def check_distances(data: Hamiltonian) -> Check:
    """The shortest bond against the covalent radii: lengths in Bohr, or atoms on top of each other."""
    from ase.data import covalent_radii

    pairs = data.S.pairs[~is_onsite(data.S.pairs)]
    if not len(pairs):
        return Check("distances", "note", "no two atoms overlap")
    length = np.linalg.norm(pair_vectors(data.system, pairs), axis=1)
    z = data.system.numbers
    ratio = length / (covalent_radii[z[pairs[:, 3]]] + covalent_radii[z[pairs[:, 4]]])
    n = int(ratio.argmin())
    bond = "-".join(SYMBOLS[one] for one in z[pairs[n, 3:]])
    text = f"shortest bond {bond} {length[n]:.3f} Angstrom, {ratio[n]:.2f} of the covalent one; longest pair {length.max():.2f} Angstrom"
    if ratio[n] < 0.4:
        return Check("distances", "bad", f"{text}: atoms lie on top of each other, or the cell is in other units", float(length[n]))
    if not 0.7 < ratio[n] < 1.7:
        return Check("distances", "warning", f"{text}: strained, isolated, or in other units (Bohr?)", float(length[n]))
    return Check("distances", "ok", text, float(length[n]))


def check_normalization(data: Hamiltonian) -> Check:
    """Orbitals are normalized: the diagonal of S is 1."""
    own = data.S.selected(np.flatnonzero(is_onsite(data.S.pairs)))
    if own.n_pairs != data.system.n_atoms:
        missing = data.system.n_atoms - own.n_pairs
        return Check("normalization", "bad", f"on-site blocks of {missing} of {data.system} are missing; convert the run or compute S anew")
    diagonal = [own.take(index)[0].diagonal(axis1=1, axis2=2).ravel() for _, index in own.groups()]
    error = float(max(np.abs(d - 1).max() for d in diagonal))
    if error > NORMALIZATION:
        return Check("normalization", "bad", f"S_aa differs from 1 by {error:.1e}: no overlap, or orbitals that are not normalized", error)
    try:
        check_one_basis(data)
    except DataError as other_basis:
        return Check("normalization", "bad", str(other_basis), error)
    return Check("normalization", "ok", f"S_aa = 1 to {error:.0e}", error)


def check_hermiticity(data: Hamiltonian) -> Check:
    """Each pair has its partner, and the blocks are each other's adjoint."""
    try:
        check_hermitian(data)
    except DataError as error:
        return Check("Hermitian", "bad", str(error))
    worst = max(blocks.hermiticity_error() for blocks in (data.S, data.H) if blocks is not None)
    return Check("Hermitian", "ok", f"to {worst:.0e} (S, and H in eV)", worst)


def check_overlap(data: Hamiltonian) -> Check:
    """The smallest eigenvalue of S(k), at Gamma and at the corners and edges of the zone; of large structures a bound at Gamma."""
    S = data.S_bloch
    if S.n_orbitals > MAX_DENSE:
        smallest, where = _lanczos_bound(data), "at Gamma at most (Lanczos)"
    else:
        few = [(x, y, z) for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)] if S.n_orbitals <= 300 else [(0.0, 0.0, 0.0)]
        with blas_threads(S.n_orbitals):
            values = [float(np.linalg.eigvalsh(S.dense(np.array(k)).real)[0]) for k in few]
        smallest = min(values)
        where = f"at k = ({', '.join(f'{x:g}' for x in few[int(np.argmin(values))])})"
    text = f"smallest eigenvalue {smallest:.2e} {where}"
    if smallest <= 0:
        return Check("overlap", "bad", f"{text}: expected above 0. Blocks are missing or wrong, or the structure is another one", smallest)
    if smallest < SMALL_OVERLAP:
        return Check("overlap", "warning", f"{text}: the basis is nearly linearly dependent; keep double precision", smallest)
    return Check("overlap", "ok", text, smallest)


def _lanczos_bound(data: Hamiltonian) -> float:
    """An upper bound of the smallest eigenvalue of S at Gamma from 40 Lanczos steps; a negative one proves that S is wrong."""
    S = data.S_bloch.csr(np.zeros(3)).real
    v = np.random.default_rng(0).normal(size=S.shape[0])
    v /= np.linalg.norm(v)
    last, beta, alphas, betas = np.zeros_like(v), 0.0, [], []
    for _ in range(40):
        w = S @ v - beta * last
        alpha = float(v @ w)
        w -= alpha * v
        beta = float(np.linalg.norm(w))
        alphas.append(alpha)
        betas.append(beta)
        last, v = v, w / beta
    return float(np.linalg.eigvalsh(np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1))[0])


def block_sizes(blocks: PairBlocks) -> FloatArray:
    """(n_pairs,) largest absolute entry of each block."""
    if not blocks.n_pairs:
        return np.zeros(0)
    return np.asarray(np.maximum.reduceat(np.abs(blocks.entries).max(axis=0), blocks.offsets[:-1]))


def check_pattern(data: Hamiltonian) -> Check:
    """Which pairs have only H or only S, and how far both reach."""
    length = np.linalg.norm(pair_vectors(data.system, data.S.pairs), axis=1)
    in_S = block_sizes(data.S) > 0
    reach_S = length[in_S].max(initial=0.0)
    if data.H is None:
        return Check("pattern", "ok", f"{data.S.n_pairs} pairs, S to {reach_S:.2f} Angstrom", float(reach_S))
    in_H = block_sizes(data.H) > 0
    reach_H = length[in_H].max(initial=0.0)
    lost = in_S & ~in_H & (block_sizes(data.S) > 1e-3)
    alone = f"{int((in_H & ~in_S).sum())} of them only in H, {int((in_S & ~in_H).sum())} only in S"
    text = f"{data.S.n_pairs} pairs, {alone}; H to {reach_H:.2f}, S to {reach_S:.2f} Angstrom"
    if lost.any():
        return Check("pattern", "bad", f"{text}: {int(lost.sum())} overlapping pairs have no H, the blocks were lost", float(reach_H))
    return Check("pattern", "ok", text, float(reach_H))


def check_energy_zero(data: Hamiltonian) -> Check:
    """Mu = <H, S>/<S, S>, and the Fermi level."""
    if data.H is None:
        return Check("energy zero", "note", "no H")
    mu = energy_zero(data.H, data.S)
    zero = "mu S was subtracted (standardized)" if abs(mu) < 1e-4 else "as the code gave it"
    fermi = "Fermi level unknown" if data.fermi_energy is None else f"Fermi level {data.fermi_energy:.6f} eV"
    return Check("energy zero", "ok" if data.fermi_energy is not None else "note", f"<H,S>/<S,S> = {mu:.6f} eV, {zero}; {fermi}", mu)


def check_electron_count(data: Hamiltonian) -> Check:
    """The states below the Fermi level hold the electrons."""
    if data.H is None or data.fermi_energy is None or data.n_electrons is None:
        unknown = ["the Fermi level"] * (data.fermi_energy is None) + ["the number of electrons"] * (data.n_electrons is None)
        missing = "no H" if data.H is None else f"{' and '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} unknown"
        return Check("electrons", "note", f"not counted: {missing}")
    try:
        found = count_electrons(data)
    except DataError as error:
        return Check("electrons", "bad", str(error))
    if found is None:
        return Check("electrons", "note", f"not counted: {data.H_bloch.n_orbitals} orbitals are too many to diagonalize here")
    verdict: Verdict = "ok" if found.fits else "warning" if found.why_rough else "bad"
    return Check("electrons", verdict, str(found), found.electrons)


def check_density(data: Hamiltonian) -> Check:
    """The density matrix holds the electrons, sum of rho S, counted once for each spin."""
    rho = data.extra["density_matrix"]
    S = data.S.to_spinor() if data.basis.spin == "spinor" else data.S
    count = float(sum(np.vdot(S.entries[0], component).real for component in rho.entries)) * (2 if data.basis.spin == "none" else 1)
    if data.n_electrons is None:
        return Check("density", "note", f"the density matrix holds {count:.4f} electrons; their number is not recorded", count)
    error = abs(count - data.n_electrons)
    if error > MAX_DENSITY_ERROR * data.n_electrons:
        expected = f"expected {data.n_electrons:g}; it should be that of one spin where spin is none"
        return Check("density", "bad", f"the density matrix holds {count:.4f} electrons, {expected}", count)
    return Check("density", "ok", f"the density matrix holds {data.n_electrons:g} electrons to {max(error, 1e-9):.0e}", count)
