"""Basis and core of each element: what PySCF has of a name, and what belongs together.

The core of an element is a GTH pseudopotential, an effective core potential (ECP), or its own electrons. A basis for valence electrons
alone gives nonsense without the core it was made for, and no error.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from deeph.physics.system import NUMBERS
from preprocess.pyscf.config import MethodConfig

Kind = Literal["gth", "ecp", "none"]
SCALAR = 2
"""Up to this atomic number (H, He) no element needs a spin-orbit part: it has no shell that splits."""


class Core(NamedTuple):
    """What stands for the inner electrons of an element.

    Attributes
    ----------
    kind : {"gth", "ecp", "none"}
        ``none``: all electrons are calculated.
    name : str
        PySCF's name of it.
    electrons : int
        How many it replaces.
    spin_orbit : bool
        Whether it has a spin-orbit part.
    """

    kind: Kind = "none"
    name: str = ""
    electrons: int = 0
    spin_orbit: bool = False


def find_core(method: MethodConfig, symbol: str) -> Core | None:
    """The core of an element in the settings; None if PySCF has none of that name for it.

    A name for all elements leaves those alone for which the set has no core (H in ``crenbl``); a name for this element must be there.
    """
    from pyscf import gto
    from pyscf.pbc.gto import pseudo

    name, own = _setting(method.pseudo, symbol)
    if name is None:
        return Core()
    if "gth" in name.lower():
        table = _loaded(pseudo.load, name, symbol)
        return Core("gth", name, NUMBERS[symbol] - sum(table[0])) if table else None
    table = _loaded(gto.basis.load_ecp, name, symbol)
    if table is None or (own and not table):
        return None
    if not table:
        return Core()
    terms = (term for _, powers in table[1] for power in powers for term in power)
    return Core("ecp", name, table[0], any(len(term) > 2 for term in terms))


def core_mistakes(method: MethodConfig, symbol: str) -> list[str]:
    """What is wrong with the basis and the core of an element, in words."""
    from pyscf import gto

    basis, _ = _setting(method.basis, symbol)
    core = find_core(method, symbol)
    found = []
    if core is None:
        found.append(f"method.pseudo: PySCF has no pseudopotential {_setting(method.pseudo, symbol)[0]!r} for {symbol}")
    elif method.spin_orbit and NUMBERS[symbol] > SCALAR and not core.spin_orbit:
        what = f"the pseudopotential {core.name!r} of {symbol} has" if core.name else f"{symbol} has no effective core potential, and so"
        found.append(f'method.spin_orbit: {what} no spin-orbit part; expected one that has, such as {symbol} = "crenbl"')
    if basis is None:
        return [f"method.basis: none for {symbol}", *found]
    functions = _loaded(gto.basis.load, basis, symbol)
    if not functions:
        return [f"method.basis: PySCF has no basis {basis!r} for {symbol}", *found]
    return [*found, *(_misfit(symbol, basis, functions, core) if core is not None else [])]


def _misfit(symbol: str, basis: str, functions: Any, core: Core) -> list[str]:
    """Whether a basis was made for another core."""
    from pyscf import gto

    if basis.lower().startswith("gth") or (core.kind == "none" and not _reaches_nucleus(symbol, functions)):
        if core.kind == "none":
            known = basis if _loaded(gto.basis.load_ecp, basis, symbol) else "gth-pbe" if basis.lower().startswith("gth") else ""
            hint = f'; expected e.g. pseudo = {{{symbol} = "{known}"}}' if known else "; expected its pseudopotential in method.pseudo"
            return [f"method.pseudo: the basis {basis!r} of {symbol} holds valence electrons only{hint}"]
        if core.kind == "ecp":
            return [f"method.basis: {basis!r} of {symbol} is made for GTH pseudopotentials, but the core is {core.name!r}"]
    own = None if basis.lower().startswith("gth") else _loaded(gto.basis.load_ecp, basis, symbol)
    if own and core.kind != "none" and own[0] != core.electrons:
        replaced = f"{core.name!r} of {symbol} replaces {core.electrons} electrons, but the basis {basis!r} is made for a core of {own[0]}"
        return [f'method.pseudo: {replaced}; expected pseudo = {{{symbol} = "{basis}"}}']
    return []


def _reaches_nucleus(symbol: str, functions: Any) -> bool:
    """Whether a basis describes the 1s electrons.

    In all-electron sets the steepest s function has an exponent above Z^2 in 1/Bohr^2 (STO-3G, the smallest, 1.6 Z^2 and more; a
    hydrogen-like 1s is exp(-Z r)), in those for valence electrons alone far below.
    """
    steepest = max((row[0] for shell in functions if shell[0] == 0 for row in shell[1:] if isinstance(row, list | tuple)), default=0.0)
    return bool(steepest > NUMBERS[symbol] ** 2)


def _setting(value: str | dict[str, str] | None, symbol: str) -> tuple[str | None, bool]:
    """The name for an element, and whether it was given for this element alone."""
    return (value.get(symbol), True) if isinstance(value, dict) else (value, False)


def _loaded(load: Callable[[str, str], Any], name: str, symbol: str) -> Any:
    """What PySCF has of a name for an element; None if it does not know it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load(name, symbol)
    except (RuntimeError, KeyError, OSError, ValueError):
        return None
