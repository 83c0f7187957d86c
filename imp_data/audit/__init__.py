"""Audit a dataset without a manifest and without a build of one's own."""
