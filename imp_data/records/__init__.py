"""Upstream records as validated Samples, with a ledger row for every record."""
