"""What a Hamiltonian is made of: structures, bases, blocks between atoms, H(k), units and conventions. No torch, no files."""
