"""A mixture as training input: token ids, pixels, batches."""
