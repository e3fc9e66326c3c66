"""Where the files of an ABACUS run are, by the names that versions 3.0 to 3.10 and later ones give them."""

import re
from pathlib import Path
from typing import NamedTuple

from deeph.runtime.errors import DataError
from preprocess.readers.abacus.input import calculation, read_input

NAMES = {
    "H": ("data-HR-sparse_SPIN0.csr", "hrs1_nao.csr"),
    "H_down": ("data-HR-sparse_SPIN1.csr", "hrs2_nao.csr"),
    "S": ("data-SR-sparse_SPIN0.csr", "srs1_nao.csr", "sr_nao.csr", "SR.csr"),
    "r": ("data-rR-sparse.csr", "rr.csr"),
    "kinetic": ("data-TR-sparse_SPIN0.csr", "trs1_nao.csr", "tr_nao.csr"),
}
"""Name of each matrix in 3.0 to 3.10, and in later versions; newer ones may insert the ionic step, ``hrs1g1_nao.csr``."""
_OTHER_FORMS = ("hrs*_nao.dat", "hrs*_nao.npz", "sr*_nao.dat", "sr*_nao.npz", "data-*-H", "hk*_nao.txt", "matrix/*.csr", "output_HR*.npz")


class RunFiles(NamedTuple):
    """The files of one run.

    Attributes
    ----------
    folder : Path
        Where ABACUS was started: STRU, KPT and INPUT.
    out : Path
        ``OUT.suffix``: matrices, log, eigenvalues.
    matrices : dict of str to Path
        Those of :data:`NAMES` that are there.
    keywords : dict of str to str
        INPUT, with the defaults where ABACUS wrote them out.
    """

    folder: Path
    out: Path
    matrices: dict[str, Path]
    keywords: dict[str, str]

    @property
    def stru(self) -> Path:
        """The structure file."""
        return self.folder / self.keywords.get("stru_file", "STRU")

    @property
    def kpt(self) -> Path:
        """The k points."""
        return self.folder / self.keywords.get("kpoint_file", "KPT")

    @property
    def log(self) -> Path | None:
        """The log of this calculation; of several the one of the kind that INPUT names."""
        kind = calculation(self.keywords)
        places = (self.out, *sorted(self.folder.glob("OUT.*")))  # older versions put S of get_S beside OUT.suffix
        paths = (place / f"running_{name}.log" for place in places for name in dict.fromkeys((kind, "get_S", "scf", "nscf")))
        return next((path for path in paths if path.is_file()), None)


def detect(folder: Path) -> str | None:
    """Why a folder looks like an ABACUS run, or None."""
    for place in _places(folder):
        if found := _matrices(place):
            return f"it holds {next(iter(found.values()))[0].relative_to(folder)}"
    logs = sorted(folder.glob("OUT.*/running_*.log"))
    return f"it holds {logs[0].relative_to(folder)}" if logs else None


def find_files(folder: Path) -> RunFiles:
    """The files of the one run in a folder.

    Raises
    ------
    DataError
        If there are no matrices, or those of several runs or ionic steps.
    """
    places = [place for place in _places(folder) if _matrices(place)]
    if not places:
        other = [path for place in _places(folder) for pattern in _OTHER_FORMS for path in sorted(place.glob(pattern))]
        seen = f"holds {other[0].relative_to(folder)}, which is not supported, but no" if other else "holds no"
        raise DataError(
            f"{folder} {seen} H(R) and S(R) in text form (data-HR-sparse_SPIN0.csr or hrs1_nao.csr): run ABACUS with 'basis_type lcao', "
            "'gamma_only 0', 'calculation scf' and 'out_mat_hs2 1' (out_hsr 1)"
        )
    if len(places) > 1:
        raise DataError(f"{folder} holds matrices in {', '.join(p.name for p in places)}: expected one run. Name the OUT folder itself")
    out = places[0]
    matrices = {}
    for name, paths in _matrices(out).items():
        if len(paths) > 1:
            raise DataError(
                f"{out} holds {' and '.join(p.name for p in paths[:3])}: expected one file for {name}. Put each run (or ionic step) in a "
                "folder of its own"
            )
        matrices[name] = paths[0]
    run = folder.parent if folder.name.startswith("OUT.") and not (folder / "STRU").is_file() else folder
    keywords = read_input(out / "INPUT", out / "INPUT.info", run / "INPUT")
    return RunFiles(run, out, matrices, keywords)


def _places(folder: Path) -> list[Path]:
    """Where the matrices may lie."""
    return [folder, *sorted(path for path in folder.glob("OUT.*") if path.is_dir())]


def _matrices(place: Path) -> dict[str, list[Path]]:
    """The files of each matrix in a folder."""
    out = {}
    for key, names in NAMES.items():
        patterns = [name.replace("_nao.csr", "{}_nao.csr") for name in names]
        found = [place / name for name in names if (place / name).is_file()]
        for pattern in patterns:
            if "{}" in pattern:
                step = re.compile(re.escape(pattern).replace(r"\{\}", r"g\d+"))
                found += sorted(path for path in place.glob(pattern.format("g*")) if step.fullmatch(path.name))
        if found:
            out[key] = found
    return out
