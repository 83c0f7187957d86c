"""Send the requests that another site's page would send to a port, and record fetched images."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hostile_requests import HELLO, exchanged, wire

# Endpoints of llama.cpp's server and of the chat.
PROBED = [
    *(("GET", path) for path in ("/", "/health", "/v1/models", "/props", "/slots", "/metrics")),
    *(("OPTIONS", path) for path in ("/v1/chat/completions", "/completion", "/props")),
    *(("POST", path) for path in ("/v1/chat/completions", "/completion", "/apply-template")),
    *(("POST", path) for path in ("/v1/responses", "/v1/messages", "/tokenize", "/v1/image")),
]


def probed(port: int, method: str, path: str, canary: str) -> str | None:
    """Return how the port answers a request of another site with the canary image, or None."""
    host = f"127.0.0.1:{port}"
    part = {"type": "image_url", "image_url": {"url": canary}}
    messages = [HELLO, {"role": "user", "content": [part]}]
    body = json.dumps({"messages": messages, "prompt": "x", "content": "x", "max_tokens": 1})
    origin = "Origin: https://evil.example"
    try:
        reply = exchanged(host, wire(host, body.encode(), origin, method=method, path=path))
    except (OSError, HTTPException):
        return None
    if 200 <= reply.status < 400:
        return f"status {reply.status}"
    allowed = [name for name in reply.headers if name.lower().startswith("access-control-")]
    return f"header {allowed[0]}" if allowed else None


@contextmanager
def watched() -> Iterator[tuple[str, list[str]]]:
    """Serve an image on loopback; yield its URL and the list of fetched paths."""
    fetched = list[str]()

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Canary) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/cat.png", fetched
        finally:
            server.shutdown()
            thread.join()
