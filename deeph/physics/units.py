"""Physical constants: one CODATA table, and the constants other codes were compiled with.

Everything inside the project is in eV and Angstrom. A reader converts at the border with the constants *of its
source*, because the codes of this field disagree in the sixth digit (0.2 meV per 100 eV) and a comparison with a code's own
eigenvalues must use that code's numbers.
"""

from typing import NamedTuple

KELVIN = 8.617333262e-5
"""Boltzmann constant, eV/K (CODATA 2022)."""


class Constants(NamedTuple):
    """Unit conversion of one source.

    Attributes
    ----------
    name : str
        Where the numbers come from; stored with the data.
    hartree : float
        1 Hartree in eV.
    bohr : float
        1 Bohr in Angstrom.
    """

    name: str
    hartree: float
    bohr: float


CODATA = Constants("CODATA 2022", 27.211386245981, 0.529177210544)
AIMS = Constants("FHI-aims (CODATA 2002)", 27.2113845, 0.52917721)
OPENMX = Constants("OpenMX 3.8/3.9", 27.2113845, 0.529177249)
ABACUS = Constants("ABACUS 3 (Ry_to_eV 13.605698)", 2 * 13.605698, 0.529177)
PYSCF = Constants("PySCF 2 (CODATA 2014 energy, CODATA 2010 length)", 27.21138602, 0.52917721092)
SIESTA_4 = Constants("SIESTA 4", 2 * 13.60580, 0.529177)
SIESTA_5 = Constants("SIESTA 5 (CODATA 2018)", 2 / 0.0734986443513115789, 1 / 1.88972612462577017)

HBAR = 6.582119569e-16
"""Reduced Planck constant, eV s (CODATA 2022)."""
HBAR2_OVER_MASS = CODATA.hartree * CODATA.bohr**2
"""hbar^2 over the mass of the electron, eV Angstrom^2."""
CONDUCTANCE = 3.8740458652e-5
"""e^2/h, Siemens (exact since 2019, e = 1.602176634e-19 C, h = 6.62607015e-34 J s)."""
