"""Questions, answers and captions that are true of a drawn image."""
