"""What ``deeph-topology`` computes: one function for each quantity."""

from collections.abc import Callable

from postprocess.cli.topology_chern import find_chern, find_mirror, find_weyl, find_wilson
from postprocess.cli.topology_polarisation import find_born, find_polarisation
from postprocess.cli.topology_task import Found, Task
from postprocess.cli.topology_z2 import find_spin_orbit_transition, find_z2

FINDERS: dict[str, Callable[[Task], Found]] = {
    "z2": find_z2,
    "chern": find_chern,
    "wilson": find_wilson,
    "mirror": find_mirror,
    "weyl": find_weyl,
    "polarisation": find_polarisation,
    "born": find_born,
    "transition": find_spin_orbit_transition,
}
