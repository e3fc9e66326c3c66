"""From settings to a PySCF calculation that has not run yet, with all mistakes that can be seen before it runs."""

import warnings
from typing import Any

import numpy as np

from deeph.physics.system import NUMBERS, System
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError, UsageError
from preprocess.pyscf.config import PyscfConfig
from preprocess.readers.pyscf.kmesh import aliased_pairs, smallest_mesh
from preprocess.readers.pyscf.matrices import only_own_mesh
from preprocess.readers.pyscf.run import basis_of, pairs_in_range


def check_settings(config: PyscfConfig, system: System) -> None:
    """Build the calculation of a structure without running it.

    Raises
    ------
    UsageError
        All that PySCF does not know or that cannot work: basis and pseudopotential of each element, functional, number of electrons,
        a k mesh too small for exact exchange.
    """
    mistakes = [*_unknown_functional(config), *_unknown_sets(config, sorted(set(system.symbols), key=system.symbols.index))]
    if not mistakes:
        try:
            mistakes = _small_mesh(config, system)
        except DataError as error:
            mistakes = [str(error)]
    if mistakes:
        head = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UsageError("\n  ".join([f"{head} in the settings", *mistakes]))


def mean_field(config: PyscfConfig, system: System) -> Any:
    """The PySCF object of a structure, ready for ``kernel()``.

    Raises
    ------
    DataError
        If PySCF cannot build it.
    """
    mol = _mole(config, system)
    method, run = config.method, config.scf
    if config.system.molecule:
        from pyscf import dft, scf

        mf = getattr(dft if method.kind.endswith("KS") else scf, method.kind)(mol)
    else:
        from pyscf.pbc import dft, scf

        points = mol.make_kpts(run.k_mesh)
        mf = getattr(dft if method.kind.endswith("KS") else scf, f"K{method.kind}")(mol, points)
        if method.kind[0] == "U":  # PySCF counts the unpaired electrons of all k points together
            n, unpaired = mol.tot_electrons(len(points)), config.system.spin * len(points)
            mf.nelec = ((n + unpaired) // 2, (n - unpaired) // 2)
    if method.kind.endswith("KS"):
        mf.xc = method.functional
    integrals = _integrals(config)
    if integrals == "gaussian":
        mf = mf.density_fit()
    elif integrals == "multigrid":
        mf = mf.multigrid_numint()
    if method.spin_orbit:
        mf.with_soc = True
    if run.smearing:
        from pyscf.pbc.scf.addons import smearing_

        mf = smearing_(mf, sigma=run.smearing / PYSCF.hartree, method="fermi")
    mf.conv_tol, mf.max_cycle, mf.chkfile = run.conv_tol, run.max_cycle, None
    return mf


def _mole(config: PyscfConfig, system: System) -> Any:
    """The molecule or cell."""
    pseudo = config.method.pseudo
    core = "pseudo" if str(pseudo).startswith("gth") or "gth" in str(pseudo) else "ecp"
    options: dict[str, Any] = {
        "atom": list(zip(system.symbols, system.positions.tolist(), strict=True)),
        "unit": "Angstrom",
        "basis": config.method.basis,
        "charge": config.system.charge,
        "spin": config.system.spin,
        "verbose": 0,
    }
    if pseudo is not None:
        options[core] = pseudo
    try:
        if config.system.molecule:
            from pyscf import gto

            return gto.M(**options)
        from pyscf.pbc import gto

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the number of electrons is checked below
            cell = gto.M(a=system.cell, ke_cutoff=config.scf.cutoff, precision=config.scf.precision, **options)
    except RuntimeError as error:
        raise DataError(f"PySCF cannot build {system.formula}: {' '.join(str(error).split())}") from error
    if (cell.nelectron - config.system.spin) % 2:
        raise DataError(f"{cell.nelectron} electrons and system.spin {config.system.spin}: expected both even or both odd")
    return cell


def _integrals(config: PyscfConfig) -> str:
    """How the Coulomb integrals are done: ``exact``, ``gaussian``, ``multigrid`` or ``fft``."""
    if config.scf.integrals != "auto":
        return config.scf.integrals
    if config.system.molecule:
        return "exact"
    if config.method.pseudo is None:
        return "gaussian"
    return "fft" if config.method.kind not in ("RKS", "UKS") or _is_hybrid(config) else "multigrid"


def _is_hybrid(config: PyscfConfig) -> bool:
    from pyscf.dft import libxc

    return bool(libxc.is_hybrid_xc(config.method.functional))


def _unknown_functional(config: PyscfConfig) -> list[str]:
    from pyscf.dft import libxc

    if config.method.kind.endswith("HF"):
        return []
    try:
        libxc.parse_xc(config.method.functional)
        hybrid = _is_hybrid(config)
    except (KeyError, ValueError, NotImplementedError) as error:
        return [f"method.functional {config.method.functional!r} is unknown to PySCF: {error.args[0] if error.args else error}"]
    if hybrid and config.method.kind == "GKS" and not config.system.molecule:
        return [
            f"method.functional {config.method.functional!r}: PySCF has no hybrid functionals for GKS crystals; expected a semi-local one"
        ]
    if hybrid and config.scf.integrals == "multigrid":
        return ["scf.integrals 'multigrid' has no exact exchange; expected 'fft' or 'gaussian' for hybrid functionals"]
    return []


def _unknown_sets(config: PyscfConfig, symbols: list[str]) -> list[str]:
    """Elements without basis or pseudopotential of the given name."""
    from pyscf import gto
    from pyscf.pbc.gto import pseudo

    mistakes = []
    for symbol in symbols:
        basis, core = (s.get(symbol) if isinstance(s, dict) else s for s in (config.method.basis, config.method.pseudo))
        if basis is None:
            mistakes.append(f"method.basis: none for {symbol}")
        elif not _is_known(gto.basis.load, basis, symbol):
            mistakes.append(f"method.basis: PySCF has no basis {basis!r} for {symbol}")
        elif basis.lower().startswith("gth") and core is None:
            mistakes.append(
                f'method.pseudo: the basis {basis!r} of {symbol} holds valence electrons only; expected e.g. pseudo = "gth-pbe"'
            )
        if core is not None:
            load = pseudo.load if "gth" in core.lower() else gto.basis.load_ecp
            if not _is_known(load, core, symbol):
                mistakes.append(f"method.pseudo: PySCF has no pseudopotential {core!r} for {symbol}")
    return mistakes


def _is_known(load: Any, name: str, symbol: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(name, symbol)
    except (RuntimeError, KeyError, OSError, ValueError):
        return False
    return True


def _small_mesh(config: PyscfConfig, system: System) -> list[str]:
    """What is wrong with a k mesh on which H has to be known itself."""
    mf = mean_field(config, system)
    why = only_own_mesh(mf, "spinor" if config.method.kind[0] == "G" else "none")
    if config.system.molecule or not why:
        return []
    mol = mf.cell
    _, exponents = basis_of(mol)
    numbers = np.array([NUMBERS[s] for s in system.symbols])
    pairs = pairs_in_range(
        np.asarray(mol.lattice_vectors()), np.asarray(mol.atom_coords()), numbers, {"exponents": exponents, "periodic": True}
    )
    mesh = np.array(config.scf.k_mesh)
    if not len(aliased_pairs(pairs, mesh)[0]):
        return []
    enough = smallest_mesh(pairs).tolist()
    return [f"scf.k_mesh {mesh.tolist()}: {why} H is known only on this mesh, and the orbitals need {enough} or more vacuum"]
