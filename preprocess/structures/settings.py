"""Settings of the DFT runs of a set: a TOML file, checked as a whole."""

from typing import Literal, Self

from pydantic import model_validator

from deeph.config import Count, Positive, Section
from deeph.physics.system import NUMBERS

Code = Literal["openmx", "abacus", "siesta"]
Triple = tuple[float, float, float]


class ElementSettings(Section):
    """What a code has to know about an element."""

    basis: str
    """openmx: "C6.0-s2p2d1"; abacus: name of the .orb file; siesta: "DZP" or another size."""

    pseudopotential: str = ""
    """openmx: "C_PBE19"; abacus: name of the .upf file; siesta takes C.psml or C.psf by the symbol."""

    valence: Positive | None = None
    """Electrons of the pseudopotential (openmx)."""

    moment: float = 0.0
    """Spin moment to start from, Bohr magnetons."""


class PathSegment(Section):
    """A piece of a band path (openmx, siesta)."""

    start: Triple
    """First k point, fractional."""

    stop: Triple
    """Last k point, fractional."""

    labels: tuple[str, str]
    """Names of the two."""

    points: Count = 20
    """Number of k points."""


class JobSettings(Section):
    """The script of the job array."""

    command: str = ""
    """What is run in each folder; empty: mpirun with the code."""

    header: tuple[str, ...] = ("#SBATCH --nodes=1", "#SBATCH --ntasks=16", "#SBATCH --time=04:00:00")
    """Lines after the first one of the script, such as #SBATCH options or modules to load."""


class RunSettings(Section):
    """Which code runs, and how."""

    code: Code
    """Whose input files are written: "openmx", "abacus" or "siesta"."""

    functional: Literal["PBE", "LDA"] = "PBE"
    """Exchange and correlation."""

    cutoff: Positive = 200.0
    """Energy cutoff, Rydberg: scf.energycutoff, ecutwfc, MeshCutoff."""

    spin: Literal["off", "collinear", "noncollinear", "spin-orbit"] = "off"
    """Spin of the wave functions."""

    k_grid: tuple[Count, Count, Count] | None = None
    """k mesh; or give k_density."""

    k_density: Positive | None = None
    """k mesh with at least this number divided by the lattice spacing (Angstrom) along each direction, 1 across vacuum."""

    temperature: Positive = 300.0
    """Electronic temperature, K."""

    data_path: str = ""
    """Folder of the basis and pseudopotential files as the cluster knows it (DATA.PATH, pseudo_dir and orbital_dir, SIESTA_PS_PATH)."""

    kpath: tuple[PathSegment, ...] = ()
    """Band path the code computes, for deeph-preprocess --verify bands (openmx, siesta)."""

    extra: str = ""
    """Further lines, verbatim; a keyword in them replaces ours."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.k_grid is None) == (self.k_density is None):
            raise ValueError("k_grid and k_density: expected exactly one of them")
        if self.code == "abacus" and self.kpath:
            raise ValueError("kpath: abacus computes bands in a second run; leave it out")
        return self


class Settings(Section):
    """How each structure of a set is computed."""

    run: RunSettings
    elements: dict[str, ElementSettings]
    job: JobSettings = JobSettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for symbol, element in self.elements.items():
            if symbol not in NUMBERS:
                raise ValueError(f"elements.{symbol}: no such element")
            if self.run.code != "siesta" and not element.pseudopotential:
                raise ValueError(f"elements.{symbol}: {self.run.code} needs the name of the pseudopotential")
            if self.run.code == "openmx" and (element.valence is None or abs(element.moment) > element.valence):
                raise ValueError(
                    f"elements.{symbol}: valence {element.valence}, moment {element.moment:g}; openmx needs the valence electrons of the "
                    "pseudopotential, and no larger moment"
                )
        return self


EXAMPLE_ELEMENTS = {
    "openmx": 'basis = "C6.0-s2p2d1"\npseudopotential = "C_PBE19"\nvalence = 4.0',
    "abacus": 'basis = "C_gga_8au_100Ry_2s2p1d.orb"\npseudopotential = "C_ONCV_PBE-1.0.upf"',
    "siesta": 'basis = "DZP"',
}
EXAMPLE_CUTOFF = {"openmx": 200.0, "abacus": 100.0, "siesta": 300.0}


def example(code: Code) -> str:
    """Settings to start from, for carbon."""
    return f'''# How each structure of a set is computed; see docs/structures.md
[run]
code = "{code}"
functional = "PBE"            # or "LDA"
cutoff = {EXAMPLE_CUTOFF[code]}                # Rydberg
spin = "off"                 # "collinear", "noncollinear", "spin-orbit"
k_density = 30.0              # k points = this / lattice spacing (Angstrom), 1 across vacuum; or k_grid = [3, 3, 1]
temperature = 300.0           # K
data_path = "/path/on/the/cluster"   # basis and pseudopotential files
extra = """
"""                           # further lines of the input file; a keyword in them replaces ours

[elements.C]
{EXAMPLE_ELEMENTS[code]}

[job]
header = ["#SBATCH --nodes=1", "#SBATCH --ntasks=16", "#SBATCH --time=04:00:00"]
'''
