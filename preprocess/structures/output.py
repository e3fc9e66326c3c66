"""A set of structures on disk: a folder each, what it takes to compute them, and how they came about."""

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deeph.files.folders import new_folder, remove_leftovers
from deeph.files.store import element_order, write_poscar
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from deeph.runtime.version import VERSION
from preprocess.structures.inputs import COMMANDS, input_files
from preprocess.structures.settings import Settings

PROVENANCE, JOBS, SCRIPT = "structures.json", "jobs.txt", "submit.sh"
SCRIPT_TEXT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{count}
{header}
# sbatch {script} in this folder computes every folder in {jobs}; ./{script} 3 the third one
cd "${{SLURM_SUBMIT_DIR:-$(dirname "$0")}}" || exit 1
folder=$(sed -n "${{SLURM_ARRAY_TASK_ID:-$1}}p" {jobs})
cd "${{folder:?no such task}}" || exit 1
{command}
"""


class Item(NamedTuple):
    """A structure of a set: its folder ("" for the set itself), and what to record about it."""

    name: str
    system: System
    record: dict[str, Any]


def item_name(n: int) -> str:
    """Folder of structure number n."""
    return f"{n:04d}"


def write_set(out: Path, items: Iterable[Item], settings: Settings | None, provenance: Mapping[str, Any]) -> int:
    """Write a set; it appears complete or not at all.

    Parameters
    ----------
    out : path
        Must not exist.
    items : iterable of Item
        The structures, made while they are written.
    settings : Settings or None
        Writes the input files of a DFT code, too.
    provenance : mapping
        Command line and parameters, for ``structures.json``.

    Returns
    -------
    int
        Number of structures.

    Raises
    ------
    DataError
        If the folder exists or no structure came.
    """
    records: dict[str, Any] = {}
    remove_leftovers(out.parent)
    with new_folder(out) as temporary:
        for item in items:
            _write_structure(temporary / item.name, item.system, settings)
            records[item.name or "."] = {"atoms": item.system.n_atoms, **item.record}
        if not records:
            raise DataError("no structure is left to be written")
        info = {"version": VERSION, **provenance, "structures": records}
        (temporary / PROVENANCE).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        if settings is not None:
            _write_jobs(temporary, out.resolve().name, list(records), settings)
    logger.info("%s: %d structure%s", out, len(records), "" if len(records) == 1 else "s")
    return len(records)


def _write_structure(folder: Path, system: System, settings: Settings | None) -> None:
    system = system.permuted(element_order(system))
    folder.mkdir(parents=True, exist_ok=True)
    write_poscar(folder / "POSCAR", system)
    for name, text in input_files(system, settings).items() if settings is not None else ():
        (folder / name).write_text(text, encoding="utf-8")


def _write_jobs(folder: Path, name: str, names: list[str], settings: Settings) -> None:
    """The list of folders and a Slurm array script that works through it."""
    command = settings.job.command or COMMANDS[settings.run.code]
    if settings.run.code == "siesta" and settings.run.data_path:
        command = f"export SIESTA_PS_PATH={shlex.quote(settings.run.data_path)}\n{command}"
    text = SCRIPT_TEXT.format(
        name=shlex.quote(name), count=len(names), header="\n".join(settings.job.header), script=SCRIPT, jobs=JOBS, command=command
    )
    (folder / JOBS).write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / SCRIPT).write_text(text, encoding="utf-8")
    (folder / SCRIPT).chmod(0o755)
