"""Runs PySCF for ``deeph-pyscf``: settings, calculations, sets of perturbed structures."""
