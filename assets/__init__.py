"""The Dagster graph; the library does the work."""

import imp_data  # noqa: F401  # first: it selects pyarrow's memory pool before pyarrow loads
