"""Upstream files: downloaded, verified against checksums, extracted."""
