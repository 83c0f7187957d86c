"""A small synthetic world of pictures and questions, drawn on the spot."""
