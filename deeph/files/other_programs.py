"""Configuration files of DeepH-pack and DeepH-E3: not read, but recognized, so that their users are told where to look."""

from configparser import ConfigParser, Error
from pathlib import Path

from deeph.runtime.errors import UsageError

PAGE = "docs/coming_from_deeph.md"
TRANSLATED = {
    "raw_dir": "data.path",
    "processed_data_dir": "data.path",
    "save_dir": "the option --out",
    "train_ratio": "data.fractions",
    "val_ratio": "data.fractions",
    "test_ratio": "data.fractions",
    "num_epoch": "train.epochs",
    "epochs": "train.epochs",
    "checkpoint_dir": "the option --resume",
    "clip_grad_value": "train.grad_clip",
    "batch_size": "train.batch_structures",
    "learning_rate": "train.learning_rate",
    "seed": "train.seed",
    "device": "train.device",
    "num_threads": "train.threads",
    "atom_fea_len": "model.node_channels",
    "edge_fea_len": "model.bond_channels",
    "num_blocks": "model.n_layers",
    "num_l": "model.l_max",
}
"""Their keys and the settings that come nearest."""


def refuse_ini(path: Path) -> None:
    """Say how to come from another program, if a file is a configuration of it.

    Raises
    ------
    UsageError
        If the file is an ini file with the sections of DeepH-pack or DeepH-E3.
    """
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Error):
        return
    keys = [key for section in parser.sections() for key in parser[section]]
    known = [f"{key} -> {TRANSLATED[key]}" for key in keys if key in TRANSLATED]
    if path.suffix != ".ini" and not ({"basic", "hyperparameter", "hyperparameters"} & set(parser.sections())):
        return
    listed = "".join(f"\n  {line}" for line in dict.fromkeys(known))
    raise UsageError(
        f"{path} is a configuration of DeepH-pack or DeepH-E3, which deeph-train does not read. {PAGE} has the tables of keys, files and "
        f"commands; deeph-train --print-config > train.toml makes a file to start from{'. The nearest settings:' if known else ''}{listed}"
    )
