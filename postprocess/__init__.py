"""From Hamiltonians to bands and what follows from them."""
