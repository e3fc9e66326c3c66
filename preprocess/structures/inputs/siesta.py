"""``siesta.fdf``: the input file of SIESTA 4 and 5 (manual: https://siesta-project.org)."""

from deeph.physics.system import NUMBERS, System
from preprocess.structures.inputs.lines import keyword_lines, numbers
from preprocess.structures.settings import Settings

SPIN = {"off": "non-polarized", "collinear": "polarized", "noncollinear": "non-collinear", "spin-orbit": "spin-orbit"}
FUNCTIONAL = {"PBE": ("GGA", "PBE"), "LDA": ("LDA", "CA")}


def input_files(system: System, settings: Settings, k_mesh: tuple[int, int, int]) -> dict[str, str]:
    """The input file, with SaveHS."""
    kinds = list(dict.fromkeys(system.symbols))
    functional, authors = FUNCTIONAL[settings.run.functional]
    atoms = [f"{numbers(row)} {kinds.index(s) + 1}" for s, row in zip(system.symbols, system.positions, strict=True)]
    mesh = [" ".join(str(k_mesh[i]) if i == j else "0" for j in range(3)) + " 0.0" for i in range(3)]
    pairs = [
        ("SystemName", "siesta"),
        ("SystemLabel", "siesta"),
        ("NumberOfSpecies", str(len(kinds))),
        ("NumberOfAtoms", str(system.n_atoms)),
        *_block("ChemicalSpeciesLabel", [f"{n} {NUMBERS[s]} {s}" for n, s in enumerate(kinds, 1)]),
        *_block("PAO.BasisSizes", [f"{s} {settings.elements[s].basis}" for s in kinds]),
        ("LatticeConstant", "1.0 Ang"),
        *_block("LatticeVectors", [numbers(row) for row in system.cell]),
        ("AtomicCoordinatesFormat", "Ang"),
        *_block("AtomicCoordinatesAndAtomicSpecies", atoms),
        ("XC.Functional", functional),
        ("XC.Authors", authors),
        ("Spin", SPIN[settings.run.spin]),
        *_moments(system, settings),
        ("MeshCutoff", f"{settings.run.cutoff:g} Ry"),
        ("ElectronicTemperature", f"{settings.run.temperature:g} K"),
        *_block("kgrid_Monkhorst_Pack", mesh),
        *([("ForceAuxCell", ".true.")] if k_mesh == (1, 1, 1) else []),  # or the images of an atom would be added up
        ("SolutionMethod", "diagon"),
        ("MaxSCFIterations", "200"),
        ("DM.Tolerance", "1.d-6"),
        ("SaveHS", ".true."),
        *_bands(settings),
    ]
    lines = keyword_lines(pairs, settings.run.extra, lambda word: word.lower().translate(str.maketrans("", "", "-_.")))
    return {"siesta.fdf": "\n".join(lines) + "\n"}


def _moments(system: System, settings: Settings) -> list[tuple[str, str]]:
    moments = [settings.elements[s].moment for s in system.symbols]
    if settings.run.spin == "off" or not any(moments):
        return []
    return _block("DM.InitSpin", [f"{n} {m:.4f}" for n, m in enumerate(moments, 1)])


def _bands(settings: Settings) -> list[tuple[str, str]]:
    """Band lines; where a segment does not start at the end of the one before, a new line starts with one point."""
    rows, last = [], None
    for p in settings.run.kpath:
        if p.start != last:
            rows.append(f"1 {numbers(p.start)} {p.labels[0]}")
        rows.append(f"{p.points} {numbers(p.stop)} {p.labels[1]}")
        last = p.stop
    return [("BandLinesScale", "ReciprocalLatticeVectors"), *_block("BandLines", rows)] if rows else []


def _block(name: str, rows: list[str]) -> list[tuple[str, str]]:
    return [(f"%block {name}", "\n" + "\n".join([*rows, f"%endblock {name}"]))]
