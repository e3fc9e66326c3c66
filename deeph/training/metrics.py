"""Errors of a prediction in meV: as they are, and with the energy zero projected out."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.frames import bond_matrices
from deeph.nn.graph import take_rows
from deeph.nn.model import HamiltonianModel

OffsiteErrors = list[tuple[tuple[int, int], Tensor | slice, Tensor]]
OnsiteErrors = list[tuple[int, Tensor | slice, Tensor]]


def error_sums(model: HamiltonianModel, batch: Data, offsite: OffsiteErrors, onsite: OnsiteErrors) -> dict[str, Tensor]:
    """Sums of errors over all matrix elements of a batch, both directions of each bond counted.

    Pairs beyond the cutoffs of the model, where zero is predicted, count with the H that they have: as in evaluation.json and in
    deeph-compare the mean is over all of H.

    Parameters
    ----------
    model : HamiltonianModel
        In training mode the absolute errors are those in the bond frames (cheap, close); in evaluation mode those of the matrix
        elements themselves.
    batch : torch_geometric Data or Batch
        With ``offsite_overlap`` and ``onsite_overlap``.
    offsite, onsite : lists of (kind, rows, (n, size) errors in eV)
        In coefficients.

    Returns
    -------
    dict of scalar tensors
        Sums and counts, see :func:`summarize`.
    """
    beyond = -batch.beyond_target
    sums = {
        "offsite_abs_sum": 2 * _total(e.abs() for e in [*(e for *_, e in offsite), beyond]),
        "offsite_square_sum": 2 * _total(e.square() for e in [*(e for *_, e in offsite), beyond]),
        "offsite_count": torch.tensor(2.0 * (sum(e.numel() for *_, e in offsite) + beyond.numel())),
        "onsite_abs_sum": _total(e.abs() for *_, e in onsite),
        "onsite_square_sum": _total(e.square() for *_, e in onsite),
        "onsite_count": torch.tensor(float(sum(e.numel() for *_, e in onsite))),
    }
    if model.training:
        return sums
    sums["offsite_abs_sum"] = 2 * (_elements(model, batch, offsite) + _total([beyond.abs()]))
    sums["onsite_abs_sum"] = _onsite_elements(model, onsite)
    mu = energy_zeros(model, batch, offsite, onsite)
    offsite, onsite = _shifted(model, batch, offsite, onsite, mu)
    beyond = beyond - mu[_beyond_graph(batch)] * batch.beyond_overlap
    sums["projected_abs_sum"] = 2 * (_elements(model, batch, offsite) + _total([beyond.abs()])) + _onsite_elements(model, onsite)
    return sums


def project_energy_zero(
    model: HamiltonianModel, batch: Data, offsite: OffsiteErrors, onsite: OnsiteErrors
) -> tuple[OffsiteErrors, OnsiteErrors]:
    """Subtract mu S with mu = <dH, S>/<S, S> of each structure; coefficients are orthonormal, so no rotation is needed."""
    return _shifted(model, batch, offsite, onsite, energy_zeros(model, batch, offsite, onsite))


def energy_zeros(model: HamiltonianModel, batch: Data, offsite: OffsiteErrors, onsite: OnsiteErrors) -> Tensor:
    """(n_structures,) mu = <dH, S>/<S, S> over all of H, eV; beyond the cutoffs dH is -H."""
    beyond, graph = batch.beyond_overlap, _beyond_graph(batch)
    product, norm = (torch.zeros(len(batch.beyond_size), dtype=model.dtype, device=model.device) for _ in range(2))
    product.index_add_(0, graph, -2 * batch.beyond_target * beyond)
    norm.index_add_(0, graph, 2 * beyond.square())
    errors = [e for *_, e in offsite], [e for *_, e in onsite]
    for weight, parts, members in zip((2.0, 1.0), errors, _overlaps(model, batch, offsite, onsite), strict=True):
        for error, (graph, S) in zip(parts, members, strict=True):
            product.index_add_(0, graph, weight * (error * S).sum(1))
            norm.index_add_(0, graph, weight * S.square().sum(1))
    return product / norm


def _shifted(
    model: HamiltonianModel, batch: Data, offsite: OffsiteErrors, onsite: OnsiteErrors, mu: Tensor
) -> tuple[OffsiteErrors, OnsiteErrors]:
    """Errors less mu S."""
    of_bonds, of_atoms = _overlaps(model, batch, offsite, onsite)
    return (
        [(k, r, e - mu[graph][:, None] * S) for (k, r, e), (graph, S) in zip(offsite, of_bonds, strict=True)],
        [(z, r, e - mu[graph][:, None] * S) for (z, r, e), (graph, S) in zip(onsite, of_atoms, strict=True)],
    )


def _overlaps(model: HamiltonianModel, batch: Data, offsite: OffsiteErrors, onsite: OnsiteErrors) -> list[list[tuple[Tensor, Tensor]]]:
    """Structure and coefficients of S of the bonds and of the atoms, in the order of the errors."""
    bond_sizes, atom_sizes = model.row_sizes(batch.numbers, batch.bond_index)
    atom_graph = batch.batch if "batch" in batch else torch.zeros_like(batch.numbers)
    bond_graph = atom_graph[batch.bond_index[0]]
    return [
        [(bond_graph[rows], take_rows(batch.offsite_overlap, bond_sizes, rows)) for _, rows, _ in offsite],
        [(atom_graph[rows], take_rows(batch.onsite_overlap, atom_sizes, rows)) for _, rows, _ in onsite],
    ]


def _beyond_graph(batch: Data) -> Tensor:
    """Structure of each element beyond the cutoffs."""
    return torch.arange(len(batch.beyond_size), device=batch.beyond_size.device).repeat_interleave(batch.beyond_size)


def _total(parts: Iterable[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        total = total + part.sum(dtype=torch.float64).cpu()
    return total


def _elements(model: HamiltonianModel, batch: Data, errors: OffsiteErrors) -> Tensor:
    """Sum of absolute errors of the off-site matrix elements, rotated back to the orbitals of the crystal."""
    total = torch.zeros((), dtype=torch.float64)
    for kind, rows, error in errors:
        D = [d.to(error.dtype) for d in bond_matrices(batch.bond_vector[rows], max(model.angular))]
        total = total + model.blocks_from_coefficients(kind, error, D).abs().sum(dtype=torch.float64).cpu()
    return total


def _onsite_elements(model: HamiltonianModel, errors: OnsiteErrors) -> Tensor:
    return _total(model.atom_tables[z].to_blocks(error).abs() for z, _, error in errors)


def summarize(sums: Mapping[str, float]) -> dict[str, float]:
    """Metrics in meV from added sums.

    Returns
    -------
    dict
        ``mae_meV`` (all elements), ``projected_mae_meV`` (energy zero projected out; evaluation only), ``offsite_mae_meV``,
        ``onsite_mae_meV``, ``rmse_meV``.
    """
    count = sums["offsite_count"] + sums["onsite_count"]
    out = {"mae_meV": 1e3 * (sums["offsite_abs_sum"] + sums["onsite_abs_sum"]) / count}
    if "projected_abs_sum" in sums:
        out["projected_mae_meV"] = 1e3 * sums["projected_abs_sum"] / count
    out["offsite_mae_meV"] = 1e3 * sums["offsite_abs_sum"] / max(sums["offsite_count"], 1)
    out["onsite_mae_meV"] = 1e3 * sums["onsite_abs_sum"] / max(sums["onsite_count"], 1)
    out["rmse_meV"] = 1e3 * ((sums["offsite_square_sum"] + sums["onsite_square_sum"]) / count) ** 0.5
    return out
