"""HopTB.jl: H, S and r in a legacy DeepH folder, and a Julia function ``load_model`` that makes a ``TBModel`` of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph.files.legacy import write_legacy
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.log import logger
from postprocess.export.layout import sound
from postprocess.export.positions import position_blocks

JULIA = """# {title}
# using Pkg; Pkg.add("HDF5"); then: include("model.jl"); model = load_model()
# Energies in eV, lengths in Angstrom; {origin}, relative to the lattice origin. Fermi level: {fermi}.
# Orbitals: atom by atom, shells in the order of orbital_types.dat, m in the order of OpenMX; spinors all up, then all down.
using HopTB, HDF5, DelimitedFiles

const HERE = @__DIR__

key_of(name) = [parse(Int, word) for word in split(strip(name, ['[', ']']), ',')]

function load_model()
    shells = [parse.(Int, split(line)) for line in readlines(joinpath(HERE, "orbital_types.dat")) if !isempty(strip(line))]
    widths = [sum(2 .* one .+ 1) for one in shells]
    first_of = cumsum([0; widths[1:end-1]])
    total = sum(widths)
    spins = {spins}
    model = TBModel{{{type}}}(spins * total, readdlm(joinpath(HERE, "lat.dat")), isorthogonal=false)
    index(atom, a, spin) = (spin - 1) * total + first_of[atom] + a
    # HDF5.jl reads the axes of a block in the reverse order: block[b, a]
    h5open(joinpath(HERE, "hamiltonians.h5")) do file
        for name in keys(file)
            R1, R2, R3, i, j = key_of(name)
            block = read(file[name])
            for s in 1:spins, t in 1:spins, a in 1:widths[i], b in 1:widths[j]
                value = block[(t - 1) * widths[j] + b, (s - 1) * widths[i] + a]
                sethopping!(model, [R1, R2, R3], index(i, a, s), index(j, b, t), value)
            end
        end
    end
    h5open(joinpath(HERE, "overlaps.h5")) do file
        for name in keys(file)
            R1, R2, R3, i, j = key_of(name)
            block = read(file[name])
            for s in 1:spins, a in 1:widths[i], b in 1:widths[j]
                setoverlap!(model, [R1, R2, R3], index(i, a, s), index(j, b, s), block[b, a])
            end
        end
    end
    h5open(joinpath(HERE, "positions.h5")) do file
        for name in keys(file)
            R1, R2, R3, i, j, direction = key_of(name)
            block = read(file[name])
            for s in 1:spins, a in 1:widths[i], b in 1:widths[j]
                setposition!(model, [R1, R2, R3], index(i, a, s), index(j, b, s), direction, block[b, a])
            end
        end
    end
    return model
end
"""


def write(folder: Path, h: Hamiltonian) -> None:
    """Write into a folder that exists; where there is no position matrix, the named approximation."""
    h = sound(h)
    r, origin = position_blocks(h)
    logger.info("HopTB: %s", origin)
    write_legacy(folder, replace(h, r=r, extra={}, predicted=False, error_bars=None), overwrite=True)
    kind = "ComplexF64" if np.iscomplexobj(h.hamiltonian.entries) else "Float64"
    fermi = "not known" if h.fermi_energy is None else f"{h.fermi_energy:.9f} eV"
    text = JULIA.format(title=str(h.system.formula), origin=origin, fermi=fermi, spins=h.basis.spin_factor, type=kind)
    (folder / "model.jl").write_text(text, encoding="utf-8")
