"""Instruction-tuning data for vision-language models, with an account of every record."""

import os

# Arrow reads it when it is loaded. Its own pool would keep most of what a stage has freed.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__version__ = "0.1.0"
