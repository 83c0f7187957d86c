"""Which Samples of a source a mixture keeps: filters on text and images, then the quota."""
