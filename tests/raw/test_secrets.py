"""No credentials appear in messages, logs, events or files."""

import ast
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import Answer, ScriptedServer, scripted
from trials.downloads import led, raw, said

from assets.factory import _without_traceback
from imp_data.errors import UserError
from imp_data.manifests.lockfile import LockFiles
from imp_data.parallel.error_json import decode_error, encode_error
from imp_data.pipeline.build import Build
from imp_data.pipeline.required_inputs import check_inputs
from imp_data.raw import retries
from imp_data.raw.fetch import fetch_files
from imp_data.redaction import address, redact, redact_logs
from imp_data.storage.paths import parse_path
from tests.assets.test_graph import RECORDS, SOURCE, World

CONTENT = json.dumps(RECORDS).encode()
NO_TELEMETRY = {"telemetry": {"enabled": False}}
# One for each place at which a user may write one; none is a word, so that each find is a leak.
SECRETS = {
    "user": "usr3f9a1c",
    "password": "pw7be02d41",
    "signature": "5ig" + "0af3" * 16,
    "mirror": "mir8c41aa72",
    "sas": "sas%2B91xq73",
    "redirect": "red55ab01ce9",
    "proxy": "prx6e20d8b4",
    "data": "dat93bb27fe",
    "token": "hf_Zq81LmT07xYw52PnAkRd",
    "key": "k3yWn/82+vQzL10sYx4Tb6",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:pw@host/x.zip fails", "https://***@host/x.zip fails"),
        ("https://token@host/x.zip", "https://***@host/x.zip"),
        ("https://ann:p@w@host:80/x", "https://***@host:80/x"),
        ("https://ann:p/w@host/x", "https://***@host/x"),
        ("s3://key:secret@bucket/data", "s3://***@bucket/data"),
        ("http://a:b@one,http://c:d@two", "http://***@one,http://***@two"),
        ("https://h/x?X-Amz-Signature=abc&part=2", "https://h/x?X-Amz-Signature=***&part=2"),
        ("https://h/x?sv=2024&sig=abc", "https://h/x?sv=2024&sig=***"),
        ("https://h/x?opaque=0123456789abcdef", "https://h/x?opaque=***"),
        ("https://h/x?0123456789abcdef", "https://h/x?***"),
        ("https://h/x#access_token=abc", "https://h/x#access_token=***"),
        ("to <https://h/a?key=1>: no", "to <https://h/a?key=***>: no"),
        ("https://h/?to=https%3A%2F%2Fa%3Ab%40c%2F", "https://h/?to=***"),
        ("Authorization: Basic YW5uOnB3", "Authorization: ***"),
        ("Bearer abcdefgh12345", "***"),
        ("hf_abcdefghij0123456789 is no token", "*** is no token"),
    ],
)
def test_credentials_are_hidden_in_any_text(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Register at https://rrc.cvc.uab.es/?ch=17&com=downloads (free)",
        "https://host:8080/a@b.zip has 7 bytes",
        "image a:b@2x.jpg, 12:30, file ~/x?.json #3",
        "https://huggingface.co/datasets/a/b/resolve/main/x.zip?download=true",
        "memory:///tmp/a/b.json",
    ],
)
def test_text_without_credentials_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_a_stored_address_hides_the_whole_query() -> None:
    assert address("https://ann:pw@host/x.zip?id=7#top") == "https://***@host/x.zip?***"
    assert address("https://host/x.zip") == "https://host/x.zip"


WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-._~%+!$", min_size=6, max_size=40)


@given(WORDS, WORDS, WORDS, st.sampled_from(["token", "X-Amz-Signature", "sig", "api_key"]))
def test_no_user_password_or_signed_value_is_ever_shown(
    user: str, password: str, value: str, name: str
) -> None:
    text = f"GET https://{user}:{password}@host.example/data.zip?{name}={value} failed"
    assert redact(text) == f"GET https://***@host.example/data.zip?{name}=*** failed"
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "any-token-at-all", "any-token-at-all"),
        ("AWS_SECRET_ACCESS_KEY", "a/b+c/d+e", "a/b+c/d+e"),
        ("AWS_SECRET_ACCESS_KEY", "a/b+c/d+e", "a%2Fb%2Bc%2Fd%2Be"),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=2345", "sv=1&sig=2345"),
        ("HTTPS_PROXY", "http://ann:pr0xy%40pw@proxy:3128", "pr0xy@pw"),
        ("https_proxy", "ann:pr0xypw@proxy:3128", "pr0xypw"),
        ("IMP_DATA_MIRROR", "https://a, ann:m1rror@lab/x", "m1rror"),
    ],
)
def test_secrets_of_the_environment_are_hidden_in_any_text(
    name: str, value: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert redact(f"cannot use {secret}!") == "cannot use ***!"


def test_environment_variables_without_secrets_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "disabled")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/home/ann/.aws/credentials")
    monkeypatch.setenv("SHORT_TOKEN", "data")
    text = "disabled: /home/ann/.aws/credentials of the data"
    assert redact(text) == text


def test_an_error_hides_credentials_also_after_pickling() -> None:
    url = "https://ann:pw@host/x?token=abc"
    error = decode_error(encode_error(UserError(url, f"{url} fails", f"see {url}")))
    assert isinstance(error, UserError)
    shown = "https://***@host/x?token=***"
    assert (error.where, error.problem, error.remedy) == (shown, f"{shown} fails", f"see {shown}")
    assert str(error) == f"{shown}: {shown} fails\n  What to do: see {shown}"


def test_log_records_of_libraries_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    redact_logs()
    logger = logging.getLogger("httpx")
    with caplog.at_level(logging.INFO):
        logger.info("HTTP Request: GET %s %d", httpx.URL("https://ann:pw@host/x?sig=abc"), 200)
        try:
            raise ValueError("https://ann:pw@host/")
        except ValueError:
            logger.exception("failed")
    assert "HTTP Request: GET https://***@host/x?sig=*** 200" in caplog.text
    assert "ValueError: https://***@host/" in caplog.text
    assert "pw" not in caplog.text


def test_a_traceback_that_ends_the_command_is_redacted() -> None:
    script = "from imp_data.redaction import redact_output; redact_output(); raise ValueError('http://ann:pw@host/x')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: http://***@host/x\n")


def test_an_unexpected_exception_reaches_dagster_redacted() -> None:
    def fails() -> Any:
        try:
            raise OSError("https://ann:pw@host/x")
        except OSError as error:
            raise ValueError("it failed") from error

    with pytest.raises(dg.Failure) as failure:
        _without_traceback(fails)()
    assert "OSError: https://***@host/x" in (failure.value.description or "")
    assert failure.value.__suppress_context__ and failure.value.__cause__ is None


SIGNED = f"/store/x?X-Amz-Signature={SECRETS['redirect']}"
FOLLOWED = defaultdict[str, Answer](
    lambda: led(f"http://127.0.0.1:{{port}}{SIGNED}"), {SIGNED: said(body=CONTENT)}
)


def unredacted(source: str) -> list[str]:
    """Return the calls of a module that print to stderr without redaction."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func) == "print"
        and any(ast.unparse(keyword.value) == "sys.stderr" for keyword in call.keywords)
        and not isinstance(call.args[0], ast.Constant)
        and not ast.unparse(call.args[0]).startswith("redact(")
    ]


# Names, figures, and an error that has redacted itself: nothing of an address.
HARMLESS = {
    "print(f\"not part of this mixture, ignored: {', '.join(foreign)}\", file=sys.stderr)",
    "print(f'{len(found):,} within {max_distance} bits', file=sys.stderr)",
    "print(f'imp-data: {error}', file=sys.stderr)",
}


@pytest.mark.parametrize("package", ["imp_data", "assets"])
def test_no_module_prints_a_path_or_an_address_unredacted(package: str) -> None:
    modules = (Path(__file__).parents[2] / package).rglob("*.py")
    found = [line for path in modules for line in unredacted(path.read_text(encoding="utf-8"))]
    assert set(found) <= HARMLESS
    assert unredacted("print(path, file=sys.stderr)") == ["print(path, file=sys.stderr)"]


# Outcomes of a download, with the responses of the mirror and of the server.
OUTCOMES: dict[str, tuple[Answer, Answer]] = {
    "it succeeds": (said(404, b""), said(body=CONTENT)),
    "the mirror has it": (said(body=CONTENT), said(404, b"")),
    "it is not there": (said(404, b""), said(404, b"")),
    "the server is down": (raw(), raw()),
    "it is a web page": (said(404, b""), said(body=b"<html>", Content_Type="text/html")),
    "it is another file": (said(404, b""), said(body=CONTENT[::-1], ETag='"1"')),
    "a redirect leads inside": (
        said(404, b""),
        led(f"http://{SECRETS['user']}:{SECRETS['redirect']}@localhost/x?token={SECRETS['sas']}"),
    ),
    "a redirect leads nowhere": (said(404, b""), led(f"http://a:{SECRETS['redirect']}/x@h/")),
    "a redirect has another protocol": (
        said(404, b""),
        led(f"ftp://a:{SECRETS['redirect']}@h/?sig={SECRETS['signature']}"),
    ),
    "a redirect is followed": (said(404, b""), lambda request: FOLLOWED[request.path](request)),
}

# `make test` runs these; the others take a Dagster job each.
_FIRST = ("it succeeds", "it is not there", "a redirect is followed")


@pytest.fixture
def secretive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Secrets in the environment; httpx, httpcore and botocore log all they can."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("IMP_WORKERS", "1")
    monkeypatch.setenv("IMP_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("HF_TOKEN", SECRETS["token"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["key"])
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield monkeypatch
    root.removeHandler(handler)
    root.setLevel(before)


def signed(server: ScriptedServer) -> str:
    user, password, signature = (SECRETS[n] for n in ("user", "password", "signature"))
    host = server.url.removeprefix("http://")
    return f"http://{user}:{password}@{host}/chats.json?X-Amz-Signature={signature}&part=1"


def mirrored(server: ScriptedServer) -> str:
    host = server.url.removeprefix("http://")
    return f"http://{SECRETS['user']}:{SECRETS['mirror']}@{host}/lab?sig={SECRETS['sas']}"


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return each secret in a text or a file below the folder, except manifests, with its place."""
    contents = {"printed": "\n".join(texts).encode()}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".yaml":
            contents[str(path.relative_to(folder))] = path.read_bytes()
    assert len(contents) > 1
    return [
        f"{name} in {place}"
        for name, secret in SECRETS.items()
        for place, content in contents.items()
        if secret.encode() in content
    ]


@cache
def empty_instance() -> TemporaryDirectory[str]:
    """Return a folder of Dagster's databases without rows: to create them takes long."""
    folder = TemporaryDirectory()
    with dg.DagsterInstance.local_temp(folder.name, NO_TELEMETRY) as instance:
        assert instance.get_runs() == []
    return folder


def run_job(world: World, folder: Path) -> bool:
    """Run the whole job of the mixture with Dagster's databases and logs in a folder."""
    shutil.copytree(empty_instance().name, folder, dirs_exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder), NO_TELEMETRY) as instance:
        job = world.defs().resolve_job_def("curate")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        events = instance.all_logs(result.run_id)
    assert len(events) > 10
    return result.success


@pytest.mark.parametrize(
    "outcome",
    [pytest.param(o, marks=() if o in _FIRST else pytest.mark.slow) for o in OUTCOMES],
)
def test_a_download_leaves_no_secret(
    outcome: str,
    tmp_path: Path,
    secretive: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    world = World(tmp_path)
    (world.data.raw("chats") / "chats.json").unlink()
    at_mirror, upstream = OUTCOMES[outcome]
    with scripted(at_mirror) as mirror, scripted(upstream) as server:
        file: dict[str, Any] = {"path": "chats.json", "url": signed(server)}
        if outcome == "it is another file":
            file["sha256"] = hashlib.sha256(CONTENT).hexdigest()
        page = f"https://ann:{SECRETS['password']}@example.org/"
        world.write("sources/chats", {**SOURCE, "files": [file], "homepage": page})
        secretive.setenv("IMP_DATA_MIRROR", mirrored(mirror))
        came = outcome in ("it succeeds", "the mirror has it", "a redirect is followed")
        assert run_job(world, tmp_path / "dagster") is came
        looked_at = f"/lab/chats/chats.json?sig={SECRETS['sas']}"
        assert mirror.asked[-1].path == ("/" if outcome == "the server is down" else looked_at)
        assert mirror.asked[-1].headers["authorization"].startswith("Basic ")
    printed = capfd.readouterr()
    assert leaks(tmp_path, printed.out, printed.err) == []
    lock = tmp_path / "manifests" / "sources" / "chats.lock"
    assert lock.exists() is came
    if came:
        asked = mirror if outcome == "the mirror has it" else server
        path = "/lab/chats/chats.json" if asked is mirror else "/chats.json"
        shown = f"http://***@127.0.0.1:{asked.port}{path}?***"
        assert json.loads(lock.read_text())["address"] == shown


def test_a_proxy_leaves_no_secret(
    tmp_path: Path, secretive: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    (world.data.raw("chats") / "chats.json").unlink()
    with scripted(said(407, b"")) as proxy:
        address = f"http://ann:{SECRETS['proxy']}@127.0.0.1:{proxy.port}"
        secretive.setenv("HTTP_PROXY", address)
        secretive.setenv("NO_PROXY", "none.example")
        file = {"path": "chats.json", "url": f"http://a:{SECRETS['password']}@far.example/x"}
        world.write("sources/chats", {**SOURCE, "files": [file]})
        assert not run_job(world, tmp_path / "dagster")
        assert proxy.asked[-1].headers["proxy-authorization"].startswith("Basic ")
    printed = capfd.readouterr()
    assert "answers HTTP 407" in printed.err + printed.out
    assert leaks(tmp_path, printed.out, printed.err) == []


@pytest.mark.parametrize("scheme", ["socks9", "ann"])
def test_an_invalid_proxy_is_one_error_without_its_password(
    scheme: str, tmp_path: Path, secretive: pytest.MonkeyPatch
) -> None:
    secretive.setenv("ALL_PROXY", f"{scheme}://ann:{SECRETS['proxy']}@proxy:3128")
    secretive.delenv("NO_PROXY")
    world = World(tmp_path)
    (world.data.raw("chats") / "chats.json").unlink()
    world.write(
        "sources/chats", {**SOURCE, "files": [{"path": "chats.json", "url": "http://h.invalid/x"}]}
    )
    build = Build.of(tmp_path / "manifests" / "mixtures" / "tiny.yaml")
    build.data = world.data
    for step in (lambda: check_inputs(build), lambda: build.raw("chats")):
        with pytest.raises(UserError) as error:
            step()
        assert SECRETS["proxy"] not in str(error.value)
    assert error.value.where == "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"


def test_an_invalid_mirror_is_an_error_without_its_password(
    secretive: pytest.MonkeyPatch,
) -> None:
    from imp_data.raw.fetch import mirrors_from_environment

    secretive.setenv("IMP_DATA_MIRROR", f"ann:{SECRETS['mirror']}@lab/imp")
    with pytest.raises(UserError) as error:
        mirrors_from_environment()
    assert error.value.problem == "ann:***@lab/imp is no address"


def test_the_address_of_a_data_directory_leaves_no_secret(
    tmp_path: Path, secretive: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secretive.setenv("IMP_DATA_DIR", f"memory://ann:{SECRETS['data']}@{tmp_path}/data")
    world = World(tmp_path)
    world.data = world.data._replace(root=parse_path(os.environ["IMP_DATA_DIR"]))
    assert not run_job(world, tmp_path / "dagster")
    world.publish("chats", RECORDS)
    assert run_job(world, tmp_path / "dagster")
    printed = capfd.readouterr()
    assert leaks(tmp_path, printed.out, printed.err) == []


def test_a_secret_in_an_invalid_address_is_hidden(
    tmp_path: Path, secretive: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    (world.data.raw("chats") / "chats.json").unlink()
    for url in ("http://ann:{}/x@host/", "http://ann:{}@[::1", "ftp://ann:{}@h/", "ann:{}@h/x"):
        file = {"path": "chats.json", "url": url.format(SECRETS["password"])}
        world.write("sources/chats", {**SOURCE, "files": [file]})
        build = Build.of(tmp_path / "manifests" / "mixtures" / "tiny.yaml")
        locks = LockFiles(tmp_path / "manifests", tmp_path / "locks")
        with pytest.raises(UserError) as error:
            fetch_files([build.recipe.sources["chats"]], tmp_path / "raw", (), locks)
        assert SECRETS["password"] not in str(error.value)
        build.data = world.data
        with pytest.raises(UserError) as error:
            check_inputs(build)
        assert SECRETS["password"] not in str(error.value)
