"""`imp-data chat` with a real export: page, OpenAI's own client, token, ports and sockets."""

import base64
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import httpx
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")

from listening import listening
from models import SIZE, save_model
from openai import OpenAI
from probes import PROBED, probed, watched

from imp_data.mobile.chat.serve import chat_url
from imp_data.mobile.gguf.export import export
from imp_data.mobile.measure.test_prompts import default_cases
from imp_data.mobile.runtime.images import encode_png


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    export(save_model(folder / "model"), folder / "out", [16], [SIZE])
    return folder / "out"


@contextmanager
def chatting(*arguments: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `imp-data chat` in a process of its own; yield the URL that it prints."""
    command = [sys.executable, "-m", "imp_data", "chat", *map(str, arguments), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **piped) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            said = process.stdout.readline()
            assert said.startswith("ImpChat: "), process.stderr.read()
            yield said.removeprefix("ImpChat: ").strip(), process
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()


def test_openais_client_gets_an_answer_about_an_image_and_ctrl_c_ends_the_chat(
    exported: Path,
) -> None:
    data = base64.b64encode(encode_png(default_cases()[0].image)).decode()
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    with chatting(exported, "--threads", "1") as (url, process):
        assert "ImpChat" in httpx.get(url).text
        assert httpx.get(f"{url}v1/about").json()["image_size"] == SIZE
        client = OpenAI(base_url=f"{url}v1", api_key="none", max_retries=0)
        asked = {"role": "user", "content": content}
        said = client.chat.completions.create(model="any", messages=[asked], max_tokens=6)  # type: ignore[list-item]
        assert said.usage is not None and said.usage.completion_tokens in range(1, 7)
        # The prompt contains the image's tokens.
        assert said.usage.prompt_tokens > (SIZE // 14) ** 2
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc of Linux needed")
def test_every_port_of_the_processes_is_closed_to_other_sites(exported: Path) -> None:
    with chatting(exported, "--threads", "1") as (url, process), watched() as (canary, fetched):
        found = listening(process.pid)
        assert found.ports == {httpx.URL(url).port}
        for port, (method, path) in product(found.ports, PROBED):
            assert probed(port, method, path, canary) is None, (method, path)
        (socket,) = found.sockets
        folder = Path(socket).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        # A request of a program has no Origin.
        shown = [{"type": "image_url", "image_url": {"url": canary}}]
        body = {"messages": [{"role": "user", "content": shown}]}
        assert httpx.post(f"{url}v1/chat/completions", json=body).status_code == 400
    assert fetched == []
    assert not folder.exists()


def test_sigterm_removes_the_socket(exported: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        with chatting(exported, "--threads", "1") as (_, process):
            (folder,) = tmp_path.glob("imp-data-*")
            assert [path.name for path in folder.iterdir()] == ["llama.sock"]
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
    assert not folder.exists()


def test_no_response_contains_the_path_of_the_model(exported: Path) -> None:
    with chatting(exported, "--threads", "1") as (url, _):
        asked = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
        pages = [httpx.get(f"{url}{path}") for path in ("", "v1/about", "v1/models", "no")]
        whole = httpx.post(f"{url}v1/chat/completions", json=asked)
        streamed = httpx.post(f"{url}v1/chat/completions", json={**asked, "stream": True})
    assert whole.json()["model"] == "imp-tiny-phi"
    for reply in (*pages, whole, streamed):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert str(exported.parent) not in reply.text and ".gguf" not in reply.text


def test_a_token_is_generated_and_required_off_loopback(exported: Path) -> None:
    with chatting(exported, "--host", "0.0.0.0", "--threads", "1") as (url, _):
        page, _, token = url.partition("#token=")
        models = page.replace("0.0.0.0", "127.0.0.1") + "v1/models"
        assert len(token) >= 16
        assert httpx.get(models).status_code == 401
        allowed = httpx.get(models, headers={"Authorization": f"Bearer {token}"})
        assert allowed.status_code == 200


def test_the_token_is_in_the_fragment_of_the_url() -> None:
    assert chat_url("::1", 8080, None) == "http://[::1]:8080/"
    assert chat_url("192.0.2.7", 80, "s3cret") == "http://192.0.2.7:80/#token=s3cret"


def test_a_port_in_use_is_an_error(exported: Path) -> None:
    with chatting(exported, "--threads", "1") as (url, _):
        port = url.rstrip("/").rsplit(":", 1)[1]
        command = [sys.executable, "-m", "imp_data", "chat", str(exported), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip() == "What to do: choose another --port"
