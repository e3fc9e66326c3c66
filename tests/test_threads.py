"""BLAS threads: one for small matrices and for one of many processes, never against the user."""

import os
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from deeph.physics import eigenvalues
from deeph.runtime import threads
from deeph.runtime.threads import LARGE, blas_threads, share_cores


def seen() -> set[int]:
    """Threads of the libraries of numpy and scipy; other packages may have loaded libraries of their own."""
    import scipy.linalg  # noqa: F401 - loads its own library

    libraries = [library for library in ThreadpoolController().info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in libraries if re.search(r"(numpy|scipy)", library["filepath"])}


def within(n_orbitals: int) -> set[int]:
    with blas_threads(n_orbitals):
        return seen()


@pytest.fixture
def two_threads(monkeypatch):
    """A user who set nothing, on a machine with two cores."""
    for name in (*threads.VARIABLES, *threads.SIZES, threads.SHARED):
        monkeypatch.delenv(name, raising=False)
    with threadpool_limits(2, user_api="blas"):
        if 2 not in seen():
            pytest.skip("this BLAS has no second thread")
        yield


@pytest.mark.usefixtures("two_threads")
def test_threads_go_by_the_size():
    assert within(LARGE - 1) == {1}
    assert within(LARGE) == {2}
    assert seen() == {2}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", threads.VARIABLES)
def test_what_the_user_sets_is_kept(monkeypatch, name):
    monkeypatch.setenv(name, "2")
    share_cores(4)
    assert within(37) == {2}
    assert os.environ[name] == "2"


@pytest.mark.usefixtures("two_threads")
def test_one_of_many_processes_has_one(monkeypatch):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(within, 10 * LARGE).result() == {1}
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert within(10 * LARGE) == {1}


@pytest.mark.usefixtures("two_threads")
def test_shared_cores_are_no_wish_of_the_user(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    share_cores(2)
    assert set(threads.VARIABLES) <= set(os.environ)
    assert within(37) == {1}


@pytest.mark.usefixtures("two_threads")
def test_levels_of_a_small_cell_take_one_thread(monkeypatch):
    during: list[set[int]] = []

    def watched(*args, **options):
        during.append(seen())
        return eigh(*args, **options)

    eigh = eigenvalues.generalized_eigh
    monkeypatch.setattr(eigenvalues, "generalized_eigh", watched)
    np.testing.assert_allclose(eigenvalues.solve_at_k(np.diag([2.0, 1.0]), np.eye(2), np.zeros(3)), [1, 2])
    assert during == [{1}]
