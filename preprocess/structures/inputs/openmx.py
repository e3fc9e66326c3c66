"""``openmx.dat``: the input file of OpenMX 3.8 and newer (manual: https://www.openmx-square.org/openmx_man3.9)."""

from deeph.physics.system import System
from preprocess.structures.inputs.lines import keyword_lines, numbers
from preprocess.structures.settings import ElementSettings, Settings

SPIN = {"off": ("off", "off"), "collinear": ("on", "off"), "noncollinear": ("NC", "off"), "spin-orbit": ("NC", "on")}
FUNCTIONAL = {"PBE": "GGA-PBE", "LDA": "LDA"}


def input_files(system: System, settings: Settings, k_mesh: tuple[int, int, int]) -> dict[str, str]:
    """The input file, with HS.fileout."""
    kinds = list(dict.fromkeys(system.symbols))
    atoms = [
        f"{n:6d} {symbol:<3} {numbers(row)} {_electrons(settings.elements[symbol], settings.run.spin)}"
        for n, (symbol, row) in enumerate(zip(system.symbols, system.positions, strict=True), 1)
    ]
    blocks = [
        ("Species.Number", str(len(kinds))),
        *_block(
            "Definition.of.Atomic.Species", [f" {s} {settings.elements[s].basis} {settings.elements[s].pseudopotential}" for s in kinds]
        ),
        ("Atoms.Number", str(system.n_atoms)),
        ("Atoms.SpeciesAndCoordinates.Unit", "Ang"),
        *_block("Atoms.SpeciesAndCoordinates", atoms),
        ("Atoms.UnitVectors.Unit", "Ang"),
        *_block("Atoms.UnitVectors", [numbers(row) for row in system.cell]),
    ]
    lines = keyword_lines([*_head(settings), *blocks, *_scf(settings, k_mesh), *_bands(settings)], settings.run.extra)
    return {"openmx.dat": "\n".join(lines) + "\n"}


def _head(settings: Settings) -> list[tuple[str, str]]:
    path = [("DATA.PATH", settings.run.data_path)] if settings.run.data_path else []
    return [("System.CurrrentDirectory", "./"), ("System.Name", "openmx"), *path, ("level.of.stdout", "1"), ("level.of.fileout", "0")]


def _scf(settings: Settings, k_mesh: tuple[int, int, int]) -> list[tuple[str, str]]:
    polarization, coupling = SPIN[settings.run.spin]
    return [
        (
            "scf.XcType",
            FUNCTIONAL[settings.run.functional] if settings.run.functional == "PBE" or settings.run.spin == "off" else "LSDA-PW",
        ),
        ("scf.SpinPolarization", polarization),
        ("scf.SpinOrbit.Coupling", coupling),
        ("scf.ElectronicTemperature", f"{settings.run.temperature:g}"),
        ("scf.energycutoff", f"{settings.run.cutoff:g}"),
        ("scf.maxIter", "200"),
        ("scf.EigenvalueSolver", "band"),
        ("scf.Kgrid", " ".join(map(str, k_mesh))),
        ("scf.Mixing.Type", "rmm-diisk"),
        ("scf.Init.Mixing.Weight", "0.1"),
        ("scf.Min.Mixing.Weight", "0.001"),
        ("scf.Max.Mixing.Weight", "0.4"),
        ("scf.Mixing.History", "20"),
        ("scf.Mixing.StartPulay", "6"),
        ("scf.criterion", "1.0e-8"),
        ("MD.Type", "nomd"),
        ("HS.fileout", "on"),
    ]


def _bands(settings: Settings) -> list[tuple[str, str]]:
    if not settings.run.kpath:
        return []
    rows = [f"{p.points:4d} {numbers(p.start)} {numbers(p.stop)} {' '.join(p.labels)}" for p in settings.run.kpath]
    return [("Band.dispersion", "on"), ("Band.Nkpath", str(len(rows))), *_block("Band.kpath", rows)]


def _block(name: str, rows: list[str]) -> list[tuple[str, str]]:
    return [(f"<{name}", "\n" + "\n".join([*rows, f"{name}>"]))]


def _electrons(element: ElementSettings, spin: str) -> str:
    """Electrons up and down at the start; without a moment in the first step, a non-magnetic atom."""
    valence = element.valence or 0.0
    moment = element.moment if spin != "off" else 0.0
    return f"{(valence + moment) / 2:.4f} {(valence - moment) / 2:.4f}" + (" 0.0 0.0 0.0 0.0 0 off" if SPIN[spin][0] == "NC" else "")
