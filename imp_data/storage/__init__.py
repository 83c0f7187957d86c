"""Files: where they lie, how they are written, checked and found unchanged."""
