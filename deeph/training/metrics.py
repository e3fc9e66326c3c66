"""Errors of a prediction in meV: as they are, and with the energy zero projected out."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.nn.frames import bond_matrices
from deeph.nn.model import HamiltonianModel
from deeph.nn.rows import take_rows
from deeph.physics.spin_parts import PartName

OffsiteErrors = list[tuple[tuple[int, int], Tensor | slice, Tensor]]
OnsiteErrors = list[tuple[int, Tensor | slice, Tensor]]
LABELS: dict[PartName, str] = {"A0": "", "B0": "imaginary_", "A": "exchange_", "B": "spin_orbit_"}
"""What the metrics of the parts of H begin with."""


class PartErrors(NamedTuple):
    """Errors of one part of H: lists of (kind, rows, (n, copies x size) errors of the coefficients in eV)."""

    offsite: OffsiteErrors
    onsite: OnsiteErrors


def error_sums(model: HamiltonianModel, batch: Data, errors: Mapping[PartName, PartErrors]) -> dict[str, Tensor]:
    """Sums of errors over all matrix elements of a batch, both directions of each bond counted, of each part of H by itself.

    Pairs beyond the cutoffs of the model, where zero is predicted, count with the H that they have: as in evaluation.json and in
    deeph-compare the mean is over all of H.

    Parameters
    ----------
    model : HamiltonianModel
        In training mode the absolute errors are those in the bond frames (cheap, close); in evaluation mode those of the matrix
        elements themselves.
    batch : torch_geometric Data or Batch
        With ``offsite_overlap`` and ``onsite_overlap``.
    errors : mapping of str to PartErrors
        Of the parts.

    Returns
    -------
    dict of scalar tensors
        Sums and counts, see :func:`summarize`.
    """
    sums: dict[str, Tensor] = {}
    for name, part in errors.items():
        sums |= {LABELS[name] + key: value for key, value in _part_sums(model, batch, name, part).items()}
    if not model.training:
        sums["projected_abs_sum"] = _projected(model, batch, errors["A0"])
    return sums


def _part_sums(model: HamiltonianModel, batch: Data, name: PartName, errors: PartErrors) -> dict[str, Tensor]:
    offsite, onsite = errors
    beyond = -batch[f"beyond_target_{name}"]
    sums = {
        "offsite_abs_sum": 2 * _total(e.abs() for e in [*(e for *_, e in offsite), beyond]),
        "offsite_square_sum": 2 * _total(e.square() for e in [*(e for *_, e in offsite), beyond]),
        "offsite_count": torch.tensor(2.0 * (sum(e.numel() for *_, e in offsite) + beyond.numel())),
        "onsite_abs_sum": _total(e.abs() for *_, e in onsite),
        "onsite_square_sum": _total(e.square() for *_, e in onsite),
        "onsite_count": torch.tensor(float(sum(e.numel() for *_, e in onsite))),
    }
    if not model.training:
        sums["offsite_abs_sum"] = 2 * (_elements(model, batch, name, offsite) + _total([beyond.abs()]))
        sums["onsite_abs_sum"] = _onsite_elements(model, name, onsite)
    return sums


def _projected(model: HamiltonianModel, batch: Data, errors: PartErrors) -> Tensor:
    """Sum of the absolute errors of the spin-free part less mu S."""
    mu = energy_zeros(model, batch, errors)
    offsite, onsite = _shifted(model, batch, errors, mu)
    beyond = -batch.beyond_target_A0 - mu[_beyond_graph(batch)] * batch.beyond_overlap
    return 2 * (_elements(model, batch, "A0", offsite) + _total([beyond.abs()])) + _onsite_elements(model, "A0", onsite)


def project_energy_zero(model: HamiltonianModel, batch: Data, errors: PartErrors) -> PartErrors:
    """Subtract mu S with mu = <dH, S>/<S, S> of each structure; coefficients are orthonormal, so no rotation is needed."""
    return _shifted(model, batch, errors, energy_zeros(model, batch, errors))


def energy_zeros(model: HamiltonianModel, batch: Data, spin_free: PartErrors) -> Tensor:
    """(n_structures,) mu = <dH, S>/<S, S> over all of H, eV; beyond the cutoffs dH is -H."""
    beyond, graph = batch.beyond_overlap, _beyond_graph(batch)
    product, norm = (torch.zeros(len(batch.beyond_size), dtype=model.dtype, device=model.device) for _ in range(2))
    product.index_add_(0, graph, -2 * batch.beyond_target_A0 * beyond)
    norm.index_add_(0, graph, 2 * beyond.square())
    errors = [e for *_, e in spin_free.offsite], [e for *_, e in spin_free.onsite]
    for weight, parts, members in zip((2.0, 1.0), errors, _overlaps(model, batch, spin_free), strict=True):
        for error, (graph, S) in zip(parts, members, strict=True):
            product.index_add_(0, graph, weight * (error * S).sum(1))
            norm.index_add_(0, graph, weight * S.square().sum(1))
    return product / norm


def _shifted(model: HamiltonianModel, batch: Data, errors: PartErrors, mu: Tensor) -> PartErrors:
    """Errors less mu S."""
    of_bonds, of_atoms = _overlaps(model, batch, errors)
    return PartErrors(
        [(k, r, e - mu[graph][:, None] * S) for (k, r, e), (graph, S) in zip(errors.offsite, of_bonds, strict=True)],
        [(z, r, e - mu[graph][:, None] * S) for (z, r, e), (graph, S) in zip(errors.onsite, of_atoms, strict=True)],
    )


def _overlaps(model: HamiltonianModel, batch: Data, errors: PartErrors) -> list[list[tuple[Tensor, Tensor]]]:
    """Structure and coefficients of S of the bonds and of the atoms, in the order of the errors."""
    bond_sizes, atom_sizes = model.row_sizes(batch.numbers, batch.bond_index)
    atom_graph = batch.batch if "batch" in batch else torch.zeros_like(batch.numbers)
    bond_graph = atom_graph[batch.bond_index[0]]
    return [
        [(bond_graph[rows], take_rows(batch.offsite_overlap, bond_sizes, rows, e.shape[1])) for _, rows, e in errors.offsite],
        [(atom_graph[rows], take_rows(batch.onsite_overlap, atom_sizes, rows, e.shape[1])) for _, rows, e in errors.onsite],
    ]


def _beyond_graph(batch: Data) -> Tensor:
    """Structure of each element beyond the cutoffs."""
    return torch.arange(len(batch.beyond_size), device=batch.beyond_size.device).repeat_interleave(batch.beyond_size)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return sum((part.sum(dtype=torch.float64) for part in parts), torch.zeros((), dtype=torch.float64))


def _elements(model: HamiltonianModel, batch: Data, name: PartName, errors: OffsiteErrors) -> Tensor:
    """Sum of absolute errors of the off-site matrix elements, rotated back to the orbitals and axes of the crystal."""
    total = torch.zeros((), dtype=torch.float64)
    copies = next(part.copies for part in model.spin if part.name == name)
    for kind, rows, error in errors:
        D = [d.to(error.dtype) for d in bond_matrices(batch.bond_vector[rows], max(model.largest_shell, 1))]
        blocks = model.tables(name).pair_blocks(kind, error.unflatten(1, (copies, -1)), D)
        total = total + blocks.abs().sum(dtype=torch.float64)
    return total


def _onsite_elements(model: HamiltonianModel, name: PartName, errors: OnsiteErrors) -> Tensor:
    copies = next(part.copies for part in model.spin if part.name == name)
    return _total(model.tables(name).atom_blocks(z, error.unflatten(1, (copies, -1))).abs() for z, _, error in errors)


def summarize(sums: Mapping[str, float]) -> dict[str, float]:
    """Metrics in meV from added sums.

    Returns
    -------
    dict
        Of the spin-free part of H: ``mae_meV`` (all elements), ``projected_mae_meV`` (energy zero projected out; evaluation only),
        ``offsite_mae_meV``, ``onsite_mae_meV``, ``rmse_meV``. With spin also ``spin_orbit_mae_meV``, ``exchange_mae_meV`` and so on: of all
        elements of the real matrices B_a or A_a. ``levels_mae_meV`` is that of the DFT levels in and below the window, where the band stage
        has its states.
    """
    out: dict[str, float] = {}
    for label in LABELS.values():
        if f"{label}offsite_count" in sums:
            own = {name.removeprefix(label): value for name, value in sums.items() if name.startswith(label)}
            out |= {label + name: value for name, value in _summary(own).items()}
    if sums.get("level_count"):
        out["levels_mae_meV"] = 1e3 * sums["level_abs_sum"] / sums["level_count"]
    return out


def _summary(sums: Mapping[str, float]) -> dict[str, float]:
    count = sums["offsite_count"] + sums["onsite_count"]
    out = {"mae_meV": 1e3 * (sums["offsite_abs_sum"] + sums["onsite_abs_sum"]) / count}
    if "projected_abs_sum" in sums:
        out["projected_mae_meV"] = 1e3 * sums["projected_abs_sum"] / count
    out["offsite_mae_meV"] = 1e3 * sums["offsite_abs_sum"] / max(sums["offsite_count"], 1)
    out["onsite_mae_meV"] = 1e3 * sums["onsite_abs_sum"] / max(sums["onsite_count"], 1)
    out["rmse_meV"] = 1e3 * ((sums["offsite_square_sum"] + sums["onsite_square_sum"]) / count) ** 0.5
    return out
