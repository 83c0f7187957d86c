"""Few downloads from one host at a time, whichever thread or process makes them."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from imp_data.errors import UserError
from imp_data.raw import host_slots
from imp_data.raw.host_slots import downloads_per_host, hold_host_slot
from imp_data.raw.http_response import DownloadError

BIRDS = "https://ann:pw@birds.example:8080/a.zip"


@pytest.fixture(autouse=True)
def two_slots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(host_slots, "_POLL_SECONDS", 0.001)
    monkeypatch.setenv("IMP_DOWNLOADS_PER_HOST", "2")


def go_on() -> None:
    """Do not stop."""


def test_a_third_download_from_a_host_waits_and_another_host_does_not() -> None:
    begun = Event()

    def third() -> None:
        with hold_host_slot("http://birds.example:8080/c.zip", go_on):
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        with hold_host_slot(BIRDS, go_on), hold_host_slot(BIRDS, go_on):
            waiting = pool.submit(third)
            with hold_host_slot("https://other.example/a.zip", go_on):
                assert not begun.wait(0.05)
        waiting.result(10)
    assert begun.is_set()


def test_a_wait_ends_when_the_run_ends() -> None:
    def stop() -> None:
        raise DownloadError("is interrupted")

    with (
        hold_host_slot(BIRDS, go_on),
        hold_host_slot(BIRDS, go_on),
        pytest.raises(DownloadError, match="is interrupted"),
        hold_host_slot(BIRDS, stop),
    ):
        pass


def test_without_locks_there_is_no_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with hold_host_slot(BIRDS, go_on):
        assert "no limit per host, because locks fail" in capsys.readouterr().err


def test_the_limit_is_a_positive_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert downloads_per_host() == 2
    monkeypatch.delenv("IMP_DOWNLOADS_PER_HOST")
    assert downloads_per_host() == 4
    for text in ("0", "-1", "many"):
        monkeypatch.setenv("IMP_DOWNLOADS_PER_HOST", text)
        with pytest.raises(UserError, match=f"IMP_DOWNLOADS_PER_HOST: is '{text}'"):
            downloads_per_host()
