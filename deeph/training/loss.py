"""The loss: errors of H in the frames of the bonds, relative to what the baseline leaves.

In the frame of a bond the loss does not depend on the orientation of the crystal, and nothing has to be rotated back. It is formed
per structure and averaged over structures, so that batches and processes may split them freely. Each part of H, spin-free, spin-orbit or
exchange field, has its own unit: their sizes differ by factors of a hundred and more. Within a part every error in eV counts alike, or,
with sigma_power = p, divided by sigma^p, where sigma is the scale of its key at its distance: p = 1 is the loss of the standardized
coefficients, which looks at far and small elements as much as at near and large ones.
"""

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.config import LossConfig
from deeph.nn.model import HamiltonianModel, Prediction
from deeph.nn.rows import take_rows
from deeph.nn.spin import SpinPart
from deeph.training.band_loss import BandTerm, band_loss
from deeph.training.metrics import PartErrors, error_sums, project_energy_zero


def compute_loss(
    model: HamiltonianModel, batch: Data, config: LossConfig, bands: BandTerm | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch, and sums for the metrics.

    Parameters
    ----------
    model : HamiltonianModel
        The network.
    batch : torch_geometric Data or Batch
        Graphs with targets.
    config : LossConfig
        Weights.
    bands : BandTerm, optional
        States of the DFT, of the band stage of a run, see :mod:`deeph.training.band_loss`.

    Returns
    -------
    loss : scalar tensor
        Mean over the structures of mae_weight MAE + rmse_weight RMSE, off-site plus onsite_weight on-site, each in units of the root
        mean square that the baseline leaves in the training set; of the spin-free part plus spin_weight times each part with spin; without
        their part mu S if the energy zero of the model is free. In the band stage plus the error in the states.
    sums : dict of scalar tensors
        What :func:`deeph.training.metrics.summarize` needs, to be added over batches and processes.
    """
    prediction: Prediction = model(batch)
    bond_graph, atom_graph = structures_of(batch)
    n_graphs = len(batch.beyond_size)  # on the host: nothing waits for a GPU here

    errors = {part.name: part_errors(model, batch, prediction, part) for part in model.spin}
    if model.free_zero:
        errors["A0"] = project_energy_zero(model, batch, errors["A0"])

    loss = torch.zeros((), dtype=model.dtype, device=model.device)
    for part in model.spin:
        offsite, onsite = errors[part.name]
        baseline = model.baseline(part.name)
        if config.sigma_power:
            offsite, onsite = over_sigma(model, batch, errors[part.name], part, config.sigma_power)
        of_bonds = _mean_errors([e for *_, e in offsite], [bond_graph[r] for _, r, _ in offsite], n_graphs, baseline.unit_offsite, config)
        of_atoms = _mean_errors([e for *_, e in onsite], [atom_graph[r] for _, r, _ in onsite], n_graphs, baseline.unit_onsite, config)
        both = of_bonds + config.onsite_weight * of_atoms
        loss = loss + (both if part.name == "A0" else config.spin_weight * both)
    of_levels: dict[str, Tensor] = {}
    if bands is not None:
        in_states, of_levels = band_loss(model, batch, (bond_graph, atom_graph), errors, bands)
        loss = loss + in_states
    with torch.no_grad():
        detached = {
            name: PartErrors([(k, r, e.detach()) for k, r, e in offsite], [(z, r, e.detach()) for z, r, e in onsite])
            for name, (offsite, onsite) in errors.items()
        }
        sums = error_sums(model, batch, detached) | of_levels
    return loss, sums


def part_errors(model: HamiltonianModel, batch: Data, prediction: Prediction, part: SpinPart) -> PartErrors:
    """Errors of the coefficients of one part of H, eV, in rows (copies x size)."""
    bond_sizes, atom_sizes = model.row_sizes(batch.numbers, batch.bond_index)
    offsite, onsite = [], []
    V = prediction.V if part.name == "A0" else None
    target, scale = batch[f"offsite_target_{part.name}"], batch[f"offsite_scale_{part.name}"]
    for kind, rows, h in prediction.offsite[part.name]:
        sigma = take_rows(scale, bond_sizes * (part.n_spin // part.copies), rows, h.shape[2])
        found = (h * sigma[:, None]).flatten(1)
        error = found - take_rows(target, part.n_spin * bond_sizes, rows, found.shape[1])
        if V is not None:
            S, r = take_rows(batch.offsite_overlap, bond_sizes, rows, error.shape[1]), batch.bond_vector[rows].norm(dim=1)
            error = error + V.offsite(kind, batch.bond_index[:, rows], r, S)
        offsite.append((kind, rows, error))
    for z, rows, h in prediction.onsite[part.name]:
        sigma = model.baseline(part.name).atom_scale(z).to(h.dtype)
        found = (h * sigma).flatten(1)
        error = found - take_rows(batch[f"onsite_target_{part.name}"], part.n_spin * atom_sizes, rows, found.shape[1])
        if V is not None:
            error = error + V.onsite(z, rows, take_rows(batch.onsite_overlap, atom_sizes, rows, error.shape[1]))
        onsite.append((z, rows, error))
    return PartErrors(offsite, onsite)


def over_sigma(model: HamiltonianModel, batch: Data, errors: PartErrors, part: SpinPart, power: float) -> PartErrors:
    """Errors of one part of H over sigma^power, scaled so that errors of the size of sigma keep their root mean square in each structure.

    Scales below those of noise are taken for as large as these.
    """
    baseline, (bond_graph, atom_graph) = model.baseline(part.name), structures_of(batch)
    bond_sizes, _ = model.row_sizes(batch.numbers, batch.bond_index)
    sizes, scale = bond_sizes * (part.n_spin // part.copies), batch[f"offsite_scale_{part.name}"]
    of_bonds = [take_rows(scale, sizes, rows, e.shape[1] // part.copies).repeat(1, part.copies) for _, rows, e in errors.offsite]
    of_atoms = [baseline.atom_scale(z).repeat(part.copies).expand_as(e) for z, _, e in errors.onsite]
    on_bonds = _weights(of_bonds, [bond_graph[rows] for _, rows, _ in errors.offsite], baseline.floor, power)
    on_atoms = _weights(of_atoms, [atom_graph[rows] for _, rows, _ in errors.onsite], baseline.floor, power)
    return PartErrors(
        [(kind, rows, e * w.to(e.dtype)) for (kind, rows, e), w in zip(errors.offsite, on_bonds, strict=True)],
        [(z, rows, e * w.to(e.dtype)) for (z, rows, e), w in zip(errors.onsite, on_atoms, strict=True)],
    )


def _weights(scales: list[Tensor], graphs: list[Tensor], floor: float, power: float) -> list[Tensor]:
    """sigma^-power times the factor of each structure, float64."""
    sigma = [s.double().clamp(min=floor) for s in scales]
    if not sigma:
        return []
    n_graphs, of_rows = 1 + max(int(graph.max()) for graph in graphs), torch.cat(graphs)

    def total(n: float) -> Tensor:
        return sigma[0].new_zeros(n_graphs).index_add(0, of_rows, torch.cat([s.pow(n).sum(1) for s in sigma]))

    factor = torch.sqrt(total(2.0) / total(2 - 2 * power).clamp(min=torch.finfo(torch.float64).tiny))  # some structure may have no row
    return [s.pow(-power) * factor[graph][:, None] for s, graph in zip(sigma, graphs, strict=True)]


def structures_of(batch: Data) -> tuple[Tensor, Tensor]:
    """Which structure of a batch each bond and each atom belongs to."""
    of_atoms = batch.batch if "batch" in batch else torch.zeros_like(batch.numbers)
    return of_atoms[batch.bond_index[0]], of_atoms


def _mean_errors(errors: list[Tensor], graphs: list[Tensor], n_graphs: int, unit: Tensor, config: LossConfig) -> Tensor:
    """MAE and RMSE per structure, weighted, then averaged over structures."""
    if not errors:
        return torch.zeros(())
    absolute, square, count = (errors[0].new_zeros(n_graphs) for _ in range(3))
    for error, graph in zip(errors, graphs, strict=True):
        absolute = absolute.index_add(0, graph, error.abs().sum(1))
        square = square.index_add(0, graph, error.square().sum(1))
        count = count.index_add(0, graph, torch.full_like(error[:, 0], error.shape[1]))
    count = count.clamp(min=1)
    scale = unit.to(count.dtype)
    tiny = torch.where(scale > 1e-3, 1e-16, 1e-10 * scale.square())  # keeps the root differentiable where nothing is wrong
    return (config.mae_weight * absolute / count + config.rmse_weight * torch.sqrt(square / count + tiny)).mean() / scale
