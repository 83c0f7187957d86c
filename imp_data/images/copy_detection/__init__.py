"""Find altered copies of images: crops, frames, bars, flips, turns, overlays."""
