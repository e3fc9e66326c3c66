"""What ``deeph-berry`` and ``deeph-optics`` do with cells that are too large for dense matrices."""

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from postprocess.cli.common import choose_path, to_plain
from postprocess.cli.numbers import are_neighbours
from postprocess.cli.responses import Subject

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.eigen.options import SolverOptions
    from postprocess.geometry.curvature import Curvature
    from postprocess.large.conductivity import LargeConductivity
    from postprocess.topology.chern import ChernNumber


def add_group_options(parser: argparse.ArgumentParser) -> None:
    """``--solver``, ``--center`` and ``--single`` of ``deeph-berry``."""
    group = parser.add_argument_group("large cells")
    group.add_argument(
        "--solver", choices=("auto", "dense", "pardiso", "superlu"), default="auto",
        help="dense matrices, or the --bands alone by sparse states and linear solves (default: by size)",
    )  # fmt: skip
    group.add_argument("--center", type=float, metavar="EV", help="energy near the --bands, on the zero of H (default: Fermi level)")
    group.add_argument("--single", action="store_true", help="factors in single precision, refined: half of the memory (PARDISO)")


def add_conductivity_options(parser: argparse.ArgumentParser) -> None:
    """``--method``, ``--vectors``, ``--gap``, ``--solver`` and ``--single`` of ``deeph-optics``."""
    group = parser.add_argument_group("conductivity of large cells")
    group.add_argument(
        "--method", choices=("auto", "dense", "levels", "kpm"), default="auto",
        help="dense matrices; the levels that the photons reach, by the sparse eigensolver; or kernel polynomials, with error bars "
        "(default: dense up to 5000 orbitals, then levels)",
    )  # fmt: skip
    group.add_argument("--vectors", type=int, default=10, metavar="N", help="kpm: random vectors at each k (default: %(default)s)")
    group.add_argument("--gap", type=float, metavar="EV", help="kpm: static Hall conductivity too, of an insulator with such a gap")
    group.add_argument("--solver", choices=("auto", "pardiso", "superlu"), default="auto", help="levels: which factorization")
    group.add_argument("--single", action="store_true", help="single precision: half of the memory (PARDISO)")


def is_large(args: argparse.Namespace, data: "Hamiltonian") -> bool:
    """Whether dense matrices are left; of ``deeph-berry`` by ``--solver``, of ``deeph-optics`` by ``--method``."""
    from postprocess.states.batches import LARGEST

    chosen = getattr(args, "method", args.solver)
    return bool(data.n_orbitals > LARGEST if chosen == "auto" else chosen != "dense")


def _options(args: argparse.Namespace) -> "SolverOptions":
    from postprocess.eigen.options import SolverOptions

    return SolverOptions(name=args.solver, single=args.single)


class GroupFound(NamedTuple):
    """Geometry of a group of bands, and its Chern number where a mesh gives one."""

    curvature: "Curvature"
    chern: "list[ChernNumber]"


def group_of_bands(args: argparse.Namespace, subject: Subject) -> GroupFound:
    """Curvature, metric, orbital moment and Chern number of ``--bands``.

    Raises
    ------
    UsageError
        If there are no such bands, or something else is asked for.
    """
    from deeph.runtime.errors import UsageError
    from postprocess.large.find_group import Bands
    from postprocess.large.group_curvature import group_curvature
    from postprocess.states.fermi import find_fermi_level

    data, group = subject.data, args.bands
    if args.hall or not group or not are_neighbours(group):
        raise UsageError(
            f"{data.n_orbitals} orbitals without dense matrices: the geometry is that of neighbouring bands near the Fermi level, which "
            "--bands N-M names (deeph-bands --n-bands prints their numbers). The Hall conductivity of an insulator: deeph-optics --method "
            "kpm --gap EV"
        )
    level = find_fermi_level(data, args.fermi, needed=args.center is None, options=_options(args))
    center = level.energy if args.center is None and level is not None else args.center
    where = tuple(args.mesh) if args.mesh else choose_path(args.path, data, args.points)
    bands = Bands(group[0], group[-1] + 1, center, _options(args))
    found, chern = group_curvature(data, where, bands, source=args.positions, jobs=subject.jobs, title=subject.title)
    if level is not None:
        found = replace(found, fermi_energy=level.energy, fermi_origin=level.origin)
    return GroupFound(found, chern)


def report_group(args: argparse.Namespace, subject: Subject, result: GroupFound) -> None:
    """Print it."""
    import numpy as np

    data, (found, chern) = subject.data, result
    spin, n, axis = np.unravel_index(int(np.argmax(np.abs(found.curl))), found.curl.shape)
    record = {
        "title": found.title, "what": found.what, "positions": found.positions, "n_k": len(found.k),
        "largest": {
            "value": float(found.curl[spin, n, axis]), "component": "xyz"[axis], "spin": int(spin), "k": found.k[n].tolist(),
        },
        "curl_minus_kubo": found.difference, "smallest_distance": float(found.separation.min()),
        "chern": [one.number for one in chern], "smallest_link": [one.smallest for one in chern],
    }  # fmt: skip
    if args.json:
        sys.stdout.write(json.dumps(to_plain(record), indent=1) + "\n")
        return
    where = ", ".join(f"{x:.4f}" for x in found.k[n])
    lines = [
        f"{found.title}: {data.system}, {data.n_orbitals} orbitals, spin {data.basis.spin}",
        f"positions    {found.positions}",
        *([] if found.fermi_energy is None else [f"Fermi level  {found.fermi_energy:.6f} eV ({found.fermi_origin})"]),
        f"curvature    of {found.what} at {len(found.k)} k-points, Angstrom^2, by sparse states and linear solves",
        f"  largest    Omega_{'xyz'[axis]} {found.curl[spin, n, axis]:+.6f}  at k = ({where})",
        f"  curl and Kubo sum differ by up to {found.difference:.3g} (the part of r|u> outside the basis)",
        f"  the next level is {found.separation.min():.6f} eV away or more",
    ]
    lines += [f"Chern number {one.number:+d} by links, whose smallest singular value is {one.smallest:.3f}" for one in chern]
    sys.stdout.write("\n".join(lines) + "\n")


def conductivity(args: argparse.Namespace, subject: Subject) -> "LargeConductivity":
    """Optical conductivity from the levels near the Fermi energy, or by kernel polynomials.

    Raises
    ------
    UsageError
        If something else is asked for.
    """
    from deeph.runtime.errors import UsageError
    from postprocess.large.conductivity import kubo_conductivity, level_conductivity
    from postprocess.large.settings import ConductivitySettings
    from postprocess.response.light import Photons
    from postprocess.states.fermi import find_fermi_level

    if args.what != "conductivity":
        raise UsageError(f"{subject.data.n_orbitals} orbitals without dense matrices: expected --what conductivity, not {args.what}")
    if args.gap and args.method != "kpm":
        raise UsageError("--gap asks for the Hall conductivity by kernel polynomials: add --method kpm")
    if args.scissor or args.shape != "gaussian" or args.rounds:
        raise UsageError("--scissor, --shape and --rounds are for dense matrices (--method dense)")
    settings = ConductivitySettings(
        tuple(args.mesh) if args.mesh else None, Photons(args.photons[0], args.photons[1], args.energies), args.broadening,
        300.0 if args.temperature is None else args.temperature, args.vectors, bool(args.gap), args.gap or 0.1, args.positions,
        _options(args), jobs=subject.jobs, title=subject.title,
    )  # fmt: skip
    fermi = find_fermi_level(subject.data, args.fermi, needed=True, options=_options(args))
    if fermi is None:  # needed
        raise UsageError("the Fermi level is not known: give --fermi")
    return (kubo_conductivity if args.method == "kpm" else level_conductivity)(subject.data, fermi, settings)


def report_conductivity(args: argparse.Namespace, subject: Subject, found: "LargeConductivity") -> None:
    """Print it."""
    import numpy as np

    from deeph.physics.units import CONDUCTANCE

    mean = np.einsum("maa->m", found.sigma.real) / found.measure.dimension
    error = np.sqrt(np.einsum("maa->m", found.errors**2)) / found.measure.dimension
    record: dict[str, Any] = {
        "title": found.settings.title, "method": found.describe(), "positions": found.positions, "fermi_energy": found.fermi_energy,
        "fermi_origin": found.fermi_origin, "unit": found.unit, "energies": found.energies, "sigma": mean, "error": error,
        "hall": found.hall, "hall_error": found.hall_errors,
    }  # fmt: skip
    if args.json:
        sys.stdout.write(json.dumps(to_plain(record), indent=1) + "\n")
        return
    lines = [
        f"{found.settings.title}: {subject.data.system}, {subject.data.n_orbitals} orbitals, spin {subject.data.basis.spin}",
        f"positions    {found.positions}",
        f"Fermi level  {found.fermi_energy:.6f} eV ({found.fermi_origin})",
        f"conductivity {found.describe()}",
    ]
    bar = "" if not found.errors.any() else "  +- {:.3g} (random vectors)"
    shown = np.unique(np.linspace(0, len(mean) - 1, 7).astype(int))
    lines += [f"  {found.energies[n]:8.4f} eV  {mean[n]:.6g} {found.unit}" + bar.format(error[n]) for n in shown]
    if found.hall is not None and found.hall_errors is not None and len(found.hall) > 1:
        value, scatter = found.hall[0, 1], found.hall_errors[0, 1]
        quanta = f" = {value / CONDUCTANCE:+.4f} +- {scatter / CONDUCTANCE:.2g} e^2/h" * (found.measure.dimension == 2)
        lines.append(f"Hall         sigma_{''.join(found.measure.names[:2])} {value:+.6g} +- {scatter:.2g} {found.unit}{quanta}")
    sys.stdout.write("\n".join(lines) + "\n")
