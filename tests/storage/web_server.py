"""Servers on loopback: one that gives files by range, and one that speaks what is used of the
Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class WebServer(ThreadingHTTPServer):
    """Gives `files` (path → content). What it leaves out is set by a test."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.files = {}
        self.ranges = True
        self.etags = True
        self.dates = True
        self.failing = 0
        """How many requests are answered 503 next."""
        self.odd = lambda handler: False  # noqa: ARG005
        """Answers requests in a way of its own, and returns whether it did."""
        self.asked = Counter()
        self.seen = []
        """(method, path, Authorization) of each request."""

    def handle_error(self, *_):
        pass


class HubServer(WebServer):
    """A data set `org/rows` of which `commits` (revision → commit) and `trees` (commit → path →
    content) are known; objects of 100 bytes and more are large files, which another host gives."""

    PAGE = 3

    def __init__(self, store):
        super().__init__()
        self.store = store
        self.commits = {}
        self.trees = {}

    def answer(self, handler):
        url = urlsplit(handler.path)
        parts = unquote(url.path).strip("/").split("/")
        if parts[:4] == ["api", "datasets", "org", "rows"]:
            commit = self.commits.get(parts[5], parts[5])
            if commit not in self.trees:
                return handler.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if parts[4] == "revision":
                return handler.send(200, json.dumps({"id": "org/rows", "sha": commit}).encode())
            return self.tree(handler, commit, "/".join(parts[6:]), parse_qs(url.query))
        if parts[:4] == ["datasets", "org", "rows", "resolve"]:
            return self.resolve(handler, self.trees[parts[4]], "/".join(parts[5:]))
        return handler.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def tree(self, handler, commit, below, query):
        found = [
            entry_of(path, content)
            for path, content in sorted(self.trees[commit].items())
            if not below or path.startswith(f"{below}/")
        ]
        if not found:
            return handler.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        start = int(query.get("cursor", ["0"])[0])
        more = {}
        if start + self.PAGE < len(found):
            url = (
                f"{self.url}{urlsplit(handler.path).path}?recursive=True&cursor={start + self.PAGE}"
            )
            more = {"Link": f'<{url}>; rel="next"'}
        return handler.send(200, json.dumps(found[start : start + self.PAGE]).encode(), more)

    def resolve(self, handler, tree, path):
        if path not in tree:
            return handler.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = tree[path]
        entry = entry_of(path, content)
        if "lfs" not in entry:
            return handler.file(content, entry["oid"])
        self.store.files[f"/{entry['lfs']['oid']}"] = content
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{entry["lfs"]["oid"]}"'}
        location = {"Location": f"{self.store.url}/{entry['lfs']['oid']}"}
        return handler.send(302, b"", linked | location)


def entry_of(path, content):
    entry = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),
    }
    if len(content) >= 100:
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
    return entry


@contextmanager
def serving(server):
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked[self.command] += 1
        self.server.seen.append((self.command, path, self.headers.get("Authorization")))
        if self.server.failing:
            self.server.failing -= 1
            return self.send(503, b"busy")
        if self.server.odd(self):
            return None
        if type(self.server) is HubServer:
            return self.server.answer(self)
        if path not in self.server.files:
            return self.send(404, b"no such file")
        content = self.server.files[path]
        return self.file(content, hashlib.md5(content).hexdigest())

    do_HEAD = do_GET  # noqa: N815

    def file(self, content, etag):
        headers = {"ETag": f'W/"{etag}"'} if self.server.etags else {}
        if self.server.dates:
            headers["Last-Modified"] = "Sun, 29 Nov 2026 12:00:00 GMT"
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or not self.server.ranges:
            return self.send(200, content, headers)
        if not content:
            return self.send(416, b"", {"Content-Range": "bytes */0"})
        first, last = asked.groups()
        start = int(first) if first else max(0, len(content) - int(last))
        stop = int(last) + 1 if first and last else len(content)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self.send(206, content[start:stop], headers)

    def send(self, status, content, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass
