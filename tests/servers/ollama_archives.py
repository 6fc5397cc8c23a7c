# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Archives of the real Ollama 0.9.3 of ollama_server.py, laid out as a release's, and a server that hands them out well or badly.

    python ollama_archives.py --home FOLDER --output FOLDER      make the archives

Ollama's own archives cannot be had in tests (1.4 GB each, from github.com). PyPI has one version that runs without a GPU, so the
older ones are the same program with the version relabelled in it: it says 0.9.1 of itself, as client and as daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ollama_server

VERSION, OLD_VERSION = "0.9.3", "0.9.1"
_LIBRARY = "libggml-base.so"


@dataclass(frozen=True)
class Archive:
    """A file, and its checksum as the module takes it."""

    path: str
    checksum: str

    @property
    def name(self) -> str:
        return Path(self.path).name


@dataclass(frozen=True)
class Archives:
    """The same program as .tgz and .tar.zst, the relabelled one, and what is no Ollama.

    libraries: what LD_LIBRARY_PATH has to be, since this build links Intel's.
    """

    tgz: Archive
    zst: Archive
    old: Archive
    broken_program: Archive
    not_ollama: Archive
    libraries: str


def make(home: Path, output: Path) -> Archives:
    """Make the archives in a folder, from an environment of `ollama_server.py --install`."""
    binary = ollama_server.find_binary(home)
    program, library = binary.read_bytes(), binary.with_name(_LIBRARY).read_bytes()
    if program.count(VERSION.encode()) != 1:
        raise RuntimeError(f"the version stands more than once in {binary}: relabelling it would change something else")
    older = program.replace(VERSION.encode(), OLD_VERSION.encode())
    tree = {"lib/ollama/libggml-base.so": library}
    plain = pack(output / "plain.tgz", {"bin/ollama": program, **tree})
    packed = output / "ollama-linux-amd64.tar.zst"
    with packed.open("wb") as file:
        unpacked = subprocess.Popen(["gzip", "-dc", plain.path], stdout=subprocess.PIPE)
        subprocess.run(["zstd", "-q", "-1"], stdin=unpacked.stdout, stdout=file, check=True)
        unpacked.wait()
    tgz = output / "ollama-linux-amd64.tgz"
    Path(plain.path).rename(tgz)
    return Archives(
        tgz=_describe(tgz),
        zst=_describe(packed),
        old=pack(output / "old.tgz", {"bin/ollama": older, **tree}),
        broken_program=pack(output / "broken.tgz", {"bin/ollama": b"#!/bin/sh\necho cannot run here >&2\nexit 3\n"}),
        not_ollama=pack(output / "other.tgz", {"lib/ollama/readme.txt": b"no program\n"}),
        libraries=f"{home}/lib:{binary.parent}",
    )


def pack(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Archive:
    """Pack files as `tar c -C dist .` does, with a dot before each name."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(member, BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return _describe(path)


def _describe(path: Path) -> Archive:
    return Archive(str(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


class _Handler(http.server.BaseHTTPRequestHandler):
    """/BEHAVIOUR/NAME hands out the file NAME of the served folder, also as a web proxy would for any host."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._serve(head=True)

    def do_GET(self) -> None:
        self._serve(head=False)

    def _serve(self, head: bool) -> None:
        # As a web proxy it is asked for whole URLs.
        behaviour, _slash, name = urlsplit(self.path).path.lstrip("/").partition("/")
        self.server.asked.append((self.command, behaviour, self.headers.get("Range")))
        path = self.server.folder / Path(name).name
        if behaviour == "redirect":
            self._answer(302, {"Location": f"/whole/{name}"}, b"", head)
        elif behaviour == "denied" or (behaviour == "signed" and head):
            # A link that was signed for GET is refused to HEAD, as S3 does.
            self._answer(403, {}, b"no", head)
        elif behaviour == "headless" and head:
            self.close_connection = True
        elif not path.is_file() or behaviour == "missing":
            self._answer(404, {}, b"Not Found", head)
        else:
            self._send(path.read_bytes(), behaviour, head)

    def _send(self, content: bytes, behaviour: str, head: bool) -> None:
        wanted = self.headers.get("Range")
        if behaviour == "resumable" and wanted:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._answer(206, headers, content[start:], head)
            return
        headers = {"Accept-Ranges": "bytes"} if behaviour == "resumable" else {}
        if behaviour in ("whole", "signed", "headless") or head:
            self._answer(200, headers, content, head)
            return
        self._answer(200, headers, content, head, half=True)
        if behaviour == "stall":
            self.server.closing.wait(30)
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], content: bytes, head: bool, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not head:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content[: len(content) // 2] if half else content)
                self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[tuple[str, str, str | None]] = []
        self.closing = threading.Event()


@dataclass(frozen=True)
class FileServer:
    """Where it listens, and what it was asked: (method, behaviour, Range)."""

    url: str
    asked: list[tuple[str, str, str | None]]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """
    Hand out the files of a folder on 127.0.0.1 until the block ends, as URL/BEHAVIOUR/NAME.

    Behaviours: whole; cut (half of what was announced); resumable (half, the rest by Range); stall (half, then silence); redirect; denied
    (403); missing (404).
    """
    server = _Server(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield FileServer(f"http://127.0.0.1:{server.server_address[1]}", server.asked)
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description="Archives of a real Ollama for tests.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    for name, value in asdict(make(options.home, options.output)).items():
        print(name, value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
