"""A Hugging Face hub of one repository, as far as huggingface_hub's downloads go."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class Hub:
    """What the repository holds and what it was asked for."""

    repository: str
    files: dict[str, bytes]
    token: str | None = None
    """Downloads need it where it is set: the repository is gated."""
    break_at: int = 0
    breaks: int = 0
    """How many connections are to be cut at that byte of the weights."""
    claimed_sizes: dict[str, int] = field(default_factory=dict)
    """Where the listing says something else than the truth."""
    url: str = ""
    downloads: list[tuple[str, int]] = field(default_factory=list)
    """Names of the files that were asked for, and the byte at which each download began."""

    def reply(self, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
        path = unquote(urlsplit(handler.path).path)
        if path.startswith(f"/api/models/{self.repository}/revision/"):
            _send_json(handler, self._info())
        elif path.startswith(f"/api/models/{self.repository}/tree/"):
            _send_json(handler, self._tree())
        elif path.startswith(f"/{self.repository}/resolve/{COMMIT}/"):
            self._send_file(handler, path.rpartition("/")[2], with_body)
        else:
            _send_error(handler, 404, "RepoNotFound")

    def _info(self) -> dict[str, object]:
        siblings = [
            {"rfilename": name, "size": self.claimed_sizes.get(name, len(data))}
            for name, data in self.files.items()
        ]
        return {"id": self.repository, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
            for name, data in self.files.items()
        ]

    def _send_file(self, handler: BaseHTTPRequestHandler, name: str, with_body: bool) -> None:
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            _send_error(handler, 403, "GatedRepo")
            return
        data = self.files[name]
        start = int((handler.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", f'"{_etag(data)}"')
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(data) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        if not with_body:
            return
        self.downloads.append((name, start))
        if name.endswith(".safetensors") and self.breaks:
            self.breaks -= 1
            data = data[: self.break_at]
        handler.wfile.write(data[start:])


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _send_json(handler: BaseHTTPRequestHandler, content: object) -> None:
    body = json.dumps(content).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _send_error(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
    handler.send_response(status)
    handler.send_header("X-Error-Code", code)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.reply(self, with_body=True)

        def do_HEAD(self) -> None:
            hub.reply(self, with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="hub")
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
