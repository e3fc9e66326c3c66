"""Which packages are here, which are missing, and what each is for."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from deeph.runtime.errors import DataError

PURPOSE = {
    "pyscf": "deeph-pyscf, Gaussian basis sets",
    "mkl": "levels of large cells, many times faster than with SuperLU",
    "mpi4py": "several nodes: mpirun and srun",
    "tensorboard": "curves of a training in the browser",
}
"""What the packages are for that not everybody needs."""
MODULES = {"torch-geometric": "torch_geometric", "mpi4py": "mpi4py.MPI"}
"""What is imported of packages that go by another name."""
OUTSIDE = ("mpi4py", "mkl", "slepc4py")
"""Looked at in a process of its own: to load them may end the program."""
Status = Literal["ok", "missing", "broken", "too old"]


@dataclass(frozen=True)
class Package:
    """A package, whether it works, and what is to be said about it.

    Attributes
    ----------
    name, version : str
        As pip knows it; the version is empty where it is missing.
    status : {"ok", "missing", "broken", "too old"}
        Whether it can be imported, in a version that is new enough.
    text : str
        Details, or what is wrong, or what it is for.
    core : bool
        Whether nothing works without it.
    install : str
        The command that mends it.
    """

    name: str
    version: str
    status: Status
    text: str
    core: bool
    install: str = ""


def packages() -> list[Package]:
    """Everything that the distribution asks for, with its optional parts, in the order of its own list, and SLEPc.

    Raises
    ------
    DataError
        If the distribution itself is not installed.
    """
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires("deeph") or []]
    except metadata.PackageNotFoundError:
        raise DataError("the package deeph is not installed; in its folder: pip install -e .") from None
    core = [one for one in wanted if one.marker is None]
    extra = {one.name: one for one in wanted if one.marker is not None and one.name in PURPOSE}
    found = [_look(one.name, str(one.specifier), core=True, purpose="") for one in core]
    found += [_look(name, str(extra[name].specifier) if name in extra else "", core=False, purpose=PURPOSE[name]) for name in PURPOSE]
    slepc = _look("slepc4py", "", core=False, purpose="one k-point on many nodes (docs/cluster.md)")
    return [*found, slepc]


def _look(name: str, bounds: str, *, core: bool, purpose: str) -> Package:
    """Import a package, and compare its version with the bounds."""
    from packaging.specifiers import SpecifierSet

    install = f'pip install "{name}{bounds}"' if name != "slepc4py" else "apt install python3-slepc4py, or conda install slepc4py"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Package(name, "", "missing", purpose, core, install)
    try:
        text = _outside(name) if name in OUTSIDE else DETAILS.get(name, _nothing)(importlib.import_module(MODULES.get(name, name)))
    except Exception as error:  # noqa: BLE001 - a broken library raises anything
        return Package(name, version, "broken", f"{type(error).__name__}: {error}".splitlines()[0], core, install)
    if not SpecifierSet(bounds).contains(version, prereleases=True):
        return Package(name, version, "too old", f"expected {bounds}", core, install)
    return Package(name, version, "ok", "; ".join(part for part in (text, purpose) if part), core)


def _nothing(_module: Any) -> str:
    return ""


def _torch(torch: Any) -> str:
    """Threads and graphics processors."""
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    if not torch.cuda.is_available():
        why = (
            "built without CUDA" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}, but no driver or device answers"
        )
        return f"{threads}, no GPU ({why})"
    cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return f"{threads}, CUDA {torch.version.cuda}, " + ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in cards)


def _scipy(_module: Any) -> str:
    """The linear algebra libraries, each once."""
    import scipy.linalg  # noqa: F401 - loads its own library
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    kinds = {(p["internal_api"], p["version"], p.get("architecture") or "", p["num_threads"]) for p in pools}
    return "; ".join(f"{name} {version} {kind}, threads: {n}" for name, version, kind, n in sorted(kinds, key=str))


DETAILS: dict[str, Callable[[Any], str]] = {"torch": _torch, "scipy": _scipy}


def _outside(name: str) -> str:
    """The details of a package, told by another process."""
    code = {
        "mpi4py": "from mpi4py import MPI; print(MPI.Get_library_version().split(',')[0].strip().splitlines()[0])",
        "mkl": "import ctypes, importlib.metadata as m; "
        "ctypes.CDLL(str(next(f.locate().resolve() for f in m.files('mkl') if 'mkl_rt' in f.name))); print('PARDISO')",
        "slepc4py": "from slepc4py import SLEPc; print('SLEPc ' + '.'.join(map(str, SLEPc.Sys.getVersion())))",
    }[name]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    if done.returncode:
        raise ImportError((done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1])
    return done.stdout.strip()
