"""The graph: knows Dagster, not data."""

import imp_data  # noqa: F401  # first: it tells pyarrow, before that is loaded, whom to ask for memory
