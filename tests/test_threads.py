"""Runs of bonds on several threads: the same numbers, to the last bit."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from network_case import TINY, make_structure

from deeph.inference import predict
from deeph.nn.fit import fit_model
from deeph.nn.threads import in_order

CPU = torch.device("cpu")


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_results_come_in_order_from_several_threads():
    barrier = threading.Barrier(3, timeout=30)

    def work(n: int) -> tuple[int, int, bool, int]:
        if n < 3:
            barrier.wait()  # passes only if three pieces are worked on at the same time
        return n, torch.get_num_threads(), torch.is_inference_mode_enabled(), threading.get_ident()

    with torch.inference_mode():
        found = list(in_order(work, range(20), CPU))
    assert [n for n, *_ in found] == list(range(20))
    assert {(threads, mode) for _, threads, mode, _ in found} == {(1, True)}
    assert len({name for *_, name in found}) == 3
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_an_error_ends_the_work():
    def work(n: int) -> int:
        if n == 4:
            raise ValueError("piece 4")
        return n

    with torch.no_grad(), pytest.raises(ValueError, match="piece 4"):
        list(in_order(work, range(100), CPU))
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_gradients_are_recorded_by_the_thread_that_asks():
    assert set(in_order(lambda _: threading.get_ident(), range(5), CPU)) == {threading.get_ident()}


@pytest.mark.usefixtures("three_threads")
def test_a_prediction_does_not_depend_on_the_threads():
    structure = make_structure(3)
    torch.manual_seed(0)
    model = fit_model(TINY.model_copy(update={"chunk_bonds": 7}), [structure])
    several = predict(model, structure).hamiltonian.entries
    torch.set_num_threads(1)
    alone = predict(model, structure).hamiltonian.entries
    assert np.array_equal(several, alone)
    assert np.abs(alone).max() > 1
