"""Measure how many altered copies of images a matcher finds, and how many other images match."""
