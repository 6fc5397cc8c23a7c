# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of a download means, and which redirects are followed. Downloads themselves are in tests/real/test_ollama_install.py."""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import os
import socket
import ssl
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch import download
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.fetch.download import (
    Source,
    status_failure,
    transfer_failure,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import silent

SOURCE = Source("https://mirror.example/a.tgz?sig=s3cret", None, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk_full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "disk_full"),
        (urllib.error.URLError(ssl.SSLCertVerificationError("self signed")), "tls_failed"),
        (ssl.SSLError("record layer failure"), "tls_failed"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "download_unreachable"),
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "download_unreachable"),
        (urllib.error.URLError(socket.timeout("timed out")), "download_unreachable"),
        (urllib.error.URLError(OSError("Tunnel connection failed: 403 Forbidden")), "download_unreachable"),
        (socket.timeout("timed out"), "download_stalled"),
        (ConnectionResetError(104, "Connection reset by peer"), "download_interrupted"),
        (http.client.IncompleteRead(b"", 5), "download_interrupted"),
        (http.client.BadStatusLine("<html>"), "download_interrupted"),
        (ValueError("odd"), "download_interrupted"),
    ],
)
def test_errors(error: Exception, code: str) -> None:
    failure = transfer_failure(SOURCE, error, 60, 1024, 2048)
    assert failure.code == code
    assert "s3cret" not in failure.message
    assert failure.message.endswith(".")
    if code in ("download_stalled", "download_interrupted"):
        assert failure.details == {"completed": 1024, "total": 2048}


@pytest.mark.parametrize(
    ("proxy", "error", "said"),
    [
        (
            "http://svc:canary@proxy.example:3128",
            urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
            "by the web proxy proxy.example:3128: [Errno -2] Name or service not known. The previous installation is untouched. Check "
            "HTTPS_PROXY and the proxy, or add the server to NO_PROXY, or ",
        ),
        (
            "http://svc:canary@proxy.example:3128",
            urllib.error.URLError(OSError("Tunnel connection failed: 407 Proxy Authentication Required")),
            "The web proxy proxy.example:3128 rejects the user or password: correct them in HTTPS_PROXY ",
        ),
        ("svc:canary@proxy.example:x", http.client.InvalidURL("nonnumeric port: 'canary'"), "that is no address. "),
    ],
)
def test_a_web_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, error: Exception, said: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setattr(download, "_is_near", lambda host: False)
    failure = transfer_failure(SOURCE, error, 60, 0, None)
    assert (failure.code, said in failure.message) == ("download_unreachable", True), failure.message
    assert "canary" not in failure.message
    assert "svc" not in failure.message
    refused = status_failure(SOURCE, urllib.error.HTTPError(SOURCE.url, 407, "no", Message(), io.BytesIO()))
    assert (refused.code, "correct them in HTTPS_PROXY" in refused.message) == ("download_refused", True)
    assert "canary" not in refused.message


@pytest.mark.parametrize(
    ("status", "code"), [(404, "archive_not_found"), (410, "archive_not_found"), (503, "download_refused")]
)
def test_statuses(status: int, code: str) -> None:
    failure = status_failure(SOURCE, urllib.error.HTTPError(SOURCE.url, status, "no", Message(), io.BytesIO()))
    assert (failure.code, failure.details) == (code, {"status": status})


@pytest.mark.parametrize(
    ("start", "target", "followed"),
    [
        ("https://a.example/x", "https://b.example/y", True),
        ("http://a.example/x", "https://b.example/y", True),
        ("http://a.example/x", "http://b.example/y", True),
        ("https://a.example/x", "http://b.example/y", False),
        ("http://a.example/x", "file:///etc/passwd", False),
        ("http://a.example/x", "ftp://b.example/y", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_redirects(start: str, target: str, followed: bool, method: str) -> None:
    request = urllib.request.Request(start, headers={"Range": "bytes=5-"}, method=method)
    handler = download._Redirects()
    if not followed:
        with pytest.raises(Failure) as failed:
            handler.redirect_request(request, None, 302, "Found", Message(), target)
        assert failed.value.code == "redirect_refused"
        return
    new = handler.redirect_request(request, None, 302, "Found", Message(), target)
    assert (new.full_url, new.get_method(), new.get_header("Range")) == (target, method, "bytes=5-")


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1:8080", True), ("[::1]:8080", True), ("10.1.2.3", True), ("192.168.1.1:80", True), ("8.8.8.8", False)],
)
def test_which_hosts_are_near(host: str, near: bool) -> None:
    assert download._is_near(host) is near


def test_what_is_unpacked_is_what_was_hashed(tmp_path: Path) -> None:
    """Whoever may write to the archive writes to it between the proof of its checksum and the unpacking."""
    archive, folder = tmp_path / "a.tgz", tmp_path / "staging"
    folder.mkdir()
    archive.write_bytes(b"good")
    source = Source(str(archive), str(archive), hashlib.sha256(b"good").hexdigest())
    fetched = download.fetch(source, folder, 1, silent)
    with archive.open("r+b") as same:
        same.write(b"evil")
    with fetched.file:
        assert (fetched.file.read(), fetched.size) == (b"good", 4)
    assert list(folder.iterdir()) == []


def test_a_look_copies_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(b"good")
    source = Source(str(archive), str(archive), hashlib.sha256(b"good").hexdigest())
    assert download.foresee(source, 1) == 4
    with pytest.raises(Failure) as stopped:
        download.foresee(source._replace(sha256="0" * 64), 1)
    assert stopped.value.code == "checksum_mismatch"
