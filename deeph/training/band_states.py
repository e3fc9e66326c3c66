"""States of the DFT at random k, for the band stage of the training."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch

from deeph.config import BandConfig
from deeph.files.dataset import Dataset
from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.training.band_error import fermi_level
from deeph.training.band_loss import BandTerm, States

SAME = 1e-3
"""Levels that are closer stay together when the window is cut off, eV."""


def random_k(structure: Hamiltonian, name: str, seed: int, turn: int) -> FloatArray:
    """(3,) fractional k; zero along directions in which no block reaches another cell, so that molecules have Gamma alone."""
    periodic = structure.S.pairs[:, :3].any(axis=0)
    return np.asarray(np.random.default_rng([seed, crc32(name.encode()), turn]).random(3) * periodic)


def check_window(structure: Hamiltonian, window: float | None) -> None:
    """Refuse a structure whose window has no place.

    Raises
    ------
    DataError
        If neither Fermi level nor number of electrons is known.
    """
    if window is not None and structure.fermi_energy is None and structure.n_electrons is None:
        raise DataError(
            "the Fermi level is not known: info.json holds neither 'fermi_energy_eV' nor 'occupation'. Add one of them, or set "
            'bands.window to "none" for all levels'
        )


def find_states(structure: Hamiltonian, k: FloatArray, window: float | None) -> States:
    """Diagonalize the DFT H at one k.

    Parameters
    ----------
    structure : Hamiltonian
        With H.
    k : (3,) array
        Fractional.
    window : float or None
        Levels up to so many eV above the Fermi level are in P; None: all of them.

    Raises
    ------
    DataError
        If the window begins at a Fermi level that is not known, or S(k) is not positive definite.
    """
    H, S = structure.H_bloch, structure.S_bloch
    overlap = S.dense(k, gauge="atomic")
    solved = [solve_states_at_k(H.dense(k, component=c, gauge="atomic"), overlap, k) for c in range(H.n_components)]
    energies = np.array([e for e, _ in solved])
    limit = np.inf if window is None else fermi_level(structure, energies[:, None]) + window
    vectors = torch.as_tensor(np.array([c for _, c in solved]))
    wave = torch.as_tensor(k @ structure.system.reciprocal)
    return States(wave, torch.as_tensor(energies), vectors, tuple(levels_below(e, limit) for e in energies))


def levels_below(energies: FloatArray, limit: float) -> int:
    """How many ascending levels are below a limit, with those that are degenerate with the last one; at least one."""
    n = max(1, int((energies <= limit).sum()))
    while n < len(energies) and energies[n] - energies[n - 1] < SAME:
        n += 1
    return n


class BandStates:
    """States of the structures of a dataset, kept in memory as long as there is room; the others are made anew each time.

    Parameters
    ----------
    dataset : Dataset
        With H.
    config : BandConfig
        Window and number of k.
    seed : int
        Decides which k.
    device : torch.device
        Where the states go.
    room : float
        Bytes for states that are kept.
    """

    def __init__(self, dataset: Dataset, config: BandConfig, seed: int, device: torch.device, room: float) -> None:
        self.dataset, self.config, self.seed, self.device = dataset, config, seed, device
        self._kept: dict[tuple[str, int], States] = {}
        self._room = room

    def term(self, names: Sequence[str], epoch: int = 0, *, counts: bool = True) -> BandTerm:
        """The states of a batch, each at a k of its own that the epoch decides; ``counts`` tells whether they are part of the loss."""
        turn = epoch % self.config.k_points
        states = [self._moved(self._kept.get((name, turn)) or self._make(name, turn)) for name in names]
        return BandTerm(states, self.config.reach, self.config.weight if counts else 0.0)

    def _moved(self, states: States) -> States:
        k, energies, vectors, n_low = states
        return States(k.to(self.device), energies.to(self.device), vectors.to(self.device), n_low)

    def _make(self, name: str, turn: int) -> States:
        structure = self.dataset.read(name)
        try:
            states = find_states(structure, random_k(structure, name, self.seed, turn), self.config.window)
        except DataError as error:
            raise DataError(f"{name} (bands): {error}") from error
        size = states.vectors.nbytes + states.energies.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[name, turn] = states
        return states
