"""The training loop: stages, steps, checkpoints, logs."""
