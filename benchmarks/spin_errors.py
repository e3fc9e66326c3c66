"""What the scripts spin_*.py share: the prediction or the DFT H in its place, errors of the spin parts of H, a report."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import deeph
from deeph import Hamiltonian, PairBlocks
from deeph.files.dataset import Dataset
from deeph.files.split import Split
from deeph.files.split_file import read_split
from deeph.physics.blocks import energy_zero
from deeph.physics.difference import ErrorSums
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import PARTS, split_spin
from deeph.training.evaluate import baseline_alone

Predict = Callable[[Hamiltonian], Hamiltonian]
ITSELF = "dft"
"""In the place of a model: the DFT H is its own prediction, which has no errors; a trial of the scripts."""
SITES = ("on-site", "off-site")
SIZE = "size of it in DFT"


def predictor(model: str) -> Predict:
    """What predicts H: a model file or the folder of a training run, or :data:`ITSELF`."""
    if model == ITSELF:
        return lambda h: replace(h, predicted=True, fermi_energy=None, moments=None)
    return deeph.load_model(model).predict


def without_network(model: str) -> dict[str, Predict]:
    """What the baseline of a model predicts alone; nothing for :data:`ITSELF`."""
    return {} if model == ITSELF else {"baseline alone": baseline_alone(deeph.load_model(model)).predict}


def read_run(path: Path) -> Hamiltonian:
    """A DFT run or structure folder that has to hold H."""
    found = deeph.read(path)
    if not isinstance(found, Hamiltonian):
        raise deeph.DataError(f"{path} holds no Hamiltonian")
    return found


def with_split(path: Path) -> tuple[Dataset, Split]:
    """A dataset and its split."""
    data = deeph.open_dataset(path)
    return data, read_split(data)


def add_errors(sums: ErrorSums, reference: Hamiltonian, other: Hamiltonian) -> None:
    """Add the errors of one structure; A0 without the common energy zero.

    Labels in the table ``by_site`` are such as "B on-site", in ``by_elements`` "B Mo-S", on-site "B Mo".
    """
    H = reference.hamiltonian
    difference = PairBlocks(H.pairs, H.shapes, 1e3 * (other.hamiltonian.entries - H.entries))
    mu, onsite, symbols = energy_zero(difference, reference.S), is_onsite(H.pairs), np.array(reference.system.symbols)
    kinds = np.array(["-".join(sorted(symbols[pair[3:]])[: 1 if own else 2]) for pair, own in zip(H.pairs, onsite, strict=True)])
    for _, index in difference.groups():
        S = reference.S.take(index)[0][:, None]
        for part, error in split_spin(difference.take(index), reference.basis.spin).items():
            values = error - mu * S if part == "A0" else error
            for site, chosen in zip(SITES, (onsite[index], ~onsite[index]), strict=True):
                sums.add("by_site", f"{part} {site}", values[chosen])
            for kind in np.unique(kinds[index]):
                sums.add("by_elements", f"{part} {kind}", values[kinds[index] == kind])


def empty(h: Hamiltonian) -> Hamiltonian:
    """H = 0, whose errors are the size of DFT's H."""
    return replace(h, H=replace(h.hamiltonian, entries=0 * h.hamiltonian.entries))


def error_rows(sums: ErrorSums, name: str, parts: Iterable[str] = PARTS) -> list[str]:
    """A line for each part of H that there is, meV."""
    table, rows = sums.table("by_site"), []
    for part in parts:
        if f"{part} on-site" in table:
            errors = [table[f"{part} {site}"] for site in SITES]
            numbers = [x for one in errors for x in (one.mae, one.rmse, one.max)]
            rows.append(f"{part:<4}{name:<24}" + "".join(f"{x:>11.4f}" for x in numbers))
    return rows


HEADER = f"{'meV':<28}" + "".join(f"{site + ' ' + kind:>11}" for site in ("on", "off") for kind in ("MAE", "rms", "max"))
"""Above :func:`error_rows`."""


def error_table(report: "Report", data: Dataset, names: Iterable[str], found: dict[str, Predict]) -> None:
    """Errors of all parts of H on some structures, of each of several answers, and the size of the parts."""
    sums = {answer: ErrorSums() for answer in (*found, SIZE)}
    for name in names:
        h = data.read(name)
        for answer, predict in found.items():
            add_errors(sums[answer], h, predict(h))
        add_errors(sums[SIZE], h, empty(h))
    report("", f"errors of H on the test structures {', '.join(names)}; A0 without the common energy zero", HEADER)
    for part in PARTS:
        for answer, one in sums.items():
            if (part, answer) != ("A0", SIZE):
                report(*error_rows(one, answer, [part]))


@dataclass
class Report:
    """Lines on the screen that are kept for a file."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
        self.lines += lines

    def save(self, path: Path) -> None:
        """All lines so far."""
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
