"""Near-duplicate images and conflicting answers in a built mixture."""
