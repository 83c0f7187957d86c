"""Errors of one image in an archive or table, which leave the others unaffected."""


class DamagedMember(Exception):
    """The archive or table contains the image, but its bytes cannot be read."""


class TooManyBytes(Exception):
    """The image file is larger than the limit."""
