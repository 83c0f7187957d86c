"""Images: where they are, what they are, which of them are alike."""
