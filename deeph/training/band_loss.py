"""Errors of H in the states of the DFT: what they do to the levels.

With H(k) C = S(k) C E and C^dagger S C = 1 of the DFT, the predicted levels are the eigenvalues of E + M, M = C^dagger dH(k) C. An error
of some meV in the elements of H may be one of many eV in M: orbitals that are nearly dependent, with eigenvalues of S of 1e-3 and less,
enlarge it. Let P be the levels up to a window above the Fermi level, and Q the others. What the three blocks of M do:

* P P moves the levels one looks at, in first order;
* P Q mixes states from above into them, in second order: |M_pq|^2 / (E_q - E_p);
* Q Q moves levels that are far away. When it gets as large as their distance they come down into the window: *ghost levels*, of which a
  loss of the elements of H, and one of P alone, know nothing.

Both of the latter count by the distance that they have to bridge. So the error is measured as

    |W M W|_F / |W|_F,    W = 1 in P,  W^2 = reach / (reach + E_q - E_top) in Q

which no mixing of degenerate states changes, nor a larger cell that holds the same crystal. With W = 1 everywhere (window = "none") it is
the error in the metric of the overlap, |S^(-1/2) dH S^(-1/2)|_F / sqrt(n), in which no level is distinguished.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.model import HamiltonianModel
from deeph.physics.spin_parts import PartName
from deeph.training.bloch_errors import bloch_errors
from deeph.training.metrics import PartErrors


class States(NamedTuple):
    """DFT states of one structure at one k.

    Attributes
    ----------
    k : (3,) tensor
        1/Angstrom, with 2 pi.
    energies : (n_components, n) tensor
        eV, ascending.
    vectors : (n_components, n, n) tensor
        C in columns, in the atomic gauge.
    n_low : tuple of int
        Levels in P, of each component.
    """

    k: Tensor
    energies: Tensor
    vectors: Tensor
    n_low: tuple[int, ...]


class BandTerm(NamedTuple):
    """What the errors in the states of the structures of a batch count.

    Attributes
    ----------
    states : sequence of States
        Of each structure.
    reach : float
        See :func:`level_weights`.
    weight : float
        In the loss; 0 where only the errors of the levels are wanted.
    """

    states: Sequence[States]
    reach: float
    weight: float


def band_loss(
    model: HamiltonianModel, batch: Data, graphs: tuple[Tensor, Tensor], errors: Mapping[PartName, PartErrors], term: BandTerm
) -> tuple[Tensor, dict[str, Tensor]]:
    """Error in the states, in the units of the loss; in evaluation mode also sums for the errors of the levels in P.

    Parameters
    ----------
    model, batch, graphs, errors
        As for :func:`deeph.training.bloch_errors.bloch_errors`.
    term : BandTerm
        States and settings.

    Returns
    -------
    loss : scalar tensor
        weight times the mean over the structures of |W M W|_F / |W|_F, averaged over collinear spins, over the root mean square that the
        baseline leaves, on-site or off-site, whichever is larger.
    sums : dict of scalar tensors
        ``level_abs_sum`` (eV) and ``level_count``; empty in training.
    """
    found, sums = [], {"level_abs_sum": torch.zeros(()), "level_count": torch.zeros(())}
    for dH, states in zip(bloch_errors(model, batch, graphs, errors, [s.k for s in term.states]), term.states, strict=True):
        of_spins = []
        for own, C, E, n_low in zip(dH, states.vectors, states.energies, states.n_low, strict=True):
            C_ = C.to(own.dtype)
            M = C_.mH @ own @ C_
            of_spins.append(weighted_length(M, level_weights(E, n_low, term.reach)))
            if not model.training:
                change = torch.linalg.eigvalsh(torch.diag(E).to(M) + M.detach())[:n_low] - E[:n_low]
                sums["level_abs_sum"] = sums["level_abs_sum"] + change.abs().sum()
                sums["level_count"] = sums["level_count"] + n_low
        found.append(torch.stack(of_spins).mean())
    unit = torch.maximum(model.baseline().unit_offsite, model.baseline().unit_onsite)
    return torch.stack(found).mean() * term.weight / unit, {} if model.training else sums


def level_weights(energies: Tensor, n_low: int, reach: float) -> Tensor:
    """(n,) W^2 of ascending levels, the lowest n_low of which are in P."""
    if not 0 < n_low < len(energies):
        return torch.ones_like(energies)
    return reach / (reach + (energies - energies[n_low - 1]).clamp(min=0.0))


def weighted_length(M: Tensor, weights: Tensor) -> Tensor:
    """|W M W|_F / |W|_F; the root stays differentiable where nothing is wrong."""
    square = ((M * M.conj()).real * weights[:, None] * weights).sum()
    return torch.sqrt(square / weights.sum() + 1e-20)
