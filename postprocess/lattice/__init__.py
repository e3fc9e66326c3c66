"""What follows from the lattice alone: special points, paths, meshes, directions; nothing here knows a matrix."""
