"""Small and negative eigenvalues of the overlap: what the user is told."""

import numpy as np
import pytest

from deeph.runtime.errors import DataError
from postprocess.eigen.overlap_spectrum import nearly_dependent, report_overlap
from postprocess.eigen.pencil import Pencil


@pytest.mark.parametrize(("smallest", "projected", "warned"), [(9e-5, False, True), (1.1e-4, False, False), (9e-5, True, False)])
def test_a_warning_of_nearly_dependent_orbitals(caplog, smallest, projected, warned):
    """Only where they are, and only if nobody has left them out."""
    with caplog.at_level("INFO", logger="deeph"):
        report_overlap(smallest, np.zeros(3), projected=projected)
    assert f"{smallest:.1e}" in caplog.text
    assert ("--project 1e-3" in caplog.text) == warned


def with_eigenvalues(values):
    """A pencil whose S has some eigenvalues, and its eigenvectors."""
    n = len(values)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    S = (Q * values) @ Q.T
    return Pencil.from_matrices(np.eye(n), (S + S.T) / 2), Q


def test_combinations_below_the_threshold():
    pencil, Q = with_eigenvalues(np.array([2e-4, 7e-4, *np.linspace(0.5, 2, 18)]))
    found = nearly_dependent(pencil, 1e-3)
    assert found.shape == (20, 2)
    assert np.abs(Q[:, :2].T @ found) == pytest.approx(np.eye(2), abs=1e-8)


@pytest.mark.parametrize("negative", [-2e-4, -0.5])
def test_an_indefinite_overlap_has_none(negative):
    """A negative eigenvalue within the threshold, and one far below it."""
    pencil, _ = with_eigenvalues(np.array([negative, 7e-4, *np.linspace(0.5, 2, 18)]))
    with pytest.raises(DataError, match="not positive definite"):
        nearly_dependent(pencil, 1e-3)
