# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Fetch a large file: by HTTP with resume and a watchdog for silence, or from the host's own disk; its checksum is proved."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import socket
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..failure import Failure, format_bytes
from ..jobs.progress import Position, Report
from ..transport.url import is_local

_CHECKSUM = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Source(NamedTuple):
    """Where something comes from, and the SHA-256 that it has to have (None where none is asked for).

    Attributes:
        url: As the user gave it.
        path: The file on this host, None for what is fetched.
        sha256: 64 lower-case hexadecimal digits.

    """

    url: str
    path: str | None
    sha256: str | None

    def __str__(self) -> str:
        # The query may be the signature of a presigned URL.
        return self.path or self.url.partition("?")[0]

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return str(self).rstrip("/").rpartition("/")[2]

    @property
    def is_zstd(self) -> bool:
        """Whether its name says that zstd unpacks it."""
        return str(self).endswith((".zst", ".zstd"))


def parse_source(url: str, checksum: str | None) -> Source:
    """Return a URL or a path on the host with its checksum.

    Raises:
        Failure: C(url_invalid), C(url_credentials), C(checksum_invalid).

    """
    sha256 = _CHECKSUM.fullmatch((checksum or "").strip())
    if checksum and not sha256:
        raise Failure("checksum_invalid", f"{checksum!r} is not a checksum. Write it like sha256:HEX with 64 digits.")
    digits = sha256[1].lower() if sha256 else None
    if url.startswith("/"):
        return Source(url, url, digits)
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise Failure(
            "url_invalid", "The url cannot be read. Write it like https://mirror.example/archive.tgz."
        ) from None
    if parts.username or parts.password:
        raise Failure(
            "url_credentials",
            "The url holds a user name or password. Remove it and rotate it; fetch the archive by other means and set its path.",
        )
    if parts.scheme == "file" and host in (None, "localhost") and parts.path.startswith("/"):
        return Source(url, urllib.parse.unquote(parts.path), digits)
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise Failure(
            "url_invalid",
            f"The url {url!r} is neither http(s):// nor file:// nor an absolute path on the host. Correct it.",
        )
    return Source(url, None, digits)


_OTHER_WAY = "or fetch the file elsewhere, copy it to the host and set url to its path"
_UNTOUCHED = "The previous installation is untouched."


def status_failure(source: Source, error: urllib.error.HTTPError) -> Failure:
    """Return what an HTTP status other than 2xx means."""
    asked = f"Asked for {source}: HTTP {error.code} {error.reason}. {_UNTOUCHED}"
    if error.code == http.client.PROXY_AUTHENTICATION_REQUIRED:
        return Failure("download_refused", f"{asked} {_credentials_remedy(source)}, {_OTHER_WAY}.", status=error.code)
    if error.code in (404, 410):
        return Failure(
            "archive_not_found",
            f"{asked} Check the version and the url: not every release has every archive.",
            status=error.code,
        )
    return Failure(
        "download_refused", f"{asked} Check that the server lets this host in, {_OTHER_WAY}.", status=error.code
    )


def full(error: BaseException) -> bool:
    """Tell whether the disk is full, or the user's share of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def transfer_failure(source: Source, error: Exception, stall: float, done: int, total: int | None) -> Failure:
    """Return what stopped a transfer.

    Args:
        source: What was fetched.
        error: What was raised.
        stall: The limit that was set on silence, in seconds.
        done: Bytes that came.
        total: Bytes in all, None when the server did not tell.

    """
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    state = {"completed": done, "total": total}
    so_far = f"after {format_bytes(done)}" + (f" of {format_bytes(total)}" if total else "")
    if full(error):
        return Failure("disk_full", f"Fetched {source}: the disk was full {so_far}. Free space. {_UNTOUCHED}", **state)
    if isinstance(reason, ssl.SSLError):
        return Failure(
            "tls_failed",
            f"Asked for {source}: its certificate or TLS is not accepted ({reason}). Make the host trust the CA (also of a network that "
            f"inspects TLS), and check its clock, {_OTHER_WAY}.",
        )
    if isinstance(error, (urllib.error.URLError, http.client.InvalidURL)):
        return Failure(
            "download_unreachable", f"Asked for {source}{_why_unreachable(source, reason, stall)}, {_OTHER_WAY}."
        )
    if isinstance(error, socket.timeout):
        return Failure(
            "download_stalled",
            f"Fetched {source}: no byte arrived for {stall:g} s, {so_far}. {_UNTOUCHED} Run it again, which resumes there if the server "
            f"supports it, {_OTHER_WAY}.",
            **state,
        )
    if isinstance(error, (http.client.HTTPException, ConnectionError)):
        return Failure(
            "download_interrupted",
            f"Fetched {source}: the connection ended {so_far}. {_UNTOUCHED} Run it again, which resumes there if the server supports it, "
            f"{_OTHER_WAY}.",
            **state,
        )
    return Failure("download_interrupted", f"Fetched {source}: {error} {so_far}. {_UNTOUCHED} Run it again.", **state)


def _why_unreachable(source: Source, reason: Any, stall: float) -> str:
    """Return what came back and what to look at; where there is a web proxy, nobody but the proxy was asked."""
    proxy = _web_proxy(source)
    via = f" by the web proxy {proxy}" if proxy else ""
    if isinstance(reason, http.client.InvalidURL):  # its text may be a part of a password
        return f"{via}: that is no address. {_UNTOUCHED} Correct {_proxy_variable(source)} (http://HOST:PORT)"
    why = f"no connection within {stall:g} s" if isinstance(reason, socket.timeout) else str(reason)
    if proxy and re.search(rf"\b{int(http.client.PROXY_AUTHENTICATION_REQUIRED)}\b", why):
        return f"{via}: {why}. {_UNTOUCHED} {_credentials_remedy(source)}"
    if proxy:
        return (
            f"{via}: {why}. {_UNTOUCHED} Check {_proxy_variable(source)} and the proxy, or add the server to NO_PROXY"
        )
    return (
        f": {why}. {_UNTOUCHED} Check the address, the host's network and DNS, and HTTPS_PROXY if it needs a web proxy"
    )


def _credentials_remedy(source: Source) -> str:
    return (
        f"The web proxy {_web_proxy(source)} rejects the user or password: correct them in {_proxy_variable(source)} "
        "(http://USER:PASSWORD@HOST:PORT)"
    )


def _proxy_variable(source: Source) -> str:
    return f"{source.url.partition(':')[0].upper()}_PROXY"


def _web_proxy(source: Source) -> str:
    """Return the web proxy by which the source is asked for, without its user and password; empty where there is none."""
    parts = urllib.parse.urlsplit(source.url)
    host = parts.netloc.rpartition("@")[2]
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or _is_near(host) or urllib.request.proxy_bypass(host):
        return ""
    return proxy.rpartition("@")[2].rpartition("//")[2].strip("/")


_CHUNK = 1024 * 1024
# A release is reached by two redirects (github.com -> its storage).
_REDIRECTS = 5
# How often a download goes on within one run after the connection broke, as long as each try brings something.
_TRIES = 5
# A release of 1.42 GB unpacks to 2.25 GB (0.32.9 amd64); with the archive itself beside it, and some air.
_ROOM_FACTOR = 3


# There is no such file, whatever the method.
_GONE = (http.client.NOT_FOUND, http.client.GONE)


class Fetched(NamedTuple):
    """What was fetched, open and at its start, and its bytes."""

    file: IO[bytes]
    size: int


def measure(source: Source, stall: float) -> int | None:
    """Ask for the size of a file without fetching it; None where the server does not tell.

    That is no verdict on the download itself: a link that is signed for GET is refused to HEAD (403), and so it is by servers that do
    not know HEAD (405, 501, or the connection is closed).

    Raises:
        Failure: As fetch().

    """
    if source.path:
        try:
            return Path(source.path).stat().st_size
        except OSError as error:
            raise _unreadable(source, error) from error
    try:
        with _open(source, stall, {}, "HEAD") as answer:
            return _length(answer)
    except urllib.error.HTTPError as error:
        if error.code in _GONE:
            raise status_failure(source, error) from error
        return None
    except http.client.HTTPException:
        return None
    except (OSError, ValueError) as error:
        raise transfer_failure(source, error, stall, 0, None) from error


def foresee(source: Source, stall: float) -> int | None:
    """Return the size of a file without fetching it; one on this host is read, and its checksum proved.

    Raises:
        Failure: As fetch().

    """
    if not source.path:
        return measure(source, stall)
    file, digest = _open_local(source, None)
    file.close()
    _check_sum(source, digest, size := measure(source, stall) or 0)
    return size


def check_room(folder: Path, size: int | None, have: int = 0) -> None:
    """Stop before the first byte where an archive and what comes out of it will not fit.

    Raises:
        Failure: C(disk_full).

    """
    if size is None:
        return
    state = os.statvfs(folder)
    free, need = state.f_bavail * state.f_frsize, size * _ROOM_FACTOR - have
    if free < need:
        raise Failure(
            "disk_full",
            f"The archive has {format_bytes(size)} and needs {format_bytes(need)} in {folder} while unpacking; {format_bytes(free)} is "
            f"free. Free space there; nothing was changed.",
            free=free,
            needed=need,
        )


def fetch(source: Source, folder: Path, stall: float, report: Report) -> Fetched:
    """Open a file with its checksum proved; nobody has read from it before, and nobody else can write to it.

    There is no limit on the whole, because a large file over a slow line may take hours: only on the time without a byte.
    What came before a connection broke is kept in the folder, and the next try goes on from there.

    Args:
        source: What to fetch.
        folder: Where it is put; a local file with a checksum is copied there.
        stall: Seconds without a byte after which it is given up.
        report: Is told the position as the download goes on, in the phase C(download).

    Raises:
        Failure: C(archive_not_found), C(archive_unreadable), C(download_refused), C(download_unreachable), C(download_stalled),
            C(download_interrupted), C(redirect_refused), C(tls_failed), C(disk_full), C(checksum_mismatch).

    """
    if source.path:
        file, digest = _open_local(source, folder)
    else:
        part = folder / f"{source.sha256}.part"
        if source.sha256 is None:
            part.unlink(missing_ok=True)  # nothing would tell whether it is a part of the same file
        file, digest = _Download(source, part, stall, report).run()
        if source.sha256 in (None, digest):
            part.unlink()  # the open file stays readable, and nothing is left behind
    size = os.fstat(file.fileno()).st_size
    try:
        _check_sum(source, digest, size)
    except Failure:
        file.close()
        if not source.path:
            part.unlink()
        raise
    file.seek(0)
    return Fetched(file, size)


def _check_sum(source: Source, digest: str, size: int) -> None:
    if source.sha256 not in (None, digest):
        raise Failure(
            "checksum_mismatch",
            f"{source} has the SHA-256 {digest} and not {source.sha256} ({format_bytes(size)}). The previous installation is untouched. "
            f"Correct the checksum if it belongs to another version; otherwise the file was altered in transit or is incomplete.",
            found=digest,
        )


def _open_local(source: Source, folder: Path | None) -> tuple[IO[bytes], str]:
    """Open a file of this host, and return its SHA-256.

    What has a checksum is copied while it is hashed, to a file in C(folder) without a name: whoever may write to the original could
    change it between the proof and the unpacking.
    """
    digest = hashlib.sha256()
    try:
        file: IO[bytes] = Path(source.path or "").open("rb")  # noqa: SIM115 - the caller reads on
    except OSError as error:
        raise _unreadable(source, error) from error
    copy = tempfile.TemporaryFile(dir=folder) if folder and source.sha256 else None  # noqa: SIM115 - likewise
    while True:
        try:
            chunk = file.read(_CHUNK)
        except OSError as error:
            raise _unreadable(source, error) from error
        if not chunk:
            break
        digest.update(chunk)
        if copy:
            try:
                copy.write(chunk)
            except OSError as error:
                raise _unkept(source, folder, error) from error
    if copy is None:
        return file, digest.hexdigest()
    file.close()
    copy.flush()
    return copy, digest.hexdigest()


def _unkept(source: Source, folder: Path | None, error: OSError) -> Failure:
    if not full(error):
        raise error
    return Failure(
        "disk_full", f"Copied {source} to {folder}: the disk was full. Free space there; nothing was changed."
    )


def _unreadable(source: Source, error: OSError) -> Failure:
    seen = f"Opened {source} on this host: {error.strerror}."
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure("archive_not_found", f"{seen} Put the file there (ansible.builtin.copy), or correct the url.")
    return Failure("archive_unreadable", f"{seen} It must be a file that the installing user may read.")


class _Download:
    """One download into a part file, in as many tries as the server's ranges allow."""

    def __init__(self, source: Source, part: Path, stall: float, report: Report) -> None:
        self._source = source
        self._part = part
        self._stall = stall
        self._report = report
        self._done = 0
        self._total: int | None = None
        self._ranges: bool | None = None  # whether the server can go on from a byte; None until it answered

    def run(self) -> tuple[IO[bytes], str]:
        file = self._part.open("a+b")
        try:
            digest = hashlib.sha256()
            file.seek(0)
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                self._done += len(chunk)
            tries = 0
            while True:
                tries, before = tries + 1, self._done
                try:
                    digest = self._receive(file, digest)
                    file.flush()
                    return file, digest.hexdigest()
                except urllib.error.HTTPError as error:
                    raise status_failure(self._source, error) from error
                except (OSError, http.client.HTTPException, ValueError) as error:
                    if full(error) or tries == _TRIES or self._done <= before or not self._ranges:
                        raise transfer_failure(self._source, error, self._stall, self._done, self._total) from error
        except BaseException:
            file.close()
            if self._ranges is False or not self._done:
                self._part.unlink()  # nobody could go on with it
            raise

    def _receive(self, file: IO[bytes], digest: Any) -> Any:
        with self._ask() as answer:
            if self._done and not _continues(answer, self._done):
                file.truncate(0)
                self._done, digest = 0, hashlib.sha256()
            length = _length(answer)
            self._total = None if length is None else self._done + length
            self._ranges = (
                answer.status == http.client.PARTIAL_CONTENT or answer.headers.get("Accept-Ranges") == "bytes"
            )
            check_room(self._part.parent, self._total, self._done)
            while chunk := answer.read1(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                self._done += len(chunk)
                self._report(Position("download", self._done, self._total, message=f"Downloading {self._source.name}"))
            if self._total is not None and self._done < self._total:
                raise http.client.IncompleteRead(b"", self._total - self._done)
        return digest

    def _ask(self) -> Any:
        if self._done:
            try:
                return _open(self._source, self._stall, {"Range": f"bytes={self._done}-"})
            except urllib.error.HTTPError as error:
                if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise
        return _open(self._source, self._stall, {})


def _continues(answer: Any, done: int) -> bool:
    return answer.status == http.client.PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(
        f"bytes {done}-"
    )


def _length(answer: Any) -> int | None:
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isdigit() else None


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https:",) if req.full_url.startswith("https:") else ("http:", "https:")
        if not newurl.startswith(allowed):
            raise Failure(
                "redirect_refused",
                f"{req.full_url.partition('?')[0]} redirects to {newurl.partition('?')[0]}, which is not encrypted, so it was not "
                f"followed. Use the final URL.",
            )
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and req.get_method() == "HEAD":
            request.method = "HEAD"  # Python before 3.13 makes it a GET
        return request


def _open(source: Source, stall: float, headers: dict[str, str], method: str = "GET") -> Any:
    request = urllib.request.Request(  # noqa: S310 - http(s) alone, see parse_source
        source.url,
        headers={"User-Agent": "nemoclaw.local_inference", "Accept-Encoding": "identity", **headers},
        method=method,
    )
    handlers: list[urllib.request.BaseHandler] = [_Redirects()]
    if _is_near(request.host):
        handlers.append(urllib.request.ProxyHandler({}))
    if request.type == "https":
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    return urllib.request.build_opener(*handlers).open(request, timeout=stall)


def _is_near(host: str) -> bool:
    """Tell whether a host is this one or in its network: no web proxy reaches it better (NemoClaw issues 2616, 4181)."""
    name = host.rpartition("@")[2].partition("/")[0]
    name = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
    with contextlib.suppress(OSError, UnicodeError, ValueError):
        found = socket.getaddrinfo(name.strip("[]"), None, type=socket.SOCK_STREAM)
        return is_local([str(entry[4][0]) for entry in found])
    return False
