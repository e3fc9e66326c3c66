"""From settings to a PySCF calculation that has not run yet."""

import warnings
from typing import Any

from deeph.physics.system import System
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError
from preprocess.pyscf.config import PyscfConfig
from preprocess.pyscf.cores import find_core


def mean_field(config: PyscfConfig, system: System) -> Any:
    """The PySCF object of a structure, ready for ``kernel()``.

    Raises
    ------
    DataError
        If PySCF cannot build it.
    """
    mol, run = build(config, system), config.scf
    mf = _molecular(config, mol) if config.system.molecule else _periodic(config, mol)
    if config.method.kind.endswith("KS"):
        mf.xc = config.method.functional
    integrals = choose_integrals(config, system)
    if integrals == "gaussian":
        mf = mf.density_fit()
    elif integrals == "multigrid":
        mf = mf.multigrid_numint()
    if config.method.spin_orbit:
        mf.with_soc = True
    if run.smearing:
        from pyscf.pbc.scf.addons import smearing_

        mf = smearing_(mf, sigma=run.smearing / PYSCF.hartree, method="fermi")
    mf.conv_tol, mf.max_cycle, mf.chkfile = run.conv_tol, run.max_cycle, None
    return mf


def _molecular(config: PyscfConfig, mol: Any) -> Any:
    from pyscf import dft, scf

    return getattr(dft if config.method.kind.endswith("KS") else scf, config.method.kind)(mol)


def _periodic(config: PyscfConfig, cell: Any) -> Any:
    from pyscf.pbc import dft, scf

    kind, points = config.method.kind, cell.make_kpts(config.scf.k_mesh)
    mf = getattr(dft if kind.endswith("KS") else scf, f"K{kind}")(cell, points)
    if kind[0] == "U":  # PySCF counts the unpaired electrons of all k points together
        n, unpaired = cell.tot_electrons(len(points)), config.system.spin * len(points)
        mf.nelec = ((n + unpaired) // 2, (n - unpaired) // 2)
    return mf


def build(config: PyscfConfig, system: System) -> Any:
    """The molecule or cell.

    Raises
    ------
    DataError
        If PySCF refuses it, or the number of electrons does not fit to the spin.
    """
    cores = {symbol: core for symbol in set(system.symbols) if (core := find_core(config.method, symbol))}
    options: dict[str, Any] = {
        "atom": list(zip(system.symbols, system.positions.tolist(), strict=True)),
        "unit": "Angstrom",
        "basis": config.method.basis,
        "pseudo": {symbol: core.name for symbol, core in cores.items() if core.kind == "gth"} or None,
        "ecp": {symbol: core.name for symbol, core in cores.items() if core.kind == "ecp"},
        "charge": config.system.charge,
        "spin": config.system.spin,
        "verbose": 0,
    }
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


def choose_integrals(config: PyscfConfig, system: System) -> str:
    """How the Coulomb integrals are done: ``exact``, ``gaussian``, ``multigrid`` or ``fft``.

    Plane waves resolve no cusp at a nucleus: they serve where every element has a GTH pseudopotential.
    """
    if config.scf.integrals != "auto":
        return config.scf.integrals
    if config.system.molecule:
        return "exact"
    if not all_gth(config, system):
        return "gaussian"
    return "fft" if config.method.kind not in ("RKS", "UKS") or is_hybrid(config) else "multigrid"


def all_gth(config: PyscfConfig, system: System) -> bool:
    """Whether every element has a GTH pseudopotential."""
    return all((core := find_core(config.method, s)) is not None and core.kind == "gth" for s in set(system.symbols))


def is_hybrid(config: PyscfConfig) -> bool:
    """Whether the functional holds exact exchange."""
    from pyscf.dft import libxc

    return bool(libxc.is_hybrid_xc(config.method.functional))
