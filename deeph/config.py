"""Settings of a training run. The docstring of each field is its documentation, also in ``deeph-train --print-config``."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deeph.physics.system import SYMBOLS

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
AutoCount = Literal["auto"] | Count
AutoNumber = Literal["auto"] | Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    """A table of the TOML file: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


NOT_IN_FAMILY = {
    "so2": {"irreps"},
    "e3": {"l_max", "bond_layers", "node_odd_channels", "bond_odd_channels", "magnetic_elements"},
    "slater-koster": {
        "size", "irreps", "l_max", "n_layers", "bond_layers",
        "node_channels", "node_pseudo_channels", "bond_channels", "bond_pseudo_channels",
        "node_odd_channels", "bond_odd_channels", "potential",
    },
}  # fmt: skip
"""Sizes that a family does not have."""
REMOVED = "zeroth_input", "overlap_input"
"""Settings of [model] in earlier versions, blocks of H0 and S as features, which gained nothing; files that name them as off are read."""


class ModelConfig(Section):
    """Size of the network."""

    family: Literal["so2", "e3", "slater-koster"] = "so2"
    """Kind of network. "so2": the features of a bond stay in its frame, the fastest and most accurate one. "e3": full Clebsch-Gordan
    products of irreps, the class of DeepH-E3, for comparison; no magnetism. "slater-koster": no surroundings, integrals of two centres as
    trainable functions of the bond length. Sizes that a family does not have must be left out."""

    irreps: str = "64x0e+32x1o+16x2e+8x3o+8x4e+8x1e+8x2o+4x3e"
    """Of the family "e3": irreps of atoms and bonds, 0e first; channels, x, l, and parity e or o. The highest l is at least l1 + l2 of the
    two highest shells in the data, one more with spin-orbit coupling. The heads read node_channels, node_pseudo_channels, bond_channels and
    bond_pseudo_channels linear combinations of them for each l."""

    l_max: Literal["auto"] | Annotated[int, Field(ge=2, le=12)] = "auto"
    """Largest angular momentum of the features, 2 to 12; "auto" takes l1 + l2 of the two highest shells in the
    data, one more with spin-orbit coupling, and at least 4: below l = 3 nothing at a threefold site has a direction in the plane."""

    size: Literal["tiny", "small", "base", "large"] = "small"
    """How many channels there are where they are "auto": 16, 32, 64 or 128 natural ones per l of a bond. See the page on training for what
    each costs."""

    node_channels: AutoCount = "auto"
    """Channels per l of an atom's features with natural parity (-1)^l. "auto": twice those of a bond."""

    node_pseudo_channels: AutoNumber = "auto"
    """Channels per l of an atom's features with the opposite parity. "auto": a quarter of the natural ones of the size."""

    bond_channels: AutoCount = "auto"
    """Channels per l of a bond's features with natural parity."""

    bond_pseudo_channels: AutoNumber = "auto"
    """Channels per l of a bond's features with the opposite parity; p-d and d-d blocks and spin-orbit need them."""

    node_odd_channels: AutoCount = "auto"
    """Channels per l of an atom's features that change sign under time reversal, for each parity, and of its spin vectors, for which a
    quarter more has the opposite parity; only models of magnetic data have them. The three components of a spin vector make them
    expensive: twice as many as the 8 of "small" make a step 20 % longer. In CrI3 the exchange field is then 12 % more accurate after 650
    steps, and the other parts are not."""

    bond_odd_channels: AutoCount = "auto"
    """The same of a bond's features."""

    magnetic_elements: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    """Elements whose magnetic moments are input, such as ["Cr", "I"]; "auto" takes those of which some atom has at least a quarter of the
    largest moment in the training set. Moments of the others are taken for induced ones and not read."""

    n_layers: Count = 3
    """Message-passing layers; each widens what an atom sees by one orbital cutoff."""

    bond_layers: Annotated[int, Field(ge=0)] = 1
    """Gated layers of the features of each bond by itself, between the message passing and the heads."""

    n_radial: Annotated[int, Field(ge=2)] = 32
    """Radial basis functions of the bond length, at least 2."""

    radial_hidden: Count = 64
    """Width of the small network from bond length to radial weights."""

    rank: Count = 16
    """Rank of the contraction from bond features to shell pairs."""

    chunk_bonds: Count | None = 1024
    """Bonds processed at a time; bounds the memory and suits the cache, changes no result. "none": all at once."""

    baseline_degree: Annotated[int, Field(ge=0, le=100)] = 12
    """Degree in the bond length of the Slater-Koster baseline that is fitted first; the network learns the rest."""

    zeroth: Literal["auto", "use", "never"] = "auto"
    """Whether H - H0 is learned, with the zeroth-order Hamiltonian H0 of each structure (hamiltonian_zeroth.h5, which only deeph-pyscf
    writes); predictions need H0 as well then. "auto": where every structure of the split has it."""

    potential: bool = False
    """Whether the network gives each shell of each atom a potential V, and 1/2 (V_i + V_j) S_ij is added to H."""

    @field_validator("irreps")
    @classmethod
    def _known_irreps(cls, value: str) -> str:
        found = _irreps(value)
        names = [(l, parity) for _, l, parity in found]
        if not found or names[0] != (0, "e") or len(set(names)) < len(names) or any(l > 12 for l, _ in names):
            raise ValueError(f"got {value!r}, expected irreps up to l = 12, each once and 0e first, such as '64x0e+32x1o+16x2e+8x1e'")
        return value

    @property
    def irrep_numbers(self) -> list[tuple[int, int, str]]:
        """Channels, l and parity of the irreps."""
        return _irreps(self.irreps)

    @model_validator(mode="after")
    def _sizes_of_the_family(self) -> Self:
        fields = type(self).model_fields
        wrong = [name for name in fields if name in NOT_IN_FAMILY[self.family] and getattr(self, name) != fields[name].default]
        if wrong:
            undone = " ".join(f"--set model.{name}={str(fields[name].default).lower()}" for name in wrong)
            raise ValueError(
                f"the family {self.family!r} has no {', '.join(wrong)}: leave that out, or choose another family; what a file of "
                f"settings says of it is undone by {undone}"
            )
        return self

    @field_validator("magnetic_elements")
    @classmethod
    def _known_elements(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if value != "auto" and (unknown := [name for name in value if name not in SYMBOLS[1:]]):
            raise ValueError(f"no chemical element: {', '.join(map(repr, unknown))}; expected symbols such as Cr")
        return value


def _irreps(text: str) -> list[tuple[int, int, str]]:
    """Channels, l and parity of each; none if the text is not understood."""
    terms = [re.fullmatch(r"([1-9]\d*)x(\d+)([eo])", term.strip()) for term in text.split("+")]
    return [(int(term[1]), int(term[2]), term[3]) for term in terms if term] if all(terms) else []


class DataConfig(Section):
    """Where the structures are and which of them are trained on."""

    path: Path
    """Folder of structure folders as deeph-preprocess writes them. Relative paths start from the configuration file."""

    split: Path | None = None
    """JSON file with lists of folder names "train", "validate", "test".
    "none": split.json or dataset_split.json in the data folder, unless fractions are given."""

    fractions: tuple[NotNegative, NotNegative, NotNegative] | None = None
    """Random split instead of a file, or "none": fractions for train, validate and test, adding up to 1."""

    seed: Seed = 0
    """Seed of the random split."""

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split is not None and self.fractions is not None:
            raise ValueError("split and fractions exclude each other: expected one of them")
        if self.fractions is not None and (abs(sum(self.fractions) - 1) > 1e-6 or self.fractions[0] == 0):
            raise ValueError(f"fractions {list(self.fractions)}: expected three numbers that add up to 1, the first above 0")
        return self


class LossConfig(Section):
    """What is minimized: errors of H in units of what the baseline leaves, per structure, averaged over structures."""

    energy_zero: Literal["auto", "learned", "free"] = "auto"
    """Whether the energy zero of H is learned, or left free: errors mu S, one mu a structure, do not count then. "auto" leaves it free
    where the structures of the training set have different ones, as when each was shifted to its own Fermi level."""

    onsite_weight: NotNegative = 1.0
    """Weight of the on-site blocks relative to the off-site blocks (each group is averaged on its own)."""

    spin_weight: NotNegative = 0.25
    """Weight of each part of H with spin (spin-orbit part, exchange field), relative to the spin-free part; each part is measured in units
    of what its own baseline leaves, which for the spin-orbit part is 100 to 1,000 times less."""

    mae_weight: NotNegative = 1.0
    """Weight of the mean absolute error."""

    rmse_weight: NotNegative = 1.0
    """Weight of the root mean square error."""

    sigma_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """p, 0 to 1: errors are divided by sigma^p, where sigma is what the baseline leaves of their pair of shells at their distance. With 0
    every error in eV counts alike; with 1 every element counts relative to its own size, far and small ones as much as near ones."""

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if self.mae_weight == 0 and self.rmse_weight == 0:
            raise ValueError("mae_weight and rmse_weight are both 0: expected at least one above 0")
        return self


class TrainConfig(Section):
    """How it is minimized."""

    epochs: Count = 500
    """Passes over the training structures; the learning rate falls along a cosine over all of them."""

    max_minutes: Positive | None = None
    """Time budget of the whole run, restarts included, or "none". The schedule is stretched over it: progress = max(epochs done / epochs,
    minutes / max_minutes).
    Such a run is not reproducible bit for bit, because its learning rates depend on the speed of the machine."""

    batch_bonds: Count = 1500
    """Largest number of bonds (each pair of atoms once) in a batch, over all processes; a larger structure is a batch of its own. On a
    processor, where large batches are not faster, small ones learn more in the same time."""

    batch_structures: Count = 4
    """Largest number of structures in a batch, over all processes: small ones, such as molecules, fill no batch of bonds."""

    optimizer: Literal["soap", "adamw"] = "soap"
    """"soap" is Adam in the eigenbases of the gradients of each matrix of the maps, and AdamW of all else; "adamw" takes each number by
    itself. On bilayer graphene it reaches the same error after three times as many steps. A run goes on with the one it began with."""

    learning_rate: Positive = 5e-3
    """Peak learning rate."""

    min_learning_rate: NotNegative = 1e-6
    """Learning rate at the end of the cosine."""

    warmup: Fraction = 0.03
    """Fraction of the run in which the learning rate rises linearly from 0."""

    weight_decay: NotNegative = 1e-4
    """Decoupled weight decay of the linear maps; norms, biases and embeddings are left alone."""

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of AdamW's averages of the gradient and of its square."""

    grad_clip: Positive | None = 1.0
    """Largest norm of the gradient; longer ones are scaled down. "none": no limit."""

    ema_decay: Fraction = 0.999
    """Decay of the running average of the weights, ramped as min(decay, (1 + n)/(10 + n)). The average is what is validated and kept."""

    seed: Seed = 0
    """Seed of the first weights and of the order of the structures."""

    precision: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; "auto" takes a GPU if there is one."""

    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of each process. "none": torch decides."""

    graph_memory_gib: NotNegative = 4.0
    """Main memory of each process for structures that are ready to be trained on, GiB (5 to 20 kB a bond). Those that do not fit are read
    and prepared anew in each epoch; it changes no result."""

    validate_every: Literal["auto"] | Count = "auto"
    """Epochs between validations; each gives a row of metrics.csv. "auto": about 50 steps, and 20 validations or more in a run."""

    band_structures: tuple[str, ...] = ()
    """Folder names of a few small structures, none of the test set, whose band error enters metrics.csv (band_mae_meV) at every validation
    with a new best model: DFT levels up to 2 eV above the Fermi level, at Gamma and 1/2 and 1/3 of the reciprocal vectors. Each costs one
    prediction and three dense diagonalizations."""

    checkpoint_minutes: Positive = 5.0
    """Minutes between saved states from which --resume continues (one is also saved at the end, on SIGTERM, SIGINT and SIGUSR1)."""

    tensorboard: bool = False
    """Also write the metrics for TensorBoard (needs the package tensorboard)."""

    @model_validator(mode="after")
    def _learning_rates(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}")
        return self


class BandConfig(Section):
    """A last stage of the run in which errors of H count by what they do to the levels: at random k, in the states of the DFT."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the run that is the band stage, its last epochs; 0: none. It begins with a warm restart of the learning rate. A finished run
    gets one with --resume, more train.epochs and a share that leaves the epochs done before it: 60 after 45 have share = 0.25."""

    weight: Positive = 0.1
    """Weight of the error in the states, relative to the loss of the first stage, which goes on."""

    window: Positive | None = 5.0
    """Levels up to this far above the Fermi level are those one looks at, eV. "none": all levels count alike, which is the error in the
    metric of the overlap, S^-1/2 dH S^-1/2."""

    reach: Positive = 2.0
    """Levels above the window count less, by reach/(reach + distance): as what they do to those in the window; eV."""

    learning_rate: Positive = 1e-3
    """Peak learning rate of the stage."""

    k_points: Count = 8
    """Random k of each structure; one is taken in each epoch, in turn."""


class Config(Section):
    """All settings of a training run."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    bands: BandConfig = BandConfig()
