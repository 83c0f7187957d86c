"""Instruction-tuning data for vision-language models, with an account of every record."""

__version__ = "0.1.0"
