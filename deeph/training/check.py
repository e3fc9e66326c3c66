"""Look at settings and data before training: ``deeph-train --check``."""

from deeph.config import Config
from deeph.files.dataset import open_dataset, split_of
from deeph.nn.known import lying_together
from deeph.physics.basis import Basis
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError
from deeph.training.band_error import band_structures, make_references
from deeph.training.batches import plan_batches


def check_data(config: Config) -> str:
    """Read every structure of the split and say what would be trained.

    Raises
    ------
    DataError
        If structures are damaged or do not belong together: all of them, one line each.
    """
    dataset = open_dataset(config.data.path)
    split = split_of(dataset, config.data)
    names = [*split.train, *split.validate, *split.test]
    chosen = band_structures(dataset, split, config)
    problems: list[str] = []
    basis = Basis({}, "none")
    trained: set[int] = set()  # elements; the names start with the structures to train on
    n_atoms = 0
    for number, name in enumerate(names):
        try:
            structure = dataset.read(name)
            basis = merge_bases(basis if basis.shells else structure.basis, structure.basis, name)
            trained |= set(structure.basis.shells) if number < len(split.train) else set()
            unknown = sorted(set(structure.basis.to_symbols()) - {SYMBOLS[z] for z in trained})
            if unknown:
                problems.append(f"{name}: {', '.join(unknown)} occurs in no structure that is trained on")
            together = lying_together(structure)
            if together:
                problems.append(f"{name}: {together}")
            n_atoms += structure.system.n_atoms
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n  ".join([f"{len(problems)} of {len(names)} structures cannot be used:", *problems]))
    n_levels = [int(reference.counted.sum()) for reference in make_references(dataset, chosen)]
    n_bonds = dataset.subset(names).n_bonds
    n_batches = len(plan_batches(split.train, n_bonds, config.train.batch_bonds))
    bands = f"bands       {sum(n_levels)} DFT levels of {', '.join(chosen)} are compared at validations\n" if chosen else ""
    return (
        f"data        {dataset.path}\n"
        f"structures  {len(split.train)} to train on, {len(split.validate)} to validate with, {len(split.test)} kept for tests\n"
        f"basis       {basis.to_symbols()}, spin: {basis.spin}\n"
        f"size        {n_atoms / len(names):.0f} atoms and {sum(n_bonds[n] for n in names) / len(names):.0f} bonds on average\n"
        f"training    about {n_batches} steps an epoch, {config.train.epochs} epochs"
        + (f", at most {config.train.max_minutes:g} minutes" if config.train.max_minutes else "")
        + f"\n{bands}"
    )


def merge_bases(first: Basis, second: Basis, name: str) -> Basis:
    """One basis for both.

    Raises
    ------
    DataError
        If an element has other shells, or the spin differs.
    """
    if second.spin != first.spin:
        raise DataError(f"{name}: spin {second.spin!r}, the structures before it have {first.spin!r}; train one model for each")
    for z, shells in second.shells.items():
        if first.shells.get(z, shells) != shells:
            raise DataError(f"{name}: shells {second.to_symbols()}, the structures before it have {first.to_symbols()}")
    return Basis({**first.shells, **second.shells}, first.spin)
