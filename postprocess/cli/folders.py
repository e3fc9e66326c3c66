"""What a folder holds that is no structure folder: what its name should have been."""

from pathlib import Path

from deeph.runtime.errors import DataError

LISTED = 20
"""Structure folders named in a message."""
RUNS = ("*.scfout", "*.HSX", "*.TSHS", "*.ORB_INDX", "OUT.*/running_*.log", "rs_indices.out", "element.dat")
"""What OpenMX, SIESTA, ABACUS and FHI-aims leave behind, and older DeepH programs."""


def what_instead(folder: Path) -> DataError | None:
    """The error for a folder that holds structure folders, or a run of a DFT code; None if it is a structure folder, or neither."""
    from deeph.files.store import is_structure_folder

    if is_structure_folder(folder):
        return None
    heads = (path for pattern in ("*/info.json", "*/*/info.json") for path in folder.glob(pattern))  # not the whole home of a user
    found = sorted(head.parent for head in heads if is_structure_folder(head.parent))
    if found:
        lines = [f"{folder} is not a structure folder, but holds {len(found)}; name {'one of them' if len(found) > 1 else 'it'}:"]
        lines += [f"  {_describe(one)}" for one in found[:LISTED]]
        return DataError("\n".join(lines + [f"  and {len(found) - LISTED} more"] * (len(found) > LISTED)))
    run = next((file.relative_to(folder) for pattern in RUNS for file in sorted(folder.glob(pattern))), None)
    if run is None:
        return None
    return DataError(
        f"{folder} is a run of a DFT code (it holds {run}), not a structure folder. Convert it first, 'deeph-preprocess {folder} data', "
        f"and name data/{folder.resolve().name}"
    )


def _describe(folder: Path) -> str:
    """Formula, atoms, spin and matrices of a structure folder, from its small files."""
    from deeph.files.store import HAMILTONIAN, OVERLAP, PREDICTED, read_info, read_poscar

    files = (("H", HAMILTONIAN), ("H predicted", PREDICTED), ("S", OVERLAP))
    matrices = ", ".join(name for name, file in files if (folder / file).is_file())
    try:
        system, info = read_poscar(folder / "POSCAR"), read_info(folder)
    except DataError as error:
        return f"{folder}  damaged: {error}"
    spin = info.get("spin") or ("spinor" if info.get("spinful") else "none")
    return f"{folder}  {system.formula}, {system.n_atoms} atoms, spin {spin}: {matrices or 'no matrices'}"
