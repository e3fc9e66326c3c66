"""All mistakes of the settings that can be seen before anything runs."""

import numpy as np

from deeph.physics.system import NUMBERS, System
from deeph.runtime.errors import DataError, UsageError
from preprocess.pyscf.config import PyscfConfig
from preprocess.pyscf.cores import core_mistakes
from preprocess.pyscf.setup import all_gth, build, choose_integrals, is_hybrid, mean_field
from preprocess.readers.pyscf.kmesh import aliased_pairs, smallest_mesh
from preprocess.readers.pyscf.matrices import only_own_mesh
from preprocess.readers.pyscf.run import basis_of, pairs_in_range

MAX_MESH = 2**28
"""Points of a mesh of plane waves: 2 GiB for each density or potential."""


def check_settings(config: PyscfConfig, system: System) -> None:
    """Build the calculation of a structure without running it.

    Raises
    ------
    UsageError
        All that PySCF does not know or that cannot work: basis and core of each element, functional, number of electrons, a mesh of
        plane waves that no memory holds, a k mesh too small for exact exchange.
    """
    mistakes = _functional(config)
    for symbol in dict.fromkeys(system.symbols):
        mistakes += core_mistakes(config.method, symbol)
    if not mistakes:
        try:
            mistakes = [*_plane_waves(config, system), *_small_mesh(config, system)]
        except DataError as error:
            mistakes = [str(error)]
    if mistakes:
        head = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UsageError("\n  ".join([f"{head} in the settings", *mistakes]))


def _functional(config: PyscfConfig) -> list[str]:
    """A functional that PySCF does not know, or cannot do here."""
    from pyscf.dft import libxc

    if config.method.kind.endswith("HF"):
        return []
    try:
        libxc.parse_xc(config.method.functional)
        hybrid = is_hybrid(config)
    except (KeyError, ValueError, NotImplementedError) as error:
        return [f"method.functional {config.method.functional!r} is unknown to PySCF: {error.args[0] if error.args else error}"]
    if hybrid and config.method.kind == "GKS" and not config.system.molecule:
        return [
            f"method.functional {config.method.functional!r}: PySCF has no hybrid functionals for GKS crystals; expected a semi-local one"
        ]
    if hybrid and config.scf.integrals == "multigrid":
        return ["scf.integrals 'multigrid' has no exact exchange; expected 'fft' or 'gaussian' for hybrid functionals"]
    return []


def _plane_waves(config: PyscfConfig, system: System) -> list[str]:
    """Plane waves for elements they cannot describe, or more of them than fit into memory."""
    integrals = choose_integrals(config, system)
    if integrals not in ("fft", "multigrid"):
        return []
    if not all_gth(config, system):
        return [f"scf.integrals {integrals!r} needs a GTH pseudopotential for every element; expected 'gaussian'"]
    mol = build(config, system)
    points = int(np.prod(np.asarray(mol.mesh, float)))
    if points <= MAX_MESH:
        return []
    steepest = max(range(mol.nbas), key=lambda shell: float(mol.bas_exp(shell).max()))
    exponent, symbol = mol.bas_exp(steepest).max(), mol.atom_pure_symbol(mol.bas_atom(steepest))
    mesh = f"{' x '.join(map(str, mol.mesh))} points, {points * 8 / 2**30:.0f} GiB for each density"
    hint = 'expected a basis for the pseudopotential (gth-...), integrals = "gaussian", or a smaller cutoff'
    return [f"scf.integrals {integrals!r}: functions of {symbol} with the exponent {exponent:.4g} need a mesh of {mesh}; {hint}"]


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
