"""How the programs run: errors, messages, processes."""
