"""``INPUT``, ``STRU`` and ``KPT`` of ABACUS 3 with numerical orbitals (manual: https://abacus.deepmodeling.com)."""

from deeph.physics.system import NUMBERS, System
from deeph.physics.units import ABACUS, KELVIN
from preprocess.structures.inputs.lines import keyword_lines, numbers
from preprocess.structures.settings import Settings

SPIN = {"off": (1, 0, 0), "collinear": (2, 0, 0), "noncollinear": (4, 1, 0), "spin-orbit": (4, 1, 1)}
"""nspin, noncolin, lspinorb."""
FUNCTIONAL = {"PBE": "PBE", "LDA": "PZ"}


def input_files(system: System, settings: Settings, k_mesh: tuple[int, int, int]) -> dict[str, str]:
    """The three files, with H(R), S(R) and r(R) written out."""
    nspin, noncollinear, coupling = SPIN[settings.run.spin]
    paths = [("pseudo_dir", settings.run.data_path), ("orbital_dir", settings.run.data_path)] if settings.run.data_path else []
    spinor = [("noncolin", str(noncollinear)), ("lspinorb", str(coupling))] if nspin == 4 else []
    pairs = [
        ("calculation", "scf"),
        *paths,
        ("basis_type", "lcao"),
        ("gamma_only", "0"),
        ("dft_functional", FUNCTIONAL[settings.run.functional]),
        ("nspin", str(nspin)),
        *spinor,
        ("ecutwfc", f"{settings.run.cutoff:g}"),
        ("scf_thr", "1e-8"),
        ("scf_nmax", "200"),
        ("smearing_method", "fd"),
        ("smearing_sigma", f"{settings.run.temperature * KELVIN / (ABACUS.hartree / 2):.8f}"),
        ("out_mat_hs2", "1"),
        ("out_mat_r", "1"),
        *([("out_mul", "1")] if nspin > 1 else []),  # magnetic moments
    ]
    mesh = f"K_POINTS\n0\nGamma\n{' '.join(map(str, k_mesh))} 0 0 0\n"
    return {
        "INPUT": "\n".join(["INPUT_PARAMETERS", *keyword_lines(pairs, settings.run.extra)]) + "\n",
        "STRU": _structure(system, settings),
        "KPT": mesh,
    }


def _structure(system: System, settings: Settings) -> str:
    from ase.data import atomic_masses

    kinds = list(dict.fromkeys(system.symbols))
    lines = ["ATOMIC_SPECIES", *(f"{s} {atomic_masses[NUMBERS[s]]:.4f} {settings.elements[s].pseudopotential}" for s in kinds)]
    lines += ["", "NUMERICAL_ORBITAL", *(settings.elements[s].basis for s in kinds)]
    lines += ["", "LATTICE_CONSTANT", f"{1 / ABACUS.bohr:.16f}  # 1 Angstrom in Bohr as ABACUS has it"]
    lines += ["", "LATTICE_VECTORS", *(numbers(row) for row in system.cell), "", "ATOMIC_POSITIONS", "Direct"]
    for symbol in kinds:
        rows = [row for s, row in zip(system.symbols, system.fractional, strict=True) if s == symbol]
        moment = settings.elements[symbol].moment if settings.run.spin != "off" else 0.0
        lines += ["", symbol, f"{moment:.4f}", str(len(rows)), *(f"{numbers(row)} 0 0 0" for row in rows)]
    return "\n".join(lines) + "\n"
