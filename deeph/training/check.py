"""Look at settings and data before training: all that training would refuse is refused here, also by ``deeph-train --check``."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import torch

from deeph.config import Config
from deeph.files.dataset import Dataset
from deeph.files.outliers import Sizes, unusual_sizes
from deeph.files.split import Split
from deeph.files.store import find_incomplete, holds_a_part
from deeph.files.training_set import NoMomentsError, TrainingSet
from deeph.nn.families import check_family
from deeph.nn.model import HamiltonianModel
from deeph.nn.spin_survey import check_chosen
from deeph.physics.basis import Basis
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, telling
from deeph.runtime.torch_group import Launch
from deeph.training.band_error import make_references
from deeph.training.band_states import check_window
from deeph.training.batches import plan_batches, validation_interval
from deeph.training.data import band_structures, open_split
from deeph.training.run_folder import check_folder
from deeph.training.stages import Stages

MAX_UNUSUAL = 5
"""Structures that are left out or unlike the others, and are named."""
MAX_LISTED = 20
"""Structures that cannot be used and are named; of a thousand equal mistakes these say enough."""


def check_run(config: Config, out: Path, *, resume: bool) -> str:
    """All that training would refuse, and what it would do; nothing is written.

    Raises
    ------
    UsageError
        If the run folder does not fit, or a GPU is asked for and there is none.
    DataError
        If the data cannot be trained on.
    """
    check_folder(out, resume=resume)
    choose_device(config.train.device, Launch())
    return check_data(config)


def choose_device(name: str, launch: Launch) -> torch.device:
    """The device of this process; each process of a node gets its own GPU."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("train.device is 'cuda', but torch sees no GPU; set it to 'auto' or 'cpu'")
    if name == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", launch.local % torch.cuda.device_count())


def check_data(config: Config) -> str:
    """Read every structure of the split and say what would be trained.

    Raises
    ------
    DataError
        If structures are damaged or do not belong together: all of them, one line each.
    """
    stages = Stages(config)
    stages.check_share()
    dataset, split = open_split(config)
    chosen = band_structures(dataset, split, config)
    _tell_left_out(config.data.path, split)  # before what is wrong with the others, which count without them
    found, n_atoms = _read_all(dataset, split, config)
    n_levels = [int(reference.counted.sum()) for reference in make_references(dataset, chosen)]
    cutoffs = dict.fromkeys(_pairs(found.basis), 1.0)
    network = HamiltonianModel(config.model, found.basis, cutoffs, 1.0, parts=found.parts)  # refuses what does not fit the data
    n_weights = sum(weight.numel() for weight in network.parameters())
    names = [*split.train, *split.validate, *split.test]
    n_bonds, train = dataset.subset(names).n_bonds, config.train
    n_steps = len(plan_batches(split.train, n_bonds, train))
    every = validation_interval(n_steps, train)
    counted = "" if train.max_minutes else f", {stages.n_epochs} of {train.epochs} epochs"
    last = (
        f"bands       the last {config.bands.share:.3g} of the run{counted}: errors in the states of the DFT\n"
        if config.bands.share
        else ""
    )
    bands = f"bands       {sum(n_levels)} DFT levels of {', '.join(chosen)} are compared at validations\n" if chosen else ""
    return (
        f"data        {dataset.path}\n"
        f"structures  {len(split.train)} to train on, {len(split.validate)} to validate with, {len(split.test)} kept for tests\n"
        f"basis       {found.basis.to_symbols()}\n"
        f"spin        {found.spin_text}\n"
        f"learned     {'H - H0' if dataset.extra else 'H'}\n"
        f"weights     {n_weights}\n"
        f"size        {n_atoms / len(names):.0f} atoms and {sum(n_bonds[n] for n in names) / len(names):.0f} bonds on average\n"
        f"training    about {n_steps} steps an epoch, {train.epochs} epochs"
        + (f", at most {train.max_minutes:g} minutes" if train.max_minutes else "")
        + f"; a validation every {f'{every} epochs' if every > 1 else 'epoch'}\n{last}{bands}"
    )


def _pairs(basis: Basis) -> list[tuple[int, int]]:
    """Pairs of elements of a model."""
    return [(a, b) for a in sorted(basis.shells) for b in sorted(basis.shells) if a <= b]


def _read_all(dataset: Dataset, split: Split, config: Config) -> tuple[TrainingSet, int]:
    """Add all structures to a training set; returns it, and the number of atoms."""
    names, bands = [*split.train, *split.validate, *split.test], config.bands
    found, problems, n_atoms, at = TrainingSet(), [], 0, 0
    trained, magnetic, sizes = found, False, dict[str, Sizes]()
    with telling(lambda: f"reading structure {at + 1} of {len(names)}"):
        for at, name in enumerate(names):
            if at == len(split.train):
                trained = deepcopy(found)
            try:
                data = dataset.read(name)
                n_atoms += data.system.n_atoms
                found.add(data, train=at < len(split.train))
                sizes[name] = Sizes.of(data)
                if missing := set(dataset.extra) - set(data.extra):
                    problems.append(f'{name}: no {", ".join(missing)} (hamiltonian_zeroth.h5), which model.zeroth = "use" asks for')
                if bands.share and at < len(split.train) + len(split.validate):
                    check_window(data, bands.window)
            except DataError as error:
                magnetic |= isinstance(error, NoMomentsError)
                problems.append(str(error) if str(dataset.path / name) in str(error) else f"{name}: {error}")
    check_family(config.model, magnetic=magnetic or found.n_magnetic > 0)  # no other data would help
    if problems:
        more = [f"and {len(problems) - MAX_LISTED} more"] if len(problems) > MAX_LISTED else []
        head = f"{len(problems)} of {len(names)} structures cannot be used:"
        raise DataError("\n  ".join([head, *problems[:MAX_LISTED], *more]))
    if config.model.magnetic_elements != "auto":
        moments = trained.moments if trained.n_magnetic else {}
        check_chosen(config.model.magnetic_elements, {z: high for z, (_, high) in moments.items()})
    _tell_unusual(sizes)
    return found, n_atoms


def _tell_unusual(sizes: Mapping[str, Sizes]) -> None:
    """Warn of structures whose H is in other units, or of another kind of run: training would go on, and learn nothing."""
    if unusual := unusual_sizes(sizes):
        listed = [f"{name}: {reason}" for name, reason in unusual.items()]
        more = [f"and {len(listed) - MAX_UNUSUAL} more"] if len(listed) > MAX_UNUSUAL else []
        logger.warning(
            "%d of %d structures are unlike the others; 27.2 or 13.6 times are units (1 Hartree = 27.2114 eV), all else other settings of "
            "the run. Convert them anew, or leave them out:\n  %s", len(unusual), len(sizes), "\n  ".join([*listed[:MAX_UNUSUAL], *more]),
        )  # fmt: skip


def _tell_left_out(path: Path, split: Split) -> None:
    """Warn of folders with files of a structure that are none, and so are in no part."""
    named = {name for part in (split.train, split.validate, split.test) for name in part}
    names = [str(folder.relative_to(path)) for folder in find_incomplete(path) if holds_a_part(folder)]
    if left := [name for name in names if name not in named]:
        some = ", ".join([*left[:MAX_UNUSUAL], *(["..."] if len(left) > MAX_UNUSUAL else [])])
        logger.warning("%d folders in %s lack POSCAR or info.json and are left out: %s", len(left), path, some)
