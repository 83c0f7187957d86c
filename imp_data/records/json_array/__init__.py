"""Locate the records of JSON files without parsing the file, so that damage costs one record."""
