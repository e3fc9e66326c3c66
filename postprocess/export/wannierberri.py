"""WannierBerri: the files of Wannier90, and a ``System_R`` made of them."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from postprocess.export import wannier90


def make(h: Hamiltonian, *, mesh: Divisions | None = None) -> Any:
    """A ``wannierberri.System_R`` with H and r."""
    import wannierberri

    with TemporaryDirectory() as folder:
        wannier90.write(Path(folder), h, mesh=mesh)
        return wannierberri.System_R.from_tb_file(str(Path(folder) / f"{wannier90.SEED}_tb.dat"), berry=True)
