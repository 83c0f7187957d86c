"""Select the Samples of a source: text filters, image filters, then the quota."""
