"""Which pencils a Hamiltonian gets: real ones at every k where a symmetry makes them so, else complex ones."""

import time
from dataclasses import replace

import numpy as np

from deeph.files.matrix_file import drop_pages
from deeph.physics.bloch import BlochMatrix
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import reversed_pairs
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.log import logger, telling
from postprocess.eigen.antiunitary import Antiunitary, find_antiunitary
from postprocess.eigen.backends import best_backend, make_factorization
from postprocess.eigen.levels import Levels
from postprocess.eigen.options import MAX_VIOLATION
from postprocess.eigen.pencil import BlochPencils, Pencil
from postprocess.eigen.real_form import RealForm


class Deviation:
    """What was left out of H and S to make them obey a symmetry, where it is more than noise.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        As given.
    symmetry : Antiunitary
        Of its structure.
    pairs : (n, 5) int array
        Where it is broken; the Hermitian partners and the images of these pairs are added.
    """

    def __init__(self, hamiltonian: Hamiltonian, symmetry: Antiunitary, pairs: IntArray) -> None:
        system, basis = hamiltonian.system, hamiltonian.basis
        onsite = np.zeros((system.n_atoms, 5), np.int64)  # every atom needs a block
        onsite[:, 3] = onsite[:, 4] = np.arange(system.n_atoms)
        pairs = np.concatenate([pairs, symmetry.images(pairs)])
        pairs = np.unique(np.concatenate([onsite, pairs, reversed_pairs(pairs)]), axis=0)
        shapes = basis.n_orbitals(system.numbers)[pairs[:, 3:]]

        def bloch(matrix: PairBlocks) -> BlochMatrix:
            own, image = matrix.on_pattern(pairs, shapes), symmetry.image(matrix, basis, pairs, shapes)
            return BlochMatrix(system, replace(own, entries=(own.entries - image.entries) / 2))

        self.H, self.S = bloch(hamiltonian.hamiltonian), bloch(hamiltonian.S)


class RealPencil(Pencil):
    """The pencil at one k in orbitals in which it is real."""

    def __init__(self, pencils: "RealPencils", k: FloatArray, spin: int) -> None:
        H, S = pencils.form.matrices(k, spin)
        super().__init__(H, S, pencils.factorization)
        self._form, self._deviation = pencils.form, pencils.deviation
        self._k, self._spin = k, spin

    def as_given(self, levels: Levels) -> Levels:
        """See :class:`postprocess.eigen.pencil.Pencil`.

        Where H was changed, the H and S as given are diagonalized among the levels found. The first-order effect of the change is exact
        then, the residuals are those of the given matrices, and the counts are no proof any more.
        """
        from scipy.linalg import eigh

        C = self._form.orbitals(levels.vectors, self._k)
        if self._deviation is None or not len(levels.energies):
            return replace(levels, vectors=C)
        self._factored = None
        self.factorization.forget()  # room for the matrices that follow, which can be as large
        HC, SC = (self._form.orbitals(X, self._k) for X in (self.apply_H(levels.vectors), self.apply_S(levels.vectors)))
        HC += self._deviation.H.csr(self._k, component=self._spin) @ C
        SC += self._deviation.S.csr(self._k) @ C
        energies, Y = eigh(C.conj().T @ HC, C.conj().T @ SC)
        SC = SC @ Y
        residuals = np.linalg.norm(HC @ Y - SC * energies, axis=0) / np.linalg.norm(SC, axis=0)
        return Levels(energies, C @ Y, residuals, levels.first, None)


class RealPencils:
    """The pencils at all k of a Hamiltonian with a real form; used like :class:`postprocess.eigen.pencil.BlochPencils`.

    Parameters
    ----------
    form : RealForm
        Of the Hamiltonian.
    deviation : Deviation, optional
        What the form leaves out.
    backend, single
        See :class:`postprocess.eigen.pencil.BlochPencils`.
    """

    def __init__(self, form: RealForm, deviation: Deviation | None = None, *, backend: str | None = None, single: bool = False) -> None:
        self.form, self.deviation, self.n = form, deviation, form.n
        self.factorization = make_factorization(form.indptr, form.indices, np.float64, backend or best_backend(), single=single)

    def at(self, k: FloatArray, spin: int = 0) -> RealPencil:
        """The pencil at a fractional k; those made before cannot solve any more."""
        self.factorization.forget()
        return RealPencil(self, np.asarray(k, float), spin)


def make_pencils(
    hamiltonian: Hamiltonian, *, backend: str | None = None, single: bool = False, real_form: float = MAX_VIOLATION
) -> BlochPencils | RealPencils:
    """Pencils at all k, real ones if the matrices allow it; the user is told.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    backend, single
        See :class:`postprocess.eigen.pencil.BlochPencils`.
    real_form : float
        eV; the symmetry is used if no element of H, or ten times one of S, differs from its image by more. Differences above the default
        are taken into account in the end, see :meth:`RealPencil.as_given`.
    """
    with telling(f"arranging H and S of {hamiltonian.n_orbitals} orbitals"):
        pencils = _real_pencils(hamiltonian, backend, real_form, single=single) or BlochPencils(hamiltonian, backend=backend, single=single)
    for blocks in (hamiltonian.hamiltonian, hamiltonian.S):
        drop_pages(blocks)  # the pencils have the numbers in an order of their own
    return pencils


def _real_pencils(hamiltonian: Hamiltonian, backend: str | None, real_form: float, *, single: bool) -> RealPencils | None:
    """Real ones, if there is a symmetry that allows them."""
    start = time.perf_counter()
    H = hamiltonian.hamiltonian
    spin_orbit = hamiltonian.basis.spin == "spinor" or np.iscomplexobj(H.entries)
    symmetry = None if spin_orbit or not real_form > 0 else find_antiunitary(hamiltonian.system, H.pairs)
    if symmetry is not None:
        form = RealForm(hamiltonian, symmetry)
        violation = float(form.violations.max())
        seen = f"violated by {violation:.1e} eV at most, atoms off by {symmetry.distance:.1e} Angstrom"
        if violation <= real_form:
            logger.info("real at every k by %s*T: %s (%.1f s)", symmetry.name, seen, time.perf_counter() - start)
            broken = form.pairs[form.violations > MAX_VIOLATION]
            deviation = Deviation(hamiltonian, symmetry, broken) if len(broken) else None
            return RealPencils(form, deviation, backend=backend, single=single)
        logger.info("not used: %s*T, %s; it would make H(k) real if that were below %.1e eV", symmetry.name, seen, real_form)
    return None
