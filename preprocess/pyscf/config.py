"""Settings of ``deeph-pyscf``. The docstring of each field is its documentation, also in ``deeph-pyscf --print-config``."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deeph.config import Count, NotNegative, Positive, Section

Triple = tuple[float, float, float]
Kind = Literal["RHF", "UHF", "GHF", "RKS", "UKS", "GKS"]


class SystemConfig(Section):
    """The structure. PySCF keeps positions and orientation as they are."""

    structure: Path | None = None
    """File with the atoms (POSCAR, cif, xyz, ...), xyz file of many frames, or folder of structure files. Relative paths start from the
    configuration file."""

    atoms: tuple[tuple[str, float, float, float], ...] | None = None
    """Instead of a file: symbol and Cartesian position (Angstrom) of each atom, e.g. [["O", 0, 0, 0.12], ...]."""

    cell: tuple[Triple, Triple, Triple] | None = None
    """Lattice vectors in rows (Angstrom) for atoms; "none" for a molecule."""

    molecule: bool = False
    """An isolated molecule: the cell of a file is ignored, and all blocks have R = 0."""

    repeats: tuple[Count, Count, Count] = (1, 1, 1)
    """Supercell of a crystal: repetitions along the lattice vectors."""

    charge: int = 0
    """Charge of the molecule or cell."""

    spin: Annotated[int, Field(ge=0)] = 0
    """Unpaired electrons (up minus down) of the molecule or cell."""

    @model_validator(mode="after")
    def _one_structure(self) -> Self:
        if (self.structure is None) == (self.atoms is None):
            raise ValueError("expected either structure (a file) or atoms")
        if self.atoms is not None and (self.cell is None) != self.molecule:
            raise ValueError("atoms of a crystal need a cell; those of a molecule (molecule = true) have none")
        if self.structure is not None and self.cell is not None:
            raise ValueError("the cell is that of the structure file; expected cell only beside atoms")
        if self.molecule and self.repeats != (1, 1, 1):
            raise ValueError("a molecule has no supercells; leave repeats out")
        return self


class MethodConfig(Section):
    """What is calculated."""

    kind: Kind = "RKS"
    """Hartree-Fock (HF) or Kohn-Sham (KS): restricted (R: one H), unrestricted (U: up and down), or generalized (G: spinors)."""

    functional: str = "pbe"
    """Exchange and correlation in PySCF's names (pbe, lda,vwn, b3lyp, pbe0, hse06, ...); unused by Hartree-Fock."""

    basis: str | dict[str, str]
    """Gaussian basis in PySCF's names, for all elements or for each: "gth-dzvp" or {B = "gth-szv", N = "gth-dzvp"}."""

    pseudo: str | dict[str, str] | None = None
    """Pseudopotential (gth-pbe, ...) or effective core potential (crenbl, ...), for all elements or for each: {I = "crenbl"}. Elements
    left out, and those a set has no core for, have all their electrons; "none": all have."""

    spin_orbit: bool = False
    """Add the spin-orbit part of the effective core potentials (GHF and GKS); every element but H and He needs one that has it."""

    @model_validator(mode="after")
    def _spin_orbit_in_spinors(self) -> Self:
        if self.spin_orbit and (self.kind[0] != "G" or self.pseudo is None):
            raise ValueError("spin_orbit needs spinors (kind GHF or GKS) and an effective core potential with that part, such as crenbl")
        return self


class ScfConfig(Section):
    """How it is calculated."""

    k_mesh: tuple[Count, Count, Count] = (1, 1, 1)
    """k mesh of a crystal, through Gamma. With exact exchange, and for GKS, it has to resolve the range of the orbitals; otherwise
    H follows from the converged density on any mesh."""

    integrals: Literal["auto", "multigrid", "fft", "gaussian"] = "auto"
    """Coulomb integrals of a crystal. "auto": where every element has a GTH pseudopotential, multigrid for semi-local functionals and fft
    for the others; else gaussian density fitting. Molecules: "auto" is exact, "gaussian" fits the density."""

    cutoff: Positive | None = None
    """Plane-wave cutoff of multigrid and fft, Hartree; "none": PySCF's, from precision."""

    precision: Positive = 1e-8
    """Precision of the integrals of a crystal."""

    conv_tol: Positive = 1e-10
    """Energy change that counts as converged, Hartree."""

    max_cycle: Count = 100
    """Largest number of iterations; a run that needs more fails."""

    smearing: Positive | None = None
    """Fermi smearing kT of metals, eV; "none": integer occupations."""


class PerturbConfig(Section):
    """A set of random variations of one structure; number n is the same whatever else is calculated."""

    number: Annotated[int, Field(ge=0)] = 0
    """How many; 0 calculates the structure as it is."""

    displacement: NotNegative = 0.0
    """Standard deviation of each Cartesian coordinate, Angstrom."""

    strain: NotNegative = 0.0
    """Largest component of the random strain of a crystal, e.g. 0.01; none along vacuum."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the set."""

    @model_validator(mode="after")
    def _something_varies(self) -> Self:
        if self.number and not (self.displacement or self.strain):
            raise ValueError("neither displacement nor strain: all structures would be equal")
        return self


class OutputConfig(Section):
    """What is written besides H and S."""

    positions: bool = True
    """Position matrices (for optics and Berry quantities)."""

    zeroth: bool = False
    """H0, the Fock matrix of the superposition of spherical atomic densities: what a network can learn H - H0 from."""

    hamiltonian: bool = True
    """H of the converged density. false: no self-consistent run; S and H0 alone are written, which is what a model that learned H - H0
    needs for a prediction (deeph-infer), in seconds."""


class PyscfConfig(Section):
    """All settings of ``deeph-pyscf``."""

    system: SystemConfig
    method: MethodConfig
    scf: ScfConfig = ScfConfig()
    perturb: PerturbConfig = PerturbConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        mistakes = []
        if self.method.kind[0] == "R" and self.system.spin:
            mistakes.append(f"system.spin {self.system.spin}: unpaired electrons need method.kind U{self.method.kind[1:]}")
        if self.system.molecule:
            if self.perturb.strain:
                mistakes.append("perturb.strain: a molecule cannot be strained, only displaced")
            if self.scf.k_mesh != (1, 1, 1):
                mistakes.append("scf.k_mesh: a molecule has no k points")
            if self.scf.integrals in ("multigrid", "fft"):
                mistakes.append(f"scf.integrals {self.scf.integrals!r} is for crystals; expected 'auto' or 'gaussian'")
        if self.scf.integrals == "multigrid" and self.method.kind in ("GKS", "RHF", "UHF", "GHF"):
            mistakes.append(f"scf.integrals 'multigrid' does not do {self.method.kind}; expected 'fft' or 'gaussian'")
        if mistakes:
            raise ValueError("\n  ".join(mistakes))
        return self
