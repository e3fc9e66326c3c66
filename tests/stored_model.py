"""Small model files and their predictions, as each version of the format wrote them: ``python tests/stored_model.py`` makes the last one.

They are made once, by the code of their version, and stay: a change of the code that changes these predictions changes those of every
model file in use. To make them anew is to say that all models have to be trained again, which takes another version of the format.
"""

import gzip
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph.files.store import read_folder, write_folder
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.system import System

FOLDERS = {version: Path(__file__).parent / "data" / f"stored_model{'' if version == 1 else f'_{version}'}" for version in (1, 2, 3, 4)}


def displaced(structure: Hamiltonian, radii: dict[int, float]) -> Hamiltonian:
    """A structure without symmetry, of which only the pattern is known."""
    shift = 0.1 * np.sin(np.arange(1, 3 * structure.system.n_atoms + 1)).reshape(-1, 3)
    system = System(structure.system.cell, structure.system.positions + shift, structure.system.numbers)
    pairs = neighbour_pairs(system, radii)
    S = PairBlocks.zeros(pairs, block_shapes(structure.basis, system.numbers, pairs, spin=False))
    return Hamiltonian(system, structure.basis, S)


def unpack(folder: Path, version: int = 1) -> tuple[Path, dict[str, Hamiltonian]]:
    """The model file, and the structures with the stored predictions as H, by name."""
    for packed in FOLDERS[version].rglob("*.gz"):
        target = folder / packed.relative_to(FOLDERS[version]).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(packed.read_bytes()))
    return folder / "model.safetensors", {p.name: read_folder(p) for p in folder.iterdir() if p.is_dir()}


def main() -> None:
    """Fit to the examples of the repository, disturb all weights, and store model and predictions."""
    import torch

    from deeph.config import ModelConfig
    from deeph.inference import predict
    from deeph.nn.fit import fit_model
    from deeph.training.checkpoint import VERSION, load_model, save_model
    from preprocess.readers import READERS

    data, work = Path(__file__).parent / "data", Path(tempfile.mkdtemp())
    (work / "mini_graphene.scfout").write_bytes(gzip.decompress((data / "openmx/mini_graphene/mini_graphene.scfout.gz").read_bytes()))
    examples = {"graphene": READERS["openmx"].read(work), "hbn": READERS["pyscf"].read(data / "pyscf_hbn")}
    config = ModelConfig(
        node_channels=6, node_pseudo_channels=3, bond_channels=5, bond_pseudo_channels=2, n_layers=2, n_radial=8, radial_hidden=8, rank=3,
        baseline_degree=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = fit_model(config, list(examples.values()))
    with torch.no_grad():
        for parameter in model.parameters():  # round numbers, which take less room in the repository
            parameter.copy_(torch.round((parameter + 0.1 * torch.randn_like(parameter)) * 16) / 16)
    save_model(work / "model.safetensors", model, {"note": "for the tests"})
    model = load_model(work / "model.safetensors").double()
    for name, example in examples.items():
        structure = displaced(example, {5: 1.6, 6: 1.6, 7: 1.6})
        write_folder(work / "out" / name, replace(predict(model, structure), basis=example.basis))
    for path in [work / "model.safetensors", *(p for p in (work / "out").rglob("*") if p.is_file())]:
        target = data / f"stored_model_{VERSION}" / f"{path.relative_to(work / 'out' if 'out' in path.parts else work)}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
