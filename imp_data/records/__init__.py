"""Read upstream records as validated Samples, with a ledger row for each record."""
