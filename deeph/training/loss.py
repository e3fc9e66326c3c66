"""The loss: errors of H in the frames of the bonds, relative to what the baseline leaves.

In the frame of a bond the loss does not depend on the orientation of the crystal, and nothing has to be rotated back. It is formed
per structure and averaged over structures, so that batches and processes may split them freely.
"""

import torch
from torch import Tensor
from torch_geometric.data import Data

from deeph.config import LossConfig
from deeph.nn.graph import take_rows
from deeph.nn.model import HamiltonianModel, Prediction
from deeph.training.metrics import error_sums, project_energy_zero


def compute_loss(model: HamiltonianModel, batch: Data, config: LossConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch, and sums for the metrics.

    Parameters
    ----------
    model : HamiltonianModel
        The network.
    batch : torch_geometric Data or Batch
        Graphs with targets.
    config : LossConfig
        Weights.

    Returns
    -------
    loss : scalar tensor
        Mean over the structures of mae_weight MAE + rmse_weight RMSE, off-site plus onsite_weight on-site, each in units of the root
        mean square that the baseline leaves in the training set; without their part mu S if the energy zero of the model is free.
    sums : dict of scalar tensors
        What :func:`deeph.training.metrics.summarize` needs, to be added over batches and processes.
    """
    prediction: Prediction = model(batch)
    bond_sizes, atom_sizes = model.row_sizes(batch.numbers, batch.bond_index)
    atom_graph = batch.batch if "batch" in batch else torch.zeros_like(batch.numbers)
    n_graphs = int(atom_graph.max()) + 1
    bond_graph = atom_graph[batch.bond_index[0]]

    offsite = []
    for kind, rows, h in prediction.offsite:
        error = h * take_rows(batch.offsite_scale, bond_sizes, rows) - take_rows(batch.offsite_target, bond_sizes, rows)
        offsite.append((kind, rows, error))
    onsite = []
    for z, rows, h in prediction.onsite:
        error = h * model.baseline.atom_scale(z).to(h.dtype) - take_rows(batch.onsite_target, atom_sizes, rows)
        onsite.append((z, rows, error))
    if model.free_zero:
        offsite, onsite = project_energy_zero(model, batch, offsite, onsite)

    loss = _mean_errors([e for *_, e in offsite], [bond_graph[r] for _, r, _ in offsite], n_graphs, model.baseline.unit_offsite, config)
    loss = loss + config.onsite_weight * _mean_errors(
        [e for *_, e in onsite], [atom_graph[r] for _, r, _ in onsite], n_graphs, model.baseline.unit_onsite, config
    )
    with torch.no_grad():
        sums = error_sums(model, batch, [(k, r, e.detach()) for k, r, e in offsite], [(z, r, e.detach()) for z, r, e in onsite])
    return loss, sums


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
    return (config.mae_weight * absolute / count + config.rmse_weight * torch.sqrt(square / count + 1e-16)).mean() / scale
