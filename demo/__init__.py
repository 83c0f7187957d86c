"""A small synthetic world of images and questions, drawn on the spot."""
