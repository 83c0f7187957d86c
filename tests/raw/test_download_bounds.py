"""Limits on the speed, duration and size of a download, and on the targets of redirects."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from scripted_server import scripted
from trials.downloads import FAULTS, endless, failure, led, said

from imp_data.errors import UserError
from imp_data.manifests import File
from imp_data.raw import download, minimum_speed, redirects, transfer
from imp_data.raw.fetch import obtain
from imp_data.raw.http_response import DownloadError, RetryableError
from imp_data.raw.minimum_speed import SpeedMonitor
from imp_data.raw.redirects import is_private, open_response
from tests.raw.test_fetch import BIRDS, DIGEST, Upstream, birds, names, pauses, stated, upstream

__all__ = ["pauses", "upstream"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_faulty_server_yields_the_right_bytes_or_an_error(fault: Any, tmp_path: Path) -> None:
    """Test the manifest that states least; benchmarks/hardening.py tests all variants."""
    assert failure(fault, fault.stated[-1], tmp_path) is None


class Clock:
    """A clock that tests advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(minimum_speed, "clock", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_minute_with_fewer_than_1024_bytes_a_second_ends_an_attempt(clock: Clock) -> None:
    speed = SpeedMonitor()
    speed.count_request()
    clock.now += 59
    speed.count_bytes(61_439)
    clock.now += 1
    with pytest.raises(RetryableError, match="only 61,439 bytes in 60 s") as again:
        speed.count_bytes(0)
    assert again.value.fruitless


def test_each_minute_is_measured_separately(clock: Clock) -> None:
    speed = SpeedMonitor()
    speed.count_request()
    clock.now += 60
    speed.count_bytes(10_000_000)
    clock.now += 60
    with pytest.raises(RetryableError, match="only 5 bytes in 60 s"):
        speed.count_bytes(5)


def test_a_pause_between_attempts_does_not_count_as_slow(clock: Clock) -> None:
    speed = SpeedMonitor()
    speed.count_request()
    clock.now += 300
    speed.count_request()
    clock.now += 1
    speed.count_bytes(1)


def test_after_a_hundred_requests_each_must_bring_64_kib() -> None:
    speed = SpeedMonitor()
    for _ in range(100):
        speed.count_request()
        speed.count_bytes(1)
    with pytest.raises(DownloadError, match="sends 100 bytes in 100 requests"):
        speed.count_request()
    speed.count_bytes(100 * 64 * 1024)
    speed.count_request()


def test_a_server_below_the_minimum_speed_is_abandoned(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minimum_speed, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr(minimum_speed, "LOWEST_BYTES_PER_SECOND", 1e12)
    with scripted(said(body=BIRDS, ETag='"1"')) as server:
        with pytest.raises(UserError, match=r"fails again and again: only [\d,]+ bytes in 0 s"):
            obtain(birds(File(path="birds.bin", url=f"{server.url}/birds.bin")), tmp_path)
        assert len(server.asked) == 6
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_endless_headers_time_out(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirects, "HEADERS_SECONDS", 0.05)

    def drips(request: Any) -> Any:
        yield b"HTTP/1.1 200 OK\r\nX: "
        while True:
            yield b"x" * 9

    with scripted(drips) as server:
        file = File(path="birds.bin", url=f"{server.url}/birds.bin")
        with pytest.raises(UserError, match="fails again and again"):
            obtain(birds(file), tmp_path)


def test_no_more_bytes_are_written_than_the_manifest_states(
    tmp_path: Path, pauses: list[float]
) -> None:
    with scripted(endless(chunked=True)) as server:
        file = File(path="birds.bin", url=f"{server.url}/x", bytes=70_000)
        with pytest.raises(UserError, match="sends more than the 70,000 bytes"):
            obtain(birds(file), tmp_path)
    assert names(tmp_path) == []


def test_a_file_of_unknown_size_is_limited_by_max_bytes(
    tmp_path: Path, pauses: list[float]
) -> None:
    assert File(path="x", url="http://h/x").max_bytes == 64 << 30
    with scripted(endless(chunked=True)) as server:
        file = File(path="birds.bin", url=f"{server.url}/x", max_bytes=100_000)
        with pytest.raises(UserError, match="sends more than the 100,000 allowed"):
            obtain(birds(file), tmp_path)
    assert names(tmp_path) == []


def test_a_file_of_unknown_size_leaves_free_space_on_the_disk(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_DISK_CHECK_INTERVAL_BYTES", 100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**9))
    with scripted(endless(chunked=True)) as server:
        file = File(path="birds.bin", url=f"{server.url}/x")
        with pytest.raises(UserError, match="leaves 1,000,000,000 bytes free, fewer than"):
            obtain(birds(file), tmp_path)


def test_files_that_do_not_fit_together_are_not_downloaded(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.files["/two.bin"] = BIRDS
    files = (stated(upstream), stated(upstream, "two.bin"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=511_999))
    with pytest.raises(UserError, match="needs 512,000 bytes for 2 files, 511,999 are free"):
        obtain(birds(*files), tmp_path)
    (tmp_path / ".two.bin.part").write_bytes(BIRDS[:1])
    assert obtain(birds(*files), tmp_path) == {"birds.bin": DIGEST, "two.bin": DIGEST}


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "127.1", "0x7f000001", "2130706433"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd12::1", "ff02::1", "::ffff:10.0.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::"),
    ],
)
def test_a_local_address_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "198.18.3.4", "64:ff9b::808:808", "cdn.org"],
)
def test_a_public_address_or_a_host_name_is_not_private(address: str) -> None:
    assert not is_private(address)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve every name that ends in .example to this machine."""
    resolve = socket.getaddrinfo

    def at_home(host: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return resolve("127.0.0.1" if name.endswith(".example") else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", at_home)
    monkeypatch.setenv("NO_PROXY", "*")


def test_a_redirect_to_a_name_of_this_machine_is_refused_before_the_request(
    resolved: None, tmp_path: Path, pauses: list[float]
) -> None:
    with scripted(said(body=BIRDS)) as inside, scripted(led("")) as outside:
        target = f"http://cdn.example:{inside.port}/x"
        outside._answers = [led(target)]
        file = File(path="birds.bin", url=f"{outside.url}/birds.bin", sha256=DIGEST)
        with pytest.raises(UserError) as error:
            obtain(birds(file), tmp_path)
        assert "redirects to cdn.example (127.0.0.1), an address of this machine" in str(
            error.value
        )
        assert inside.asked == []
        # A manifest that names the host, here for another file, allows it.
        other = File(path="other.bin", by_hand="Ask.", url=target)
        assert obtain(birds(file, other), tmp_path)["birds.bin"] == DIGEST


def test_a_manifest_may_name_a_private_host(
    resolved: None, tmp_path: Path, pauses: list[float]
) -> None:
    with scripted(said(body=BIRDS)) as inside:
        file = File(path="birds.bin", url=f"http://lab.example:{inside.port}/x")
        assert obtain(birds(file), tmp_path) == {"birds.bin": DIGEST}
        (tmp_path / "birds.bin").unlink()
        mirror = [f"http://lab.example:{inside.port}"]
        file = File(path="birds.bin", by_hand="Ask.")
        assert obtain(birds(file), tmp_path, mirror) == {"birds.bin": DIGEST}


def test_a_proxy_resolves_names_itself(
    resolved: None, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(led("http://cdn.example/x"), said(body=BIRDS)) as proxy:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        file = File(path="birds.bin", url="http://far.example/x")
        assert obtain(birds(file), tmp_path) == {"birds.bin": DIGEST}
        assert [one.path for one in proxy.asked] == ["http://far.example/x", "http://cdn.example/x"]


def test_a_redirect_from_https_to_http_is_refused() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"Location": "http://cdn.org/x"})

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        pytest.raises(DownloadError, match=r"redirects from https to http, at cdn\.org"),
        open_response(client, "https://host.org/x", {}, ()),
    ):
        pass
    assert asked == ["https://host.org/x"]


def test_credentials_do_not_follow_a_redirect_to_another_host() -> None:
    sent = {}

    def answer(request: httpx.Request) -> httpx.Response:
        sent[request.url.host] = request.headers.get("Authorization")
        if request.url.host == "host.org":
            return httpx.Response(302, headers={"Location": "https://cdn.org/x"})
        return httpx.Response(200)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        open_response(client, "https://ann:pw@host.org/x", {}, ()) as response,
    ):
        assert response.status_code == 200
    assert sent == {"host.org": "Basic YW5uOnB3", "cdn.org": None}


def test_the_limits_are_those_in_the_documentation() -> None:
    assert download._TIMEOUT.read == 60
    assert (minimum_speed.WINDOW_SECONDS, minimum_speed.LOWEST_BYTES_PER_SECOND) == (60, 1024)
    assert (redirects.HEADERS_SECONDS, redirects._MAX_REDIRECTS) == (60, 10)
    assert transfer._RESERVED_BYTES == 1 << 30
