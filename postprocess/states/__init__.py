"""Eigenstates: projections, charges, real space."""
