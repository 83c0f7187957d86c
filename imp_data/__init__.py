"""Build instruction-tuning data for vision-language models and account for every record."""

import os

# Arrow reads this on import. Its own pool would keep most of the memory that a stage frees.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__version__ = "0.1.0"
