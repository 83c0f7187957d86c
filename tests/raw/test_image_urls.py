"""Images by URL: each row of a list ends with its image or with a reason, whatever servers do."""

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
from conftest import encoded, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from image_server import ImageServer, image_server

from imp_data.errors import UserError
from imp_data.raw.image_urls import address_check
from imp_data.raw.image_urls.fetch import Target, fetch_images
from imp_data.raw.image_urls.plan import plan_downloads
from imp_data.raw.image_urls.robots_tag import find_refusal
from imp_data.raw.image_urls.settings import FetchSettings
from imp_data.raw.image_urls.status import STATUS_FILE, UrlStatus, read_statuses, write_statuses
from imp_data.raw.image_urls.url_list import UrlColumns, UrlRow, read_url_list

SETTINGS = FetchSettings(
    connections_per_host=32,
    requests_per_second_per_host=0,
    connect_seconds=1.0,
    read_seconds=0.3,
    total_seconds=0.6,
    max_image_bytes=1 << 20,
    attempts=2,
    first_pause_seconds=0.01,
    longest_pause_seconds=1.0,
    failures_in_a_row=1000,
    private_hosts=frozenset({"127.0.0.1"}),
)
IMAGES = {f"{n}.jpg": encoded(photo(n), "JPEG") for n in range(4)}
IMAGES |= {"Grüße aus Köln.png": encoded(photo(7)), "cut.jpg": IMAGES["0.jpg"][:-300]}


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with image_server(IMAGES) as running:
        yield running


def fetched(
    folder: Path, rows: list[UrlRow], template: str | None = "{row}.jpg", **settings: Any
) -> list[UrlStatus]:
    target = Target(folder, folder / STATUS_FILE, "urls")
    return fetch_images("a list", rows, template, target, SETTINGS._replace(**settings))


def results(statuses: list[UrlStatus]) -> list[str]:
    return [one.reason or one.status for one in statuses]


# The path of each fault, its result, and whether a later run tries again.
FAULTS = {
    "drip": ("timeout", True),
    "silent": ("timeout", True),
    "endless": ("too_large", False),
    "huge": ("too_large", False),
    "bomb": ("too_large", False),
    "packed": ("ok", False),
    "packed/br": ("bad_encoding", False),
    "short": ("incomplete", True),
    "reset": ("connection", True),
    "status/404": ("gone", False),
    "status/410": ("gone", False),
    "status/401": ("denied", False),
    "status/403": ("denied", False),
    "status/451": ("denied", False),
    "status/418": ("http_error", False),
    "status/500": ("server_error", True),
    "busy/429/1/0": ("ok", False),
    "busy/503/1/0": ("ok", False),
    "busy/429/9/3600": ("rate_limited", True),
    "loop": ("redirects", False),
    "to?url=/1.jpg": ("ok", False),
    "to?url=http://127.0.0.2/1.jpg": ("refused_address", False),
    "to?url=http://10.0.0.1/1.jpg": ("refused_address", False),
    "to?url=//localhost/1.jpg": ("refused_address", False),
    "to?url=file:///etc/passwd": ("refused_scheme", False),
    "to?url=data:image/png;base64,AA": ("refused_scheme", False),
    "page/html": ("not_an_image", False),
    "page/json": ("not_an_image", False),
    "page/svg": ("not_an_image", False),
    "page/empty": ("empty", False),
    "robots/noai": ("noai", False),
    "robots/noindex, nofollow": ("noai", False),
    "robots/otherbot: noai": ("ok", False),
    "cut.jpg": ("ok", False),  # all its bytes came; the images stage finds that it is truncated
    "Grüße aus Köln.png": ("ok", False),
    "nothing-here.jpg": ("gone", False),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, ImageServer]]:
    """One run over all faults and two good images between them, and the server."""
    folder = tmp_path_factory.mktemp("faults")
    with image_server(IMAGES) as running:
        rows = [UrlRow(running.url(path)) for path in ["0.jpg", *FAULTS, "2.jpg"]]
        statuses = fetched(folder, rows)
        yield folder, dict(zip(["0.jpg", *FAULTS, "2.jpg"], statuses, strict=True)), running


@pytest.mark.parametrize("path", FAULTS)
def test_a_fault_ends_in_its_reason(path: str, run: tuple[Path, Any, ImageServer]) -> None:
    status = run[1][path]
    result, again = FAULTS[path]
    assert (status.reason or status.status, not status.permanent and result != "ok") == (
        result,
        again,
    )


def test_no_image_is_taken_for_another_and_no_temporary_file_stays(
    run: tuple[Path, Any, ImageServer],
) -> None:
    folder, statuses, _ = run
    found = {path.name: path.read_bytes() for path in folder.glob("[!.]*.jpg")}
    first = IMAGES["0.jpg"]
    expected = {"packed": first, "busy/429/1/0": first, "busy/503/1/0": first, "0.jpg": first}
    expected |= {"robots/otherbot: noai": first, "to?url=/1.jpg": IMAGES["1.jpg"]}
    expected |= {name: IMAGES[name] for name in ("cut.jpg", "Grüße aus Köln.png", "2.jpg")}
    assert found == {statuses[path].name: data for path, data in expected.items()}
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial")]


def test_the_status_tells_the_image_and_how_it_came(run: tuple[Path, Any, ImageServer]) -> None:
    folder, statuses, server = run
    data = IMAGES["1.jpg"]
    assert statuses["to?url=/1.jpg"] == UrlStatus(
        url=server.url("to?url=/1.jpg"),
        name="21.jpg",
        status="ok",
        http_status=200,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        final_url=server.url("1.jpg"),
        kind="jpeg",
        attempts=1,
    )
    assert statuses["page/html"].detail == "is an HTML page"
    assert list(read_statuses(folder / STATUS_FILE)) == list(statuses.values())


def test_the_agent_names_the_project(run: tuple[Path, Any, ImageServer]) -> None:
    (agent,) = run[2].agents
    assert agent.startswith("imp-data/")


REFUSED = {
    "file:///etc/passwd": "refused_scheme",
    "data:image/png;base64,AA": "refused_scheme",
    "ftp://example.org/1.jpg": "refused_scheme",
    "git+ssh://example.org/1.jpg": "refused_scheme",
    "http://10.1.2.3/1.jpg": "refused_address",
    "http://100.64.0.1/1.jpg": "refused_address",
    "http://169.254.169.254/latest/meta-data": "refused_address",
    "http://224.0.0.1/1.jpg": "refused_address",
    "http://[::1]/1.jpg": "refused_address",
    "http://[fd00::1]/1.jpg": "refused_address",
    "http://[fe80::1]/1.jpg": "refused_address",
    "http://[::ffff:127.0.0.1]/1.jpg": "refused_address",
    "http://2130706433/1.jpg": "refused_address",
    "http://0x7f.1/1.jpg": "refused_address",
    "http://LOCALHOST./1.jpg": "refused_address",
    "http://images.example\\@127.0.0.1/1.jpg": "bad_url",
    "http://127.0.0.%31/1.jpg": "bad_url",
    "http:/images.example/1.jpg": "bad_url",
    "http://images.example:99999/1.jpg": "bad_url",
    "images.example/1.jpg": "bad_url",
    "http://images.example/\r\nHost: other": "bad_url",
    "  ": "bad_row",
}


def test_an_address_that_is_not_of_the_web_is_refused_before_any_request(tmp_path: Path) -> None:
    rows = [UrlRow(url, problem="" if url.strip() else "has no URL") for url in REFUSED]
    statuses = fetched(tmp_path, rows, private_hosts=frozenset())
    assert dict(zip(REFUSED, results(statuses), strict=True)) == REFUSED
    assert {(one.attempts, one.permanent) for one in statuses} == {(0, True)}


def answer_names(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, str]) -> None:
    def getaddrinfo(host: str, port: int, *rest: Any) -> Any:
        if host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[host], port))]

    monkeypatch.setattr(address_check.socket, "getaddrinfo", getaddrinfo)


def test_a_name_is_refused_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ImageServer
) -> None:
    answer_names(monkeypatch, {"inside.example": "127.0.0.1", "meta.example": "169.254.169.254"})
    names = ["inside.example", "meta.example", "no.example"]
    rows = [UrlRow(f"http://{name}:{server.port}/0.jpg") for name in names]
    assert results(fetched(tmp_path, rows, attempts=1)) == [
        "refused_address",
        "refused_address",
        "dns",
    ]
    assert not server.requests
    # A person may name a host of the own network.
    statuses = fetched(tmp_path, rows[:1], private_hosts=frozenset({"inside.example"}))
    assert results(statuses) == ["ok"]


def test_a_socket_to_a_private_address_is_not_created_whatever_the_resolver_said() -> None:
    resolver = address_check.CheckedResolver(frozenset())
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.1.1", 80))
    with pytest.raises(address_check.RefusedAddressError, match=r"192\.168\.1\.1 is an address"):
        resolver.create_socket(info)


def test_a_url_of_two_rows_is_requested_once(tmp_path: Path, server: ImageServer) -> None:
    url = server.url("0.jpg")
    rows = [UrlRow(url, "a/x.jpg"), UrlRow(url, "b/y.jpg"), UrlRow(url, "a/x.jpg")]
    statuses = fetched(tmp_path, rows, None)
    assert [one.name for one in statuses] == ["a/x.jpg", "b/y.jpg", "a/x.jpg"]
    assert server.requests == {"0.jpg": 1}
    assert (tmp_path / "b" / "y.jpg").read_bytes() == IMAGES["0.jpg"]


def test_one_image_at_two_urls_is_two_images(tmp_path: Path, server: ImageServer) -> None:
    statuses = fetched(tmp_path, [UrlRow(server.url("0.jpg")), UrlRow(server.url("packed"))])
    assert statuses[0].sha256 == statuses[1].sha256
    assert {path.name for path in tmp_path.glob("*.jpg")} == {"0.jpg", "1.jpg"}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("x.jpg", "x.jpg"), "rows 0 and 1 have the name x.jpg and two URLs"),
        (("x.jpg", "X.jpg"), "rows 0 and 1 have the name X.jpg and two URLs"),
        (("x", "x/y.jpg"), "x/y.jpg of row 1 is below x, which is a file"),
    ],
)
def test_a_name_of_two_urls_is_an_error_before_any_request(
    names: tuple[str, str], problem: str, tmp_path: Path, server: ImageServer
) -> None:
    rows = [UrlRow(server.url(f"{n}.jpg"), name) for n, name in enumerate(names)]
    with pytest.raises(UserError, match=problem):
        fetched(tmp_path, rows, None)
    assert not server.requests


def test_a_bad_name_costs_its_row(tmp_path: Path, server: ImageServer) -> None:
    names = ["../x.jpg", "/x.jpg", ".x.jpg", "a//b.jpg", None, "good.jpg"]
    rows = [UrlRow(server.url("0.jpg"), name) for name in names]
    assert results(fetched(tmp_path, rows, None)) == [*["bad_name"] * 5, "ok"]


def test_content_of_another_sha256_is_refused(tmp_path: Path, server: ImageServer) -> None:
    right, wrong = hashlib.sha256(IMAGES["0.jpg"]).hexdigest(), "0" * 64
    rows = [UrlRow(server.url("0.jpg"), sha256=sha256) for sha256 in (wrong, right, "no hash")]
    statuses = fetched(tmp_path, rows)
    assert results(statuses) == ["wrong_sha256", "ok", "bad_row"]
    assert statuses[0].detail == f"the list states {wrong}"
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["1.jpg"]


def test_the_ending_of_a_name_is_that_of_the_content(tmp_path: Path, server: ImageServer) -> None:
    rows = [UrlRow(server.url(path)) for path in ("0.jpg", "Grüße aus Köln.png", "page/html")]
    statuses = fetched(tmp_path, rows, "{row}.{ext}")
    assert [one.name for one in statuses] == ["0.jpg", "1.png", None]
    server.requests.clear()
    assert fetched(tmp_path, rows, "{row}.{ext}") == statuses
    assert not server.requests


def test_a_later_run_requests_only_what_may_work(tmp_path: Path, server: ImageServer) -> None:
    paths = ["0.jpg", "1.jpg", "status/404", "page/html", "status/500", "busy/503/2/0"]
    rows = [UrlRow(server.url(path)) for path in paths]
    assert results(fetched(tmp_path, rows))[-2:] == ["server_error", "server_error"]
    (tmp_path / "1.jpg").unlink()
    server.requests.clear()
    server.requests["busy/503/2/0"] = 2
    statuses = fetched(tmp_path, rows)
    assert server.requests == {"1.jpg": 1, "status/500": 2, "busy/503/2/0": 3}
    assert results(statuses) == ["ok", "ok", "gone", "not_an_image", "server_error", "ok"]
    assert [one.attempts for one in statuses] == [1, 2, 1, 1, 4, 3]


def test_changed_settings_make_a_permanent_failure_pass(
    tmp_path: Path, server: ImageServer
) -> None:
    rows = [UrlRow(server.url(path)) for path in ("robots/noai", "0.jpg")]
    assert results(fetched(tmp_path, rows, max_image_bytes=100)) == ["noai", "too_large"]
    assert results(fetched(tmp_path, rows, max_image_bytes=100)) == ["noai", "too_large"]
    assert server.requests == {"robots/noai": 1, "0.jpg": 1}
    assert results(fetched(tmp_path, rows, obey_robots_tag=False)) == ["ok", "ok"]


def test_a_host_that_keeps_failing_is_given_up_for_this_run(
    tmp_path: Path, server: ImageServer
) -> None:
    rows = [UrlRow(server.url(f"status/500?{n}")) for n in range(20)]
    statuses = fetched(tmp_path, rows, connections_per_host=1, failures_in_a_row=5, attempts=1)
    assert results(statuses) == ["server_error"] * 5 + ["host_given_up"] * 15
    assert not any(one.permanent for one in statuses)
    assert sum(server.requests.values()) == 5


def test_a_host_is_asked_by_few_connections_at_a_time(tmp_path: Path, server: ImageServer) -> None:
    rows = [UrlRow(server.url(f"silent?{n}")) for n in range(6)]
    fetched(tmp_path, rows, connections_per_host=2, attempts=1, read_seconds=0.05)
    assert server.most_open == 2


def test_a_run_stops_at_its_total_limit_and_the_next_one_goes_on(
    tmp_path: Path, server: ImageServer
) -> None:
    rows = [UrlRow(server.url(f"{n}.jpg")) for n in range(4)]
    assert results(fetched(tmp_path, rows, max_total_bytes=1, connections=1)) == [
        "ok",
        *["pending"] * 3,
    ]
    assert results(fetched(tmp_path, rows)) == ["ok"] * 4
    assert set(server.requests.values()) == {1}


KILLED = """
import sys
from pathlib import Path
from imp_data.raw.image_urls.fetch import FetchSettings, Target, UrlRow, fetch_images
folder, port = Path(sys.argv[1]), sys.argv[2]
paths = ["0.jpg", "1.jpg", *(f"silent?{n}" for n in range(40))]
rows = [UrlRow(f"http://127.0.0.1:{port}/{path}") for path in paths]
here = frozenset({"127.0.0.1"})
slow = FetchSettings(requests_per_second_per_host=0, save_seconds=0.1, private_hosts=here)
fetch_images("a list", rows, "{row}.jpg", Target(folder, folder / "url_status.parquet", ""), slow)
"""


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_a_killed_run_resumes(signal: str, tmp_path: Path, server: ImageServer) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(server.port)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as killed:
        status = tmp_path / STATUS_FILE
        while not (status.exists() and results(list(read_statuses(status)))[:2] == ["ok"] * 2):
            assert killed.poll() is None
            time.sleep(0.05)
        killed.send_signal(Signals[signal])
    assert killed.returncode != 0
    server.requests.clear()
    rows = [UrlRow(server.url(path)) for path in ("0.jpg", "1.jpg", "2.jpg")]
    assert results(fetched(tmp_path, rows)) == ["ok"] * 3
    assert server.requests == {"2.jpg": 1}
    assert not list(tmp_path.glob(".*.partial"))


def test_a_full_disk_is_an_error_of_the_user_not_of_the_server(
    tmp_path: Path, server: ImageServer
) -> None:
    (tmp_path / "a").write_bytes(b"a file where a folder is to be")
    with pytest.raises(UserError, match=r"a/x\.jpg: cannot be written"):
        fetched(tmp_path, [UrlRow(server.url("0.jpg"), "a/x.jpg")], None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "link,n\nhttp://a/1,x.jpg\n,y.jpg\n"),
        ("l.tsv", "link\tn\nhttp://a/1\tx.jpg\n\ty.jpg\n"),
        ("l.jsonl", '{"link": "http://a/1", "n": "x.jpg"}\n{"link": null, "n": "y.jpg"}\n'),
    ],
)
def test_a_list_is_read_by_its_columns(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    first, second = read_url_list(path, UrlColumns("link", "n"))
    assert first == UrlRow("http://a/1", "x.jpg")
    assert (second.name, second.problem) == ("y.jpg", "has no URL")


def test_a_parquet_list_a_text_list_and_damaged_lines(tmp_path: Path) -> None:
    import polars as pl

    pl.DataFrame({"link": ["http://a/1", None], "n": [1, 2]}).write_parquet(tmp_path / "l.parquet")
    rows = read_url_list(tmp_path / "l.parquet", UrlColumns("link"))
    assert rows == [UrlRow("http://a/1"), UrlRow(None, problem="has no URL")]
    with pytest.raises(UserError, match="has no column url; its columns are link, n"):
        read_url_list(tmp_path / "l.parquet", UrlColumns())
    (tmp_path / "l.txt").write_text("http://a/1\n\n  http://a/2  \n", encoding="utf-8")
    assert read_url_list(tmp_path / "l.txt", UrlColumns()) == [
        UrlRow("http://a/1"),
        UrlRow("http://a/2"),
    ]
    (tmp_path / "l.jsonl").write_text('{"url": \n[1]\n{"url": 5}\n', encoding="utf-8")
    problems = [row.problem for row in read_url_list(tmp_path / "l.jsonl", UrlColumns())]
    assert problems[0].startswith("is not JSON")
    assert problems[1:] == ["is not a JSON object", "url is not text"]


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ((), None),
        (("all",), None),
        (("nofollow, NoAI",), "noai"),
        (("noimageindex",), "noimageindex"),
        (("otherbot: noai, noindex",), None),
        (("otherbot: noai", "noindex"), "noindex"),
        (("imp-data: noai",), "noai"),
        (("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex",), "noindex"),
    ],
)
def test_a_robots_tag_counts_if_it_is_for_all_or_for_us(
    values: tuple[str, ...], refusal: str | None
) -> None:
    assert find_refusal(values) == refusal


URLS = st.sampled_from(["http://a/1", "http://a/2", "http://b/1", "file:///x", None])
EARLIER = st.builds(
    UrlStatus,
    url=URLS,
    name=st.sampled_from(["0.jpg", "1.jpg", "2.jpg"]),
    status=st.sampled_from(["ok", "failed", "pending"]),
    reason=st.sampled_from(["gone", "timeout", "noai"]),
    bytes=st.just(5),
    kind=st.just("jpeg"),
    permanent=st.booleans(),
)


@settings(max_examples=50)
@given(st.lists(URLS, max_size=8), st.lists(EARLIER, max_size=8), st.booleans())
def test_each_row_is_decided_or_planned_once(
    urls: list[str | None], earlier: list[UrlStatus], on_disk: bool
) -> None:
    rows = [UrlRow(url, problem="" if url else "has no URL") for url in urls]
    sizes = {f"{n}.jpg": 5 for n in range(8)} if on_disk else {}
    plan = plan_downloads("a list", rows, "{row}.jpg", earlier, sizes, SETTINGS)
    planned = sorted(one.row for download in plan.downloads for one in download.rows)
    pending = [n for n, status in enumerate(plan.statuses) if status.status == "pending"]
    assert planned == pending
    assert [status.url for status in plan.statuses] == urls
    assert len({download.url for download in plan.downloads}) == len(plan.downloads)


def test_equal_statuses_give_equal_bytes(tmp_path: Path) -> None:
    rows = [UrlStatus("http://a/1", "x.jpg"), UrlStatus(None, None, "failed", "bad_row")]
    for name in ("a", "b"):
        write_statuses(tmp_path / name, rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(read_statuses(tmp_path / "a")) == rows
    import polars as pl

    assert pl.read_parquet(tmp_path / "a").height == 2
