"""ABACUS's input files INPUT and KPT: keywords, k mesh, and how states are filled."""

from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.text import integer, lines_of_words, number, numbers, read_text
from deeph.physics.units import ABACUS, KELVIN
from deeph.runtime.errors import DataError

_COMMENT = r"(?:^|\s)(?:#|//)"


def read_input(*paths: Path) -> dict[str, str]:
    """Keywords (lower case) of INPUT files; those of a later file count."""
    texts = [read_text(path) for path in paths if path.is_file()]
    return {words[0].lower(): " ".join(words[1:]) for text in texts for _, words in lines_of_words(text, _COMMENT) if words[1:]}


def calculation(keywords: dict[str, str]) -> str:
    """What was calculated, in lower case; ``scf`` is ABACUS's default."""
    return keywords.get("calculation", "scf").lower()


def number_of(keywords: dict[str, str], keyword: str, default: str = "0") -> float:
    """A keyword of INPUT that is a number.

    Raises
    ------
    DataError
        If it is something else.
    """
    word = keywords.get(keyword, default).split()[0]
    try:
        return number(word)
    except ValueError as error:
        raise DataError(f"INPUT: {keyword} is {word!r}, expected a number") from error


def read_k_mesh(path: Path, keywords: dict[str, str]) -> dict[str, Any]:
    """Mesh of the self-consistent run, k = (n + shift)/grid, as ``k_grid`` and ``k_shift``; empty where it is not known.

    With ``kspacing`` ABACUS writes the mesh it chose into the file KPT.
    """
    if calculation(keywords) != "scf" or not path.is_file():
        return {}
    rows = [words for _, words in lines_of_words(read_text(path), r"#|//")][1:4]
    try:
        kind, size, offset = rows[1][0].lower(), [integer(n) for n in rows[2][:3]], numbers(rows[2][3:6] or ["0"] * 3)
    except (ValueError, IndexError):
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
    width = number_of(keywords, "smearing_sigma", "0.015") * ABACUS.hartree / 2
    if "smearing_sigma_temp" in keywords:
        width = number_of(keywords, "smearing_sigma_temp") * KELVIN
    out: dict[str, Any] = {"smearing": method, "smearing_width_eV": 0.0 if method == "fixed" else width}
    return out | ({"electronic_temperature_K": width / KELVIN} if method == "fd" else {})
