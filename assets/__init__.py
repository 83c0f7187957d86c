"""The graph: knows Dagster, not data."""
