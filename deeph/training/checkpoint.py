"""Model files: weights and tables in safetensors, everything else as JSON in its header. No pickle, nothing is executed."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from deeph.files.folders import new_file
from deeph.nn.calibration import Calibration
from deeph.nn.ensemble import Ensemble, Predictor, members_of
from deeph.nn.model import HamiltonianModel
from deeph.physics.conventions import CONVENTIONS
from deeph.runtime.errors import DataError, ModelError
from deeph.runtime.version import VERSION as CODE_VERSION
from deeph.training.metrics import LABELS
from deeph.training.run_folder import model_file

MODEL_FORMAT, ENSEMBLE_FORMAT, STATE_FORMAT = "deeph-model", "deeph-ensemble", "deeph-training-state"
VERSION = 6
"""1: no trained lengths, and a baseline that is constant below the shortest bond. 2: H is spin-free; one head each for bonds and atoms.
3: one family of networks, whose weights are not apart from those of the model; no known matrix is taken. 4: no layers of bonds before
the heads. 5: an optimizer state for each weight instead of each shape. Files of all versions predict what they did."""
SINCE_TRUNK = 4
"""From this version on the weights have the names and the order of today."""
SINCE_STACKS = 6
"""From this version on a run can be continued: its optimizer keeps what today's does."""
_TRUNK = "element|atom_scalars|radial_basis|radial|bond_even|bond_odd|polarity|first_message|first_atoms|layers|moments"
_NAMES = (
    (rf"^({_TRUNK})\.", r"trunk.\1."),
    (r"^baseline\.", "baselines.A0."),
    (r"^(offsite|onsite)_head\.", r"readouts.A0.\1_heads.0."),
    (r"\.feed_forward\.(left|right)\.", r".feed_forward.products.0.\1."),
    (r"\.feed_forward\.product\.", ".feed_forward.products.0."),
)


def save_model(path: str | Path, model: HamiltonianModel, metadata: Mapping[str, Any]) -> None:
    """Write a model file; it appears complete or not at all.

    Parameters
    ----------
    path : path
        Conventionally ``model.safetensors``.
    model : HamiltonianModel
        The model.
    metadata : mapping
        What else to record, JSON-able: dataset fingerprint, metrics, configuration.
    """
    header = {"description": model.description(), "metadata": dict(metadata)}
    write_tensors(Path(path), MODEL_FORMAT, model.state_dict(), header)


def save_ensemble(path: str | Path, ensemble: Ensemble, metadata: Mapping[str, Any]) -> None:
    """Write an ensemble as one model file, which everything takes that takes a model.

    Parameters
    ----------
    path : path
        Conventionally ``ensemble.safetensors``.
    ensemble : Ensemble
        Its members and its calibration.
    metadata : mapping
        What else to record, JSON-able.
    """
    descriptions = [member.description() for member in ensemble.members]
    tensors = {f"{n}.{name}": tensor for n, member in enumerate(ensemble.members) for name, tensor in member.state_dict().items()}
    description = {"members": descriptions, "calibration": ensemble.calibration.to_plain()}
    write_tensors(Path(path), ENSEMBLE_FORMAT, tensors, {"description": description, "metadata": dict(metadata)})


def load_model(path: str | Path, device: str = "cpu") -> Predictor:
    """Read a model, or an ensemble of models, for prediction.

    Parameters
    ----------
    path : path
        A file of deeph-train or deeph-ensemble, or the folder of a training run (its best model is taken).
    device : str
        Where to put it.

    Returns
    -------
    HamiltonianModel or Ensemble
        Its ``origin`` (that of the members) tells the file, its hash and its errors, for what it predicts.

    Raises
    ------
    DataError
        If the file is missing, damaged, or no model.
    ModelError
        If it was written by a newer version or under other conventions.
    """
    path = model_file(path)
    tensors, header = read_tensors(path, MODEL_FORMAT, ENSEMBLE_FORMAT)
    single = header["format"] == MODEL_FORMAT
    model = restore_model(path, header["description"], tensors) if single else _restore_ensemble(path, header["description"], tensors)
    origin = _origin(path, header)
    for member in members_of(model):
        member.origin = origin
        member.eval()
    return model.to(device)


def _restore_ensemble(path: Path, description: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Ensemble:
    """The members and their calibration."""
    try:
        parts: list[dict[str, torch.Tensor]] = [{} for _ in description["members"]]
        for name, tensor in tensors.items():
            number, _, rest = name.partition(".")
            parts[int(number)][rest] = tensor
        calibration = Calibration.from_plain(description["calibration"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not describe a complete ensemble: {error!r}; make it anew with deeph-ensemble") from error
    members = [restore_model(path, own, part) for own, part in zip(description["members"], parts, strict=True)]
    return Ensemble(members, calibration)


def _origin(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """What a prediction says of its model: the file, without where it lies on this machine, and how good it was in the validation.

    With spin ``validate_mae_meV`` is that of the spin-free part; the other parts of H have one each.
    """
    place, metrics = path.resolve(), header["metadata"].get("metrics") or {}
    names = [f"validate_{label}mae_meV" for label in ("", "projected_", *(label for label in LABELS.values() if label))]
    errors = {name: metrics[name] for name in names if name in metrics}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    members = header["description"].get("members")
    several = {} if members is None else {"members": len(members)}
    return {"file": f"{place.parent.name}/{place.name}", "sha256": digest, "code": header["code"], **several, **errors}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What was recorded with a model, without its weights: metrics, dataset, configuration, code version."""
    header = _read_header(model_file(path), MODEL_FORMAT, ENSEMBLE_FORMAT)
    return {**header["metadata"], "description": header["description"], "code": header["code"], "conventions": header["conventions"]}


def restore_model(path: Path, description: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> HamiltonianModel:
    """Rebuild a model from its description and its state; the tensors keep the type they were stored with."""
    try:
        model = HamiltonianModel.from_description(description)
        model.load_state_dict(dict(tensors), assign=True)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not describe a complete model: {error}") from error
    return model


def write_tensors(path: Path, kind: str, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header under a temporary name, then rename."""
    full = {"format": kind, "version": VERSION, "code": f"deeph {CODE_VERSION}", "conventions": CONVENTIONS, **header}
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = save(plain, metadata={"deeph": json.dumps(full)})
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path, *kinds: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and header of a file of one of these kinds, written by :func:`write_tensors`.

    The tensors are copies with a place of their own: in the file, some lie at odd addresses, for which some processors round products
    otherwise.
    """
    header = _read_header(path, *kinds)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    return renamed(tensors) if header["format"] == MODEL_FORMAT and header["version"] < SINCE_TRUNK else tensors, header


def renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a model of version 1 to 3 under the names of today; in 1 and 2, maps of pseudo features into products were empty."""
    out = dict[str, torch.Tensor]()
    for name, tensor in tensors.items():
        if re.search(r"\.feed_forward\.(left|right)\.weights\.1$", name):
            continue
        new = name
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        out[new] = tensor
    return out


def _read_header(path: Path, *kinds: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is missing; expected a file written by deeph-train")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["deeph"])
    except KeyError:
        raise DataError(f"{path} is a safetensors file of another program; expected one written by deeph-train") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise DataError(f"{path} is damaged or no safetensors file ({error}); expected a file written by deeph-train") from error
    if header.get("format") not in kinds:
        raise DataError(f"{path} holds a {header.get('format')!r}; expected a {' or a '.join(map(repr, kinds))}")
    if header["version"] > VERSION:
        raise ModelError(f"{path} has format version {header['version']} ({header.get('code')}); this code knows {VERSION}: update it")
    different = [name for name, value in CONVENTIONS.items() if header["conventions"].get(name) != value]
    if different:
        seen = header["conventions"].get(different[0])
        raise ModelError(f"{path} was trained with {different[0]} = {seen!r}; expected {CONVENTIONS[different[0]]!r}")
    return cast("dict[str, Any]", header)
