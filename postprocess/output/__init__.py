"""Figures and files."""
