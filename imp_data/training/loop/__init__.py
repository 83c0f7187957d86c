"""A training run: stages, steps, checkpoints, logs."""
