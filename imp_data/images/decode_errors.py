"""Errors for bytes that do not decode to a usable image."""


class NoImage(Exception):
    """The bytes do not decode to an image; the message has the reason."""


class TooManyPixels(NoImage):
    """The image is larger than the limit."""


class TruncatedImage(NoImage):
    """The data end before the last pixel."""
