"""Two Hamiltonians against each other: matrices and bands."""
