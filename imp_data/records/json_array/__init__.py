"""Records found in JSON files without parsing them, so that damage costs one record only."""
