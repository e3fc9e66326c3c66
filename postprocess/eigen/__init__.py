"""Levels and states of the Bloch problem: dense, shift-invert on sparse factors, distributed."""
