"""Hostile archives and images, made of their parts: what each is, and what must come of it."""
