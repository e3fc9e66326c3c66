"""Training: data, loss, loop, checkpoints."""
