"""Densities of states, Fermi levels, the kernel polynomial method."""
