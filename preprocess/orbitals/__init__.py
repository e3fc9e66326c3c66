"""The orbitals of an element from the basis files of every code: ``.pao``, ``.orb``, ``.ion`` and Gaussian sets."""
