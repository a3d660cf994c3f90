"""Learning algorithms as pure functions on tensors."""
