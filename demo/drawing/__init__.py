"""Images drawn from facts, with a fixed seed each."""
