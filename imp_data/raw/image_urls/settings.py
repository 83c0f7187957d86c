"""Limits of a run that downloads images by URL."""

from typing import NamedTuple

from imp_data import __version__

USER_AGENT = f"imp-data/{__version__} (builds training data for vision-language models)"


class FetchSettings(NamedTuple):
    """Limits on connections, time, bytes and attempts; and what a server's wishes count for.

    The defaults per host are those of a careful crawler: a browser opens 6 connections to a host.
    """

    connections: int = 64
    connections_per_host: int = 4
    requests_per_second_per_host: float = 4.0  # 0: no limit
    connect_seconds: float = 10.0
    read_seconds: float = 15.0
    """Longest silence of a server."""
    total_seconds: float = 60.0
    """Longest time of one attempt, redirects included, waits for a free connection excluded."""
    max_image_bytes: int = 64 << 20
    """Bytes of one image, before and after decompression."""
    max_total_bytes: int = 1 << 42
    """Bytes of all images of a run; then it ends, and the other URLs stay pending."""
    attempts: int = 3
    first_pause_seconds: float = 1.0
    """Pause before the second attempt; it doubles each time."""
    longest_pause_seconds: float = 60.0
    """A server that asks for a longer pause (Retry-After) is left to a later run."""
    failures_in_a_row: int = 10
    """Failures of a host, without an answer between, after which a run gives it up."""
    save_seconds: float = 10.0
    """Time between two writes of the status file."""
    obey_robots_tag: bool = True
    private_hosts: frozenset[str] = frozenset()
    """Names and addresses of hosts that may belong to this machine or its network."""
    user_agent: str = USER_AGENT
