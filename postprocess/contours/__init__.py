"""Contours of constant energy and maps in a plane of k."""
