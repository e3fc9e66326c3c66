"""What follows from the lattice: what is periodic, special points, paths, meshes, directions; of matrices only which blocks there are."""
