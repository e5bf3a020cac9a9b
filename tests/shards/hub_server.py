"""A stand-in of the Hugging Face hub's HTTP API on this machine: repositories of data sets, commits, LFS and tags."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

SMALL = 20_000  # bytes: larger files, and all tars and tables, go by LFS


@dataclass
class Hub:
    """What the server holds.

    Attributes:
        files: content by path; None when the repository was not made.
        lfs: paths that went by LFS.
        commits: paths of each commit.
        tags: names.
        uploads: bytes of each LFS upload.
        fail_after: number of commits after which the next one is refused.
    """

    files: dict[str, bytes] | None = None
    lfs: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    uploads: list[int] = field(default_factory=list)
    fail_after: int | None = None
    url: str = ""

    def get(self, path):
        if "/tree/" not in path or self.files is None:
            return 404, {"error": "Repository not found"}
        return 200, [self._entry(name, content) for name, content in sorted(self.files.items())]

    def _entry(self, name, content):
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}
        if name in self.lfs:
            oid = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"size": len(content), "oid": oid, "pointerSize": 130}
        return entry

    def post(self, path, body):
        if path.endswith("/api/repos/create"):
            self.files = self.files or {}
            return 200, {"url": f"{self.url}/datasets/someone/pairs"}
        if path.endswith("/api/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [(f["path"], "lfs" if is_lfs(f["path"], f["size"]) else "regular") for f in files]
            return 200, {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes]}
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return 200, {"transfer": "basic", "objects": [self._upload(o) for o in objects]}
        if "/tag/" in path:
            self.tags.append(json.loads(body)["tag"])
            return 200, {}
        return self._commit(body) if "/commit/" in path else (404, {"error": path})

    def _upload(self, wanted):
        if wanted["oid"] in self.objects:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}"}}}

    def put(self, path, body):
        oid = path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.objects[oid] = body
        self.uploads.append(len(body))
        return 200, {}

    def _commit(self, body):
        if self.fail_after is not None and len(self.commits) >= self.fail_after:
            return 403, {"error": "the connection is lost"}
        paths = []
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
                self.lfs.add(value["path"])
            elif entry["key"] == "deletedFile":
                del self.files[value["path"]]
            paths += [value["path"]] if entry["key"] != "header" else []
        self.commits.append(paths)
        oid = f"{len(self.commits):040d}"
        return 200, {"commitUrl": f"{self.url}/datasets/someone/pairs/commit/{oid}", "commitOid": oid}


def is_lfs(path, size):
    return size > SMALL or re.search(r"\.(tar|parquet)$", path)


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def serve(hub):
    """A server of a hub on a free loopback port, running; sets `hub.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, value):
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 404 and "Repository" in str(value):
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(content)

        def body(self):
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def do_GET(self):
            self.answer(*hub.get(unquote(self.path)))

        def do_POST(self):
            self.answer(*hub.post(unquote(self.path), self.body()))

        def do_PUT(self):
            self.answer(*hub.put(unquote(self.path), self.body()))

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
