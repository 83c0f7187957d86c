"""Records with planted faults, each with its expected outcome."""
