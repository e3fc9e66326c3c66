"""Geometry and conductivity of large cells: a group of levels by linear solves, all levels by kernel polynomials."""
