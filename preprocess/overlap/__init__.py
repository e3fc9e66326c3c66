"""Overlaps and other two-centre integrals from basis files alone."""
