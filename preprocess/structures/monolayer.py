"""One layer of a stack: its plane lattice and the atoms of its cell."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from deeph.physics.layers import find_layers, heights
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError
from preprocess.structure_files import read_structure_file

Kind = Literal["hexagonal", "square", "oblique"]
GRAPHENE = 2.46
"""Lattice constant of graphene, Angstrom."""
TOLERANCE = 1e-3
"""Relative deviation of lengths and angles up to which a lattice counts as hexagonal or square."""
HOLLOW = 0.3
"""A point with no atom within this distance in the plane (Angstrom) is hollow."""
UPRIGHT = 1e-6
"""A layer whose normal has no larger component along z has no upper side along z."""
Centre = Literal["atom", "hexagon", "origin"]


@dataclass(frozen=True)
class Monolayer:
    """A layer in the x-y plane.

    Attributes
    ----------
    name : str
        Where it comes from.
    vectors : (2, 2) array
        Lattice vectors in rows, the first along x, right-handed, 60 degrees in a hexagonal lattice; Angstrom.
    fractional : (n_atoms, 2) array
        In-plane positions in units of the lattice vectors.
    heights : (n_atoms,) array
        Above the lowest atom, Angstrom.
    numbers : (n_atoms,) int array
        Atomic numbers.
    kind : {"hexagonal", "square", "oblique"}
        Symmetry of the lattice.
    """

    name: str
    vectors: FloatArray
    fractional: FloatArray
    heights: FloatArray
    numbers: IntArray
    kind: Kind

    @property
    def constant(self) -> float:
        """Length of the first lattice vector, Angstrom."""
        return float(np.linalg.norm(self.vectors[0]))

    def centred(self, centre: Centre) -> "Monolayer":
        """The layer moved so that an atom, a hollow site, or nothing special (the origin of its file) lies on the axis x = y = 0.

        Raises
        ------
        UsageError
            If the layer is not hexagonal or has no hollow site.
        """
        if centre == "origin":
            return self
        atom = self.fractional[0]
        if centre == "atom":
            return replace(self, fractional=self.fractional - atom)
        images = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
        for site in (atom + 1 / 3, atom + 2 / 3) if self.kind == "hexagonal" else ():
            offsets = (self.fractional - site + 0.5) % 1.0 - 0.5
            if np.linalg.norm((offsets[:, None] + images) @ self.vectors, axis=-1).min() > HOLLOW:
                return replace(self, fractional=self.fractional - site)
        raise UsageError(f"{self.name} has no empty hexagon to turn about; use --centre atom or origin")


def graphene(constant: float = GRAPHENE) -> Monolayer:
    """Graphene with this lattice constant (Angstrom), an atom at the origin."""
    vectors = constant * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    sites = np.array([[0.0, 0.0], [1 / 3, 1 / 3]])
    return Monolayer("graphene", vectors, sites, np.zeros(2), np.array([6, 6]), "hexagonal")


def read_monolayer(text: str) -> Monolayer:
    """A layer from ``graphene``, ``graphene:2.46`` or the path of a structure file.

    Raises
    ------
    UsageError
        If the lattice constant is no length.
    DataError
        If the file cannot be read or holds more than one layer.
    """
    name, _, constant = text.partition(":")
    if name != "graphene":
        if not Path(text).is_file():
            raise DataError(f"no layer {text!r}: expected graphene, graphene:LATTICE_CONSTANT or the path of a POSCAR with one layer")
        return from_system(read_structure_file(Path(text)).system, text)
    try:
        a = float(constant) if constant else GRAPHENE
    except ValueError:
        a = 0.0
    if not 0.5 < a < 100:
        raise UsageError(f"layer {text!r}: expected a lattice constant in Angstrom after the colon, such as graphene:2.46")
    return graphene(a)


def from_system(system: System, name: str) -> Monolayer:
    """The layer in a cell, whose first two lattice vectors span its plane.

    What is above along z stays above, whichever way round the cell is; a layer that stands upright is laid down with its third lattice
    vector upwards.

    Raises
    ------
    DataError
        If there are several layers in the cell.
    """
    labels = find_layers(system)
    if labels.max() > 0:
        raise DataError(
            f"{name} holds {labels.max() + 1} layers along its third lattice vector, expected one with vacuum around it; give each layer "
            "of a stack as a file of its own"
        )
    a, b, c = system.cell
    z = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    z *= np.sign(z[2] if abs(z[2]) > UPRIGHT else c @ z)
    x = a / np.linalg.norm(a)
    plane = np.array([x, np.cross(z, x)])
    # a layer that runs through the top of the cell: bring its atoms together before they are projected
    up, _ = heights(system)
    period = abs(c @ z)
    unwrapped = system.positions + np.rint((up - system.fractional[:, 2] * period) / period)[:, None] * c
    height = unwrapped @ z
    vectors = np.array([a, b]) @ plane.T
    vectors[1] *= np.sign(np.linalg.det(vectors))  # a left-handed cell: the same lattice, seen from above
    vectors, kind = _standard(vectors)
    fractional = np.linalg.solve(vectors.T, (unwrapped @ plane.T).T).T
    return Monolayer(name, vectors, fractional, height - height.min(), system.numbers, kind)


def _standard(vectors: FloatArray) -> tuple[FloatArray, Kind]:
    """The same lattice with 60 degrees instead of 120, and what lattice it is."""
    lengths = np.linalg.norm(vectors, axis=1)
    cosine = float(vectors[0] @ vectors[1] / lengths.prod())
    if abs(lengths[1] / lengths[0] - 1) > TOLERANCE:
        return vectors, "oblique"
    if abs(cosine + 0.5) < TOLERANCE:
        return np.array([vectors[0], vectors[0] + vectors[1]]), "hexagonal"
    if abs(cosine - 0.5) < TOLERANCE:
        return vectors, "hexagonal"
    return vectors, "square" if abs(cosine) < TOLERANCE else "oblique"
