"""Hostile archives and images with their expected results."""
