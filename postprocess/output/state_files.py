"""Eigenstates in files: all of them with what belongs to them, or in the DeepH layout ``wavefunction_ao.h5``."""

from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.folders import new_file
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.kjobs import Results
from postprocess.states.states import atom_of_orbital, spin_of_orbital

DEEPH_NAME = "wavefunction_ao.h5"
PRECISIONS = {"float32": "complex64", "float64": "complex128"}


def write_states(path: Path, hamiltonian: Hamiltonian, k: FloatArray, results: Results, *, fermi_energy: float | None = None) -> None:
    """Write eigenstates, k by k, in the memory of one of them.

    ``energies`` (n_spin, n_k, n_bands) in eV, NaN where a k has fewer; ``vectors`` (n_spin, n_k, n_bands, n_orbitals), C^dagger S C = 1,
    lattice gauge; ``k`` (n_k, 3) fractional; ``first`` (n_spin, n_k) number of the first band, -1 if not known; ``atom_of_orbital`` and
    ``spin_of_orbital`` (n_orbitals,); ``charges`` (n_spin, n_k, n_bands, n_atoms), the Mulliken share of each atom. A file that is called
    ``wavefunction_ao.h5`` gets the DeepH layout instead: ``efermi``, ``kpts``, ``eigenvalues`` (n_k, n_bands) and ``eigenvectors``
    (n_k, n_bands, n_spinor, n_orbitals of one spin).

    Parameters
    ----------
    path : Path
        Appears complete or not at all.
    hamiltonian : Hamiltonian
        What was solved.
    k : (n_k, 3) array
        Fractional.
    results : Results
        Of :class:`postprocess.states.spectrum.LevelsAndWeights` with ``keep``: all k of the first spin channel, then those of the second.
    fermi_energy : float, optional
        eV.

    Raises
    ------
    UsageError
        If the DeepH layout cannot hold these states: collinear spin, or other numbers of them at different k.
    """
    from deeph.files.hdf5 import reserved_hdf5

    vectors_bytes = sum(one["vectors"].nbytes for one in results)
    with new_file(path) as temporary, reserved_hdf5(temporary, 2 * vectors_bytes) as file:
        if path.name == DEEPH_NAME:
            _write_deeph(file, hamiltonian, k, results, fermi_energy)
            return
        shape = (hamiltonian.basis.n_spin, len(k))
        sizes = [len(one["energies"]) for one in results]
        n_bands, dtype = max(sizes), results[0]["vectors"].dtype
        energies = file.create_dataset("energies", (*shape, n_bands), float, fillvalue=np.nan)
        vectors = file.create_dataset("vectors", (*shape, n_bands, hamiltonian.H_bloch.n_orbitals), dtype)
        charges = file.create_dataset("charges", (*shape, n_bands, hamiltonian.system.n_atoms), np.empty(0, dtype).real.dtype)
        first = file.create_dataset("first", shape, int)
        atom = atom_of_orbital(hamiltonian)
        file["k"], file["atom_of_orbital"], file["spin_of_orbital"] = k, atom, spin_of_orbital(hamiltonian)
        if fermi_energy is not None:
            file.attrs["fermi_energy"] = fermi_energy
        starts = np.searchsorted(atom, np.arange(hamiltonian.system.n_atoms))
        for place, one, n in zip(np.ndindex(shape), results, sizes, strict=True):
            C = one["vectors"]
            energies[(*place, slice(n))], first[place] = one["energies"], one["first"]
            vectors[(*place, slice(n))] = C.T
            shares = (C.conj() * (hamiltonian.S_bloch.csr(k[place[1]]) @ C)).real
            charges[(*place, slice(n))] = np.add.reduceat(shares, starts, axis=0).T


def _write_deeph(file: Any, hamiltonian: Hamiltonian, k: FloatArray, results: Results, fermi_energy: float | None) -> None:
    if hamiltonian.basis.spin == "collinear":
        raise UsageError(f"{DEEPH_NAME} holds one spin channel or spinors, but this Hamiltonian has two channels; choose another file name")
    sizes = {len(one["energies"]) for one in results}
    if len(sizes) > 1:
        raise UsageError(
            f"{DEEPH_NAME} needs the same number of states at every k, but there are {min(sizes)} to {max(sizes)}; use --n-bands"
        )
    n, factor = hamiltonian.H_bloch.n_orbitals, hamiltonian.basis.spin_factor
    order = np.argsort(spin_of_orbital(hamiltonian), kind="stable").reshape(factor, -1)
    file["kpts"] = k
    file["eigenvalues"] = np.array([one["energies"] for one in results])
    if fermi_energy is not None:
        file["efermi"] = fermi_energy
    vectors = file.create_dataset("eigenvectors", (len(k), sizes.pop(), factor, n // factor), results[0]["vectors"].dtype)
    for place, one in enumerate(results):
        vectors[place] = one["vectors"].T[:, order]


def read_states(path: str | Path) -> dict[str, Any]:
    """The arrays of a file of :func:`write_states`, by name; DataError if it is something else."""
    import h5py

    try:
        with h5py.File(path) as file:
            out = {name: dataset[()] for name, dataset in file.items()} | dict(file.attrs)
    except (OSError, TypeError) as error:
        raise DataError(f"{path} is not a file of eigenstates: {error}") from error
    if "vectors" not in out and "eigenvectors" not in out:
        raise DataError(f"{path} holds {', '.join(out) or 'nothing'}; expected eigenstates, as deeph-states writes them")
    return out
