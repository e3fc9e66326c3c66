"""Structures to train on and to predict: stacks of twisted layers, supercells, perturbations, defects, frames, and their DFT inputs."""
