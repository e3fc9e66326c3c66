"""Topology of bands: Chern numbers, Wilson loops, Z2, mirror Chern numbers, Weyl points, polarisation, in the non-orthogonal basis."""
