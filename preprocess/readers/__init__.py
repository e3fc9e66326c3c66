"""Readers of raw DFT output, one file a code."""
