"""Images drawn from facts, each with a fixed seed."""
