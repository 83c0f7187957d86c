"""Locate images, decode and fingerprint them, and find the ones that are alike."""
