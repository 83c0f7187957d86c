"""A small synthetic copy of the upstream datasets, with images drawn on the spot."""
