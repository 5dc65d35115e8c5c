"""Servers of weights on this machine: torch.hub's plain files, and the hub's `resolve/` protocol."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "ab" * 20
PAGE = b"<!doctype html><html><title>Log in</title></html>"


class Files(ThreadingHTTPServer):
    """Serves what is in `files` by path, and notes what is asked for.

    `faults` says what goes wrong with a path: `cut`, `changed`, `page` or `gone`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, content: bytes) -> str:
        """Serve a file; return its address."""
        self.files[path] = content
        return f"{self.address}{path}"

    def add_to_hub(self, repository: str, file: str, content: bytes) -> str:
        """Serve a file as the hub does; return its path."""
        path = f"/{repository}/resolve/main/{file}"
        self.files[path] = content
        return path


class _Handler(BaseHTTPRequestHandler):
    server: Files
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0].replace(COMMIT, "main")
        self.server.asked.append(f"{self.command} {path}")
        content, fault = self.server.files.get(path), self.server.faults.get(path, "")
        if content is None or fault == "gone":
            self.send_response(404)
            known = any(file.rpartition("/")[0] == path.rpartition("/")[0] for file in self.server.files)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = {"changed": content[:-1] + bytes([content[-1] ^ 1]), "page": PAGE}.get(fault, content)
        self.send_response(200)
        digest = hashlib.sha256(content).hexdigest()
        for key, value in (
            ("Content-Length", len(body)),
            ("ETag", f'"{digest[:32]}"'),
            ("X-Repo-Commit", COMMIT),
            ("X-Linked-Etag", f'"{digest}"'),
            ("X-Linked-Size", len(content)),
        ):
            self.send_header(key, str(value))
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            self.close_connection = fault == "cut"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[Files]:
    """Run a server while the body runs."""
    with Files() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
