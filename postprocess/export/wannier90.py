"""The files of Wannier90, with Loewdin orbitals: ``wannier90_hr.dat``, ``_tb.dat``, ``_centres.xyz`` and ``wannier90.win``.

Every R has the degeneracy 1: how elements are shared by several images is in the elements, so that all readers of these files agree.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.log import telling
from postprocess.export.layout import Array
from postprocess.export.loewdin import Loewdin, loewdin

SEED = "wannier90"
ONE_LINE = 15
"""Degeneracies in a line."""


def write(folder: Path, h: Hamiltonian, *, mesh: Divisions | None = None) -> None:
    """Write the four files into a folder that exists.

    Parameters
    ----------
    folder : Path
        Where to.
    h : Hamiltonian
        One spin channel, or spinors.
    mesh : (int, int, int), optional
        k-points of the Loewdin orbitals.
    """
    write_model(folder, loewdin(h, "wannier90", mesh=mesh, positions=True))


def write_model(folder: Path, model: Loewdin) -> None:
    """Write an orthonormal model with or without positions."""
    title = f"{model.system.formula}: {model.describe()}; {model.r_origin}"
    with telling(f"writing H and r of {len(model.R)} R", 3 * len(model.R), "matrices") as progress:
        with (folder / f"{SEED}_hr.dat").open("w", encoding="utf-8") as file:
            _head(file, title, model)
            for cell, H in zip(model.R, model.H[0], strict=True):
                write_elements(file, _numbered(H, cell), [H.T.ravel()])
                progress.advance()
        with (folder / f"{SEED}_tb.dat").open("w", encoding="utf-8") as file:
            file.write(f"{title}\n" + "".join(" ".join(f"{x:.16g}" for x in row) + "\n" for row in model.system.cell))
            _head(file, "", model)
            for parts in (model.H, *([] if model.r is None else [model.r])):
                for q, cell in enumerate(model.R):
                    file.write("\n{} {} {}\n".format(*cell.tolist()))
                    write_elements(file, _numbered(parts[0, q]), [component[q].T.ravel() for component in parts])
                    progress.advance()
    _write_win(folder / f"{SEED}.win", model)
    _write_centres(folder / f"{SEED}_centres.xyz", model)


def write_elements(file: TextIO, columns: Iterable[IntArray], values: Iterable[Array]) -> None:
    """Lines of integers, then real and imaginary parts with all digits."""
    integers = np.stack(list(columns), axis=1)
    numbers = np.stack([part for value in values for part in (np.real(value), np.imag(value))], axis=1)
    line = " ".join(["%d"] * integers.shape[1] + ["% .16e"] * numbers.shape[1])
    file.write("".join(line % (*a, *b) + "\n" for a, b in zip(integers.tolist(), numbers.tolist(), strict=True)))


def centres(model: Loewdin) -> FloatArray:
    """(n, 3) <i, 0 | r | i, 0> of the orbitals in Angstrom; their atoms where the model has no r."""
    if model.r is None:
        return model.system.positions[model.orbitals.atom]
    home = int(np.flatnonzero(~model.R.any(axis=1))[0])
    return np.ascontiguousarray(np.diagonal(model.r[:, home], axis1=1, axis2=2).real.T)


def _numbered(matrix: Array, cell: IntArray | None = None) -> list[IntArray]:
    """R and the two indices of each element from 1, the first one running fastest."""
    n = len(matrix)
    second, first = (x.ravel() + 1 for x in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    of_cell = [] if cell is None else [np.full(n * n, x) for x in cell.tolist()]
    return [*of_cell, first, second]


def _head(file: TextIO, title: str, model: Loewdin) -> None:
    """Title, number of orbitals and cells, degeneracies."""
    ones = ["1"] * len(model.R)
    rows = [" ".join(ones[n : n + ONE_LINE]) for n in range(0, len(ones), ONE_LINE)]
    file.write("".join(f"{line}\n" for line in (*[title] * bool(title), model.H.shape[-1], len(model.R), *rows)))


def _write_win(path: Path, model: Loewdin) -> None:
    cell = [" ".join(f"{x:.16g}" for x in row) for row in model.system.cell]
    rows = zip(model.system.symbols, model.system.positions, strict=True)
    atoms = [f"{symbol} " + " ".join(f"{x:.16g}" for x in row) for symbol, row in rows]
    lines = [
        f"num_wann = {model.H.shape[-1]}", "", "begin unit_cell_cart", "ang", *cell, "end unit_cell_cart", "",
        "begin atoms_cart", "ang", *atoms, "end atoms_cart", "", f"mp_grid = {' '.join(map(str, model.mesh))}", "",
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")


def _write_centres(path: Path, model: Loewdin) -> None:
    where = centres(model)
    rows = [("X", row) for row in where] + list(zip(model.system.symbols, model.system.positions, strict=True))
    lines = [str(len(rows)), "Centres of the orbitals and atoms, Angstrom"]
    path.write_text("\n".join([*lines, *(f"{name} " + " ".join(f"{x:.12f}" for x in row) for name, row in rows), ""]), encoding="utf-8")
