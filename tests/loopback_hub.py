"""A Hugging Face Hub on loopback that speaks the real protocol, for the real clients.

Point a client at it with `HF_ENDPOINT` and set `HF_HUB_DISABLE_XET=1`. It serves datasets and
models, each with named revisions of files:

* `HEAD` and `GET /datasets/R/resolve/REV/PATH` with ETag, X-Repo-Commit and ranges; for files in
  LFS a redirect to `/cdn/SHA256` on another port, with X-Linked-Etag and X-Linked-Size;
* `GET /api/datasets/R/tree/REV[/FOLDER]` with its `recursive` and pages (`page_entries`),
  `POST …/paths-info/REV`, and `GET /api/datasets/R[/revision/REV]`;
* renamed repositories (307), gated and private ones (401 or 403), unknown repositories, revisions
  and files (404, X-Error-Code); 429 and faulty bodies by `faults`.

It does not cover: Xet storage (it states no X-Xet-Hash, so clients use LFS), uploads, commits and
tags, `expand=true`, discussions, Spaces, git itself, rate limits of its own, gzip-encoded text, and
signatures that expire. huggingface_hub 2.4 and datasets 5.2 were seen to work with it.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

_PATHS = re.compile(
    r"/(?:(?P<api>api)/)?(?P<kind>datasets/|models/|)(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<action>resolve|tree|paths-info|revision)/(?P<rev>[^/]+)(?:/(?P<path>.*))?)?"
)


class Repository:
    """A dataset or model: files by commit, and how it is protected."""

    def __init__(self, private: bool = False, gated: bool = False) -> None:
        self.private, self.gated = private, gated
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        # Small files that git holds have a git hash for an ETag, and no sha256.
        self.in_git = re.compile(r".*\.(md|txt|json)")

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit of these files; return its 40 digits."""
        listed = json.dumps([[path, sha256(content)] for path, content in sorted(files.items())])
        commit = hashlib.sha1(f"{len(self.commits)} {listed}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def find_commit(self, revision: str) -> str | None:
        """Return the commit of a branch or of a revision."""
        return self.branches.get(revision, revision if revision in self.commits else None)


class Fault(NamedTuple):
    """What happens to one request whose method and path match: `GET /cdn/…`.

    `status` replaces the answer; `cut` closes the connection after that many bytes of the body, or
    (`hang`) pauses there until the Hub's event `go_on` is set; `body` replaces the body, and its
    length is stated; `headers` are added.
    """

    matches: str
    status: int = 0
    cut: int | None = None
    hang: bool = False
    body: bytes | None = None
    headers: Mapping[str, str] = {}


class _ContentNetwork(ThreadingHTTPServer):
    """Serves the bytes of files in LFS at `/cdn/SHA256`, on another port."""

    daemon_threads = True

    def __init__(self, hub: "Hub") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.hub = hub


class Hub(ThreadingHTTPServer):
    """The server: `repositories` by `datasets/OWNER/NAME` or `models/OWNER/NAME`.

    `asked` lists each request, as method, path and headers by lower-case name. Each of `faults` is
    applied once, to the first request that it matches.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.cdn = _ContentNetwork(self)
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.tokens = {"hf_loopback_reader"}
        self.page_entries = 1000
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.go_on = threading.Event()

    def dataset(self, name: str, files: Mapping[str, bytes], **protection: bool) -> str:
        """Add a dataset, or a commit to it; return the commit."""
        repository = self.repositories.setdefault(f"datasets/{name}", Repository(**protection))
        return repository.commit(files)

    def requests(self, method: str = "GET", containing: str = "") -> list[str]:
        """Return the paths that were requested, in order."""
        return [path for verb, path, _ in self.asked if verb == method and containing in path]

    def ranges(self) -> list[str | None]:
        """Return the Range headers of the GET requests for files' bytes."""
        return [h.get("range") for verb, path, h in self.asked if verb == "GET" and "/cdn/" in path]


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Run a Hub for the block."""
    with Hub() as hub, hub.cdn as cdn:
        servers = (hub, cdn)
        threads = [threading.Thread(target=one.serve_forever, args=(0.01,)) for one in servers]
        for thread in threads:
            thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            for server, thread in zip(servers, threads, strict=True):
                server.shutdown()
                thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Refused(Exception):
    """The request is answered with an error status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    server: "Hub | _ContentNetwork"
    protocol_version = "HTTP/1.1"
    _fault: Fault | None = None

    @property
    def hub(self) -> Hub:
        return self.server if isinstance(self.server, Hub) else self.server.hub

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.asked.append((self.command, self.path, headers))
        self._sent = self.rfile.read(int(headers.get("content-length", 0)))
        self._fault = self._next_fault()
        if self._fault and self._fault.status:
            self._answer(self._fault.status, b"", {})
            return
        try:
            self._route()
        except _Refused as error:
            headers = {"X-Error-Code": error.code, "X-Error-Message": str(error)}
            self._answer(error.status, json.dumps({"error": str(error)}).encode(), headers)

    def _next_fault(self) -> Fault | None:
        line = f"{self.command} {self.path}"
        for fault in self.hub.faults:
            if re.match(fault.matches, line):
                self.hub.faults.remove(fault)
                return fault
        return None

    def _route(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/cdn/"):
            self._send_blob(parts.path.removeprefix("/cdn/"))
            return
        found = _PATHS.fullmatch(parts.path)
        if found is None:
            raise _Refused(404, "", "Not Found")
        name = f"{found['kind'] or 'models/'}{found['repo']}"
        if new := self.hub.renamed.get(name):
            old = f"{found['kind']}{found['repo']}"
            renamed = new if found["kind"] else new.removeprefix("models/")
            self._answer(307, b"", {"Location": self.path.replace(old, renamed, 1)})
            return
        repository = self._repository(name)
        revision = unquote(found["rev"] or "main")
        commit = repository.find_commit(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        self._check_access(repository, name, commit)
        path = unquote(found["path"] or "")
        files = repository.commits[commit]
        if found["action"] == "resolve":
            self._resolve(repository, commit, path)
        elif found["action"] == "tree":
            self._tree(repository, files, path, parse_qs(parts.query))
        elif found["action"] == "paths-info":
            asked = parse_qs(self._sent.decode()).get("paths", [])
            self._send_json([_entry(repository, p, files[p]) for p in asked if p in files])
        else:
            siblings = [{"rfilename": path} for path in sorted(files)]
            self._send_json(
                {
                    "id": found["repo"],
                    "sha": commit,
                    "private": repository.private,
                    "gated": "auto" if repository.gated else False,
                    "siblings": siblings,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
            )

    def _repository(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is not None and not (repository.private and not self._is_reader()):
            return repository
        # The Hub does not tell strangers what does not exist from what is private.
        if self.headers.get("Authorization"):
            raise _Refused(404, "RepoNotFound", "Repository not found")
        raise _Refused(401, "RepoNotFound", "Invalid username or password.")

    def _check_access(self, repository: Repository, name: str, commit: str) -> None:
        if not repository.gated or self._is_reader() or "/resolve/" not in self.path:
            return
        status = 403 if self.headers.get("Authorization") else 401
        raise _Refused(status, "GatedRepo", f"Access to {name} is restricted.")

    def _is_reader(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return token in self.hub.tokens

    def _resolve(self, repository: Repository, commit: str, path: str) -> None:
        content = repository.commits[commit].get(path)
        if content is None:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if repository.in_git.fullmatch(path):
            self._send_range(content, {**headers, "ETag": f'"{_git_hash(content)}"'})
            return
        digest = sha256(content)
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        place = {"Location": f"{self.hub.cdn.url}/cdn/{digest}?{urlencode({'Signature': digest})}"}
        self._answer(302, b"", {**headers, **linked, **place})

    def _send_blob(self, digest: str) -> None:
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if sha256(content) == digest:
                        self._send_range(content, {"ETag": f'"{digest}"'})
                        return
        raise _Refused(403, "", "Forbidden")

    def _send_range(self, content: bytes, headers: Mapping[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, content, headers)
            return
        begin, end = int(asked[1]), min(int(asked[2] or len(content) - 1) + 1, len(content))
        if begin >= len(content):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        span = {"Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}
        self._answer(206, content[begin:end], {**headers, **span})

    def _tree(
        self,
        repository: Repository,
        files: Mapping[str, bytes],
        folder: str,
        query: Mapping[str, list[str]],
    ) -> None:
        prefix = f"{folder}/" if folder else ""
        below = {p: c for p, c in sorted(files.items()) if p.startswith(prefix)}
        if folder and not below:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist")
        folders = {
            prefix + "/".join(steps[:count])
            for steps in (path.removeprefix(prefix).split("/") for path in below)
            for count in range(1, len(steps))
        }
        entries = [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in folders]
        entries += [_entry(repository, path, content) for path, content in below.items()]
        if query.get("recursive", ["false"])[0].lower() != "true":
            entries = [e for e in entries if "/" not in e["path"].removeprefix(prefix)]
        entries.sort(key=lambda entry: entry["path"])
        first = int(query.get("cursor", ["0"])[0])
        page = entries[first : first + self.hub.page_entries]
        following = first + self.hub.page_entries
        links = {}
        if following < len(entries):
            rest = {name: values[0] for name, values in query.items()} | {"cursor": str(following)}
            where = f"{self.hub.url}{urlsplit(self.path).path}?{urlencode(rest)}"
            links = {"Link": f'<{where}>; rel="next"'}
        self._send_json(page, links)

    def _send_json(self, value: Any, headers: Mapping[str, str] = {}) -> None:
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self._answer(200, json.dumps(value).encode(), {**kind, **headers})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        fault = self._fault
        if fault and fault.body is not None:
            body = fault.body
        self.send_response(status)
        added = fault.headers if fault else {}
        for name, value in {"Content-Length": str(len(body)), **headers, **added}.items():
            self.send_header(name, value)
        if fault and fault.cut is not None and not fault.hang:
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(OSError):  # the client has gone
            self.wfile.write(body[: fault.cut if fault else None])
            if fault and fault.hang:
                self.hub.go_on.wait()
                self.wfile.write(body[fault.cut :])

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _entry(repository: Repository, path: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
    if not repository.in_git.fullmatch(path):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry
