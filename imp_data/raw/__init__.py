"""Download upstream files, verify their checksums, extract archives."""
