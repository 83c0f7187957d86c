"""Why bytes are no image that can be used."""


class NoImage(Exception):
    """These bytes do not become an image; says why."""


class TooManyPixels(NoImage):
    """They become one that is larger than the limit."""


class CutShort(NoImage):
    """They end before the last pixel of one."""
