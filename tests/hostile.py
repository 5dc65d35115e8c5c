"""A server on this machine that does everything wrong that a server can do, for the tests of downloads."""

from __future__ import annotations

import gzip
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from zoo.registry import downloads

DATA = random.Random(0).randbytes(300_000)
HALF = len(DATA) // 2
PAGE = b"\r\n<!DOCTYPE html><html><title>Please log in</title></html>"
# An endless body stops here, so that a client that goes on reading fails its test instead of blocking it.
ENDLESS = 64 << 20
PROCESSES = 8


class Server(ThreadingHTTPServer):
    """Answer `/NAME` with the handler's method `do_NAME`; remember what was asked and how much was sent."""

    daemon_threads = False  # closing waits for every answer to end

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []
        self.proxied: list[str] = []
        self.plain = ""
        self.sent = 0
        self.stop, self.half = threading.Event(), threading.Event()
        self.files: dict[str, bytes] = {}
        self.gate, self.patience = threading.Barrier(PROCESSES), 0.3

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def hear(self, count: int) -> None:
        """Wait for so many questions: on a busy machine a client may give up before they are looked at."""
        for _ in range(3000):
            if len(self.asked) >= count:
                return
            self.stop.wait(0.01)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        # Of a proxy, the whole address is asked for.
        proxied, _, name = self.path.strip("/").rpartition("/")
        self.server.proxied += [proxied] if proxied else []
        self.server.asked.append(name)
        self.server.ranges.append(self.headers.get("Range"))
        self.server.conditions.append(self.headers.get("If-Range"))
        with suppress(ConnectionError):
            if name in self.server.files:
                self.reply(self.server.files[name])
                return
            getattr(self, f"answer_{name.replace('-', '_')}", self.answer_404)()

    def reply(self, body: bytes = b"", status: int = 200, length: int | None = -1, **headers: str) -> None:
        """Send a response; `length` is the Content-Length claimed, -1 the right one, None leaves it out."""
        self.close_connection = True
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drone(self) -> None:
        """Send zeros until the client hangs up."""
        while self.server.sent < ENDLESS and not self.server.stop.is_set():
            self.server.sent += self.wfile.write(bytes(1 << 16))

    def part(self, data: bytes = DATA, most: int | None = None, shift: int = 0, tag: str = "", **headers: str) -> None:
        """Send the range that is asked for, of at most so many bytes of it; `shift` tells other bytes than are sent."""
        asked, version = self.headers.get("Range"), self.headers.get("If-Range")
        headers |= {"ETag": tag} if tag else {}
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and version in (None, tag) else 0
        body = data[start:]
        if start:
            headers["Content_Range"] = f"bytes {start + shift}-{len(data) - 1}/{len(data)}"
        self.reply(body[:most], 206 if start else 200, length=len(body), **headers)

    @property
    def is_first(self) -> bool:
        return len(self.server.asked) == 1

    def answer_ranges(self) -> None:
        self.part(tag='"v1"')

    def answer_ranges_cut(self) -> None:
        self.part(most=100_000, tag='"v1"')

    def answer_ranges_cut_once(self) -> None:
        self.part(most=HALF if self.is_first else None)

    def answer_ranges_dated(self) -> None:
        self.part(most=HALF if self.is_first else None, Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT", ETag='W/"1"')

    def answer_ranges_ignored(self) -> None:
        self.reply(DATA[:HALF] if self.is_first else DATA, length=len(DATA))

    def answer_ranges_of_others(self) -> None:
        self.part(most=HALF if self.is_first else None, shift=1)

    def answer_ranges_from_zero(self) -> None:
        # It says the range that was asked for, and sends bytes of another.
        asked = self.headers.get("Range")
        told = {"Content_Range": f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}"} if asked else {}
        self.reply(DATA[:HALF], 206 if asked else 200, length=HALF if asked else len(DATA), **told)
        if not asked and not self.is_first:
            self.wfile.write(DATA[HALF:])

    def answer_ranges_endless(self) -> None:
        asked = self.headers.get("Range")
        told = {"Content_Range": f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}"} if asked else {}
        self.reply(DATA[:HALF] if self.is_first else DATA, 206 if asked else 200, length=len(DATA), **told)

    def answer_ranges_unasked(self) -> None:
        self.reply(DATA, 206, Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}")

    def answer_changed(self) -> None:
        if self.is_first:
            self.reply(bytes(HALF), length=len(DATA), ETag='"v0"')
        else:
            self.part(tag='"v1"')

    def answer_changed_untold(self) -> None:
        if self.is_first:
            self.reply(bytes(HALF), length=len(DATA))
        else:
            self.part()

    def answer_changed_against_its_word(self) -> None:
        # It was told which version is meant, and sends a range of another one.
        first, asked = self.is_first, self.headers.get("Range")
        told = {"Content_Range": f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}"} if asked else {}
        body = bytes(HALF) if first else DATA[HALF:] if asked else DATA
        tag = '"v0"' if first else '"v1"'
        self.reply(body, 206 if asked else 200, length=len(DATA) if first else len(body), ETag=tag, **told)

    def answer_no_such_range(self) -> None:
        if self.headers.get("Range"):
            self.reply(b"", 416, Content_Range="bytes */10")
        else:
            self.reply(DATA[:HALF] if self.is_first else DATA, length=len(DATA))

    def answer_then_a_page(self) -> None:
        self.part(most=HALF) if self.is_first else self.reply(PAGE)

    def answer_wrong_in_two(self) -> None:
        self.part(bytes(len(DATA)), most=HALF if self.is_first else None)

    def answer_busy(self) -> None:
        self.reply(b"later", 503, Retry_After="7") if self.is_first else self.reply(DATA)

    def answer_busy_for_a_day(self) -> None:
        self.reply(b"later", 429, Retry_After="86400")

    def answer_busy_until(self) -> None:
        later = formatdate(time.time() + 3600, usegmt=True)
        self.reply(b"later", 503, Retry_After=later) if self.is_first else self.reply(DATA)

    def answer_busy_for_nonsense(self) -> None:
        self.reply(b"later", 503, Retry_After="soon") if self.is_first else self.reply(DATA)

    def answer_gated_half(self) -> None:
        # The first one waits in the middle until it hangs up, so that a client can be killed there.
        self.part(most=HALF if self.is_first else None, tag='"v1"')
        if self.is_first:
            self.wfile.flush()
            self.server.half.set()
            self.server.stop.wait(60)

    def do_CONNECT(self) -> None:
        self.server.asked.append("CONNECT")
        self.reply(status=407, Proxy_Authenticate="Basic")

    def answer_407(self) -> None:
        self.reply(status=407, Proxy_Authenticate="Basic")

    def answer_to_plain(self) -> None:
        self.reply(status=302, Location=self.server.plain)

    def answer_ok(self) -> None:
        self.reply(DATA)

    def answer_404(self) -> None:
        self.reply(b"nothing here", 404)

    def answer_500(self) -> None:
        self.reply(b"sorry", 500)

    def answer_flaky(self) -> None:
        self.reply(DATA) if len(self.server.asked) == downloads.TRIES else self.reply(b"sorry", 503)

    def answer_cut(self) -> None:
        self.reply(DATA[:HALF], length=len(DATA))

    def answer_cut_unannounced(self) -> None:
        self.reply(DATA[:HALF], length=None)

    def answer_cut_chunked(self) -> None:
        self.reply(b"%x\r\n%b\r\n" % (HALF, DATA[:HALF]), length=None, Transfer_Encoding="chunked")

    def answer_cut_header(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")

    def answer_short_length(self) -> None:
        self.reply(DATA, length=HALF)

    def answer_nonsense_length(self) -> None:
        self.reply(DATA, length=None, Content_Length="many")

    def answer_wrong_byte(self) -> None:
        self.reply(DATA[:HALF] + bytes([DATA[HALF] ^ 1]) + DATA[HALF + 1 :])

    def answer_page(self) -> None:
        self.reply(PAGE)

    def answer_long_page(self) -> None:
        self.reply(PAGE + bytes(len(DATA)))

    def answer_stall(self) -> None:
        self.reply(DATA[:1000], length=len(DATA))
        self.server.stop.wait(10)

    def answer_silent(self) -> None:
        self.server.stop.wait(10)
        self.close_connection = True

    def drip(self, byte: bytes) -> None:
        """Send a byte every now and then until the client hangs up."""
        while not self.server.stop.wait(0.02):
            self.wfile.write(byte)

    def answer_drip(self) -> None:
        self.reply(length=len(DATA))
        self.drip(b"x")

    def answer_drip_chunked(self) -> None:
        self.reply(length=None, Transfer_Encoding="chunked")
        self.drip(b"1\r\nx\r\n")

    def answer_drip_header(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.drip(b"x")

    def answer_endless(self) -> None:
        self.reply(length=None)
        self.drone()

    def answer_encoded(self) -> None:
        self.reply(gzip.compress(DATA, mtime=0), Content_Encoding="gzip")

    def answer_moved(self) -> None:
        self.reply(status=302, Location="/ok")

    def answer_moved_endless(self) -> None:
        self.reply(status=302, length=None, Location="/ok")
        self.drone()

    def answer_circle(self) -> None:
        self.reply(status=302, Location="/circle")

    def answer_to_file(self) -> None:
        self.reply(status=302, Location="file:///etc/hostname")

    def answer_to_http(self) -> None:
        self.reply(status=301, Location="http://elsewhere.invalid/ok")

    def answer_to_nonsense(self) -> None:
        self.reply(status=302, Location="http://[/ok")

    def answer_gate(self) -> None:
        # Answer all requests at once when all have come; a single one is answered after a moment.
        with suppress(threading.BrokenBarrierError):
            self.server.gate.wait(self.server.patience)
        self.reply(DATA)


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server for as long as the body runs."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
