"""What a reader needs from ABACUS's text output: the log, the Mulliken charges, INPUT and KPT.

The wording of the log changed between versions (``EFERMI``, ``E_Fermi``, ``atom label``, ``Atom label``), so lines are recognized without
regard to case and surroundings.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.physics.system import FloatArray
from deeph.physics.units import ABACUS, KELVIN
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger

_NUMBER = r"([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"
_FERMI_EV = re.compile(rf"^\s*e_?fermi\s*=\s*{_NUMBER}\s*eV", re.IGNORECASE | re.MULTILINE)
_FERMI_TABLE = re.compile(rf"^\s*e_fermi\s+{_NUMBER}\s+{_NUMBER}\s*$", re.IGNORECASE | re.MULTILINE)
_ELECTRONS = re.compile(
    rf"^\s*(?:autoset number of electrons|nelec now|(?:total )?number of electrons)\s*:?\s*=\s*{_NUMBER}", re.IGNORECASE | re.MULTILINE
)
_SPECIES = re.compile(
    r"^\s*atom label\s*=\s*(\S+)(.*?)(?=^\s*(?:number of atoms? for this type|reading atom type))",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_ZETA = re.compile(r"l\s*=\s*(\d+)\s*,\s*number of zeta\s*=\s*(\d+)", re.IGNORECASE)
_MOMENT = re.compile(r"^\s*total magnetism on atom:?\s+\S+\s+(.*)$", re.IGNORECASE | re.MULTILINE)


class Log(NamedTuple):
    """What was found in a log; None where it does not say.

    Attributes
    ----------
    version : str
        ``3.10.0``; empty if unknown.
    nspin : int or None
        1, 2 or 4.
    shells : dict of str to tuple of int
        l of every radial function of each species.
    cutoff : float or None
        Longest orbital, Angstrom.
    fermi_energy : float or None
        eV, of the last iteration.
    n_electrons : float or None
        Valence electrons.
    """

    version: str = ""
    nspin: int | None = None
    shells: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - never changed
    cutoff: float | None = None
    fermi_energy: float | None = None
    n_electrons: float | None = None


def read_log(path: Path | None) -> Log:
    """Read a ``running_*.log``; everything unknown if there is none."""
    if path is None:
        return Log()
    text = path.read_text(encoding="utf-8", errors="replace")
    version = re.search(r"ABACUS\s+v(\S+)", text)
    nspin, cutoff = (_last(rf"^\s*{name}\s*=\s*{_NUMBER}", text) for name in ("nspin", r"longest orb rcut \(Bohr\)"))
    fermi = _FERMI_EV.findall(text) or [ev for _, ev in _FERMI_TABLE.findall(text)]
    electrons = _ELECTRONS.findall(text)
    shells = {
        label: tuple(l for l, n in sorted((int(l), int(n)) for l, n in _ZETA.findall(body)) for _ in range(n))
        for label, body in _SPECIES.findall(text)
    }
    return Log(
        version[1] if version else "",
        None if nspin is None else int(nspin),
        {label: ls for label, ls in shells.items() if ls},
        None if cutoff is None else cutoff * ABACUS.bohr,
        float(fermi[-1]) if fermi else None,
        float(electrons[-1]) if electrons else None,
    )


def _last(pattern: str, text: str) -> float | None:
    """The number in the last line of a kind."""
    found = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
    return float(found[-1]) if found else None


def read_moments(path: Path, n_atoms: int) -> FloatArray | None:
    """(n_atoms, 3) Mulliken moments in Bohr magneton from ``mulliken.txt`` (written with ``out_mul 1``), None if there is none.

    A collinear moment is along z.
    """
    if not path.is_file():
        return None
    rows = [[float(x) for x in re.findall(_NUMBER, rest)] for rest in _MOMENT.findall(path.read_text(encoding="utf-8", errors="replace"))]
    rows = [row if len(row) == 3 else [0.0, 0.0, *row] for row in rows]
    if not rows or len(rows) % n_atoms or any(len(row) != 3 for row in rows):
        logger.warning("%s: %d magnetic moments for %d atoms; they are left out", path, len(rows), n_atoms)
        return None
    return np.array(rows[-n_atoms:])


def read_input(*paths: Path) -> dict[str, str]:
    """Keywords (lower case) of INPUT files; those of a later file count."""
    out: dict[str, str] = {}
    for path in paths:
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                fields = re.split(r"\s#|\s//|^#|^//", line)[0].split(None, 1)
                if len(fields) == 2:
                    out[fields[0].lower()] = fields[1].strip()
    return out


def read_k_mesh(path: Path, keywords: dict[str, str]) -> dict[str, Any]:
    """Mesh of the self-consistent run, k = (n + shift)/grid, as ``k_grid`` and ``k_shift``; empty where it is not known.

    With ``kspacing`` ABACUS writes the mesh it chose into the file KPT.
    """
    if keywords.get("calculation", "scf") != "scf":
        return {}
    try:
        lines = [re.split(r"#|//", line)[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [fields for fields in lines if fields][1:4]
        kind, size, offset = rows[1][0].lower(), [int(n) for n in rows[2][:3]], np.array(rows[2][3:6] or ["0"] * 3, float)
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        return {}
    if rows[0][0] != "0" or len(size) != 3 or len(offset) != 3 or min(size) < 1 or kind not in ("gamma", "mp"):
        return {}
    # ABACUS: Gamma k = (n + offset)/N; MP k = (2n + 1 - N + offset)/2N, n = 0 .. N - 1
    shift = offset if kind == "gamma" else (offset + 1 - np.array(size)) / 2
    if (np.abs(2 * shift - np.rint(2 * shift)) > 1e-9).any():
        return {}
    return {"k_grid": size, "k_shift": (shift % 1).tolist()}


def read_smearing(keywords: dict[str, str]) -> dict[str, Any]:
    """How states are filled, from the keywords ``smearing_method`` and ``smearing_sigma`` (Rydberg) or ``smearing_sigma_temp`` (kelvin)."""
    method = {"gaussian": "gauss"}.get(given := keywords.get("smearing_method", "gauss").lower(), given)
    try:
        width = float(keywords.get("smearing_sigma", "0.015").split()[0]) * ABACUS.hartree / 2
        if "smearing_sigma_temp" in keywords:
            width = float(keywords["smearing_sigma_temp"].split()[0]) * KELVIN
    except ValueError as error:
        raise DataError(f"the smearing in INPUT is not a number: {error}") from error
    out: dict[str, Any] = {"smearing": method, "smearing_width_eV": 0.0 if method == "fixed" else width}
    return out | ({"electronic_temperature_K": width / KELVIN} if method == "fd" else {})
