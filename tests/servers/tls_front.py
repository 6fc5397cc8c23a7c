# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS on 127.0.0.1 in front of a plain server: the llama.cpp in PyPI's wheel is built without TLS, and gRPC's own says nothing to a client
whose certificate it refuses."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import threading
from pathlib import Path


class TlsFront(socketserver.ThreadingTCPServer):
    """Accept TLS on a port of 127.0.0.1 (0: a free one) and pass the bytes to and from a plain port there.

    With an authority, clients have to show a certificate of that one, and speak HTTP/2; who speaks no TLS gets HTTP's 404, as from a real
    gateway of OpenShell.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self, plain_port: int, certificate: Path, key: Path, port: int = 0, authority: Path | None = None
    ) -> None:
        self.plain_port = plain_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.answers_plain = authority is not None
        if authority:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(authority)
            self.context.set_alpn_protocols(["h2"])
        super().__init__(("127.0.0.1", port), _Relay)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"


class _Relay(socketserver.BaseRequestHandler):
    server: TlsFront

    def handle(self) -> None:
        # A client that refuses our certificate ends here: that is what such a test wants, and nothing to report.
        with contextlib.suppress(OSError):
            if self.server.answers_plain and self.request.recv(1, socket.MSG_PEEK) != _HANDSHAKE:
                _answer_404(self.request)
                return
            client = self.server.context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            try:
                client.do_handshake()
            except ssl.SSLError:
                _say_farewell(client)
                raise
            self._relay_from(client)

    def _relay_from(self, client: ssl.SSLSocket) -> None:
        with client as outside, socket.create_connection(("127.0.0.1", self.server.plain_port)) as inside:
            _relay(outside, inside)


# The first byte of TLS.
_HANDSHAKE = b"\x16"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Frames of HTTP/2 (RFC 9113, sections 4.1 and 6): HEADERS, SETTINGS and PING; flags: an acknowledgement, or the end of headers and stream.
_HEADERS, _SETTINGS, _PING = 1, 4, 6
_ACKNOWLEDGED, _ENDED = 1, 5
# RFC 7541, appendix A: the entry ":status: 404" of HPACK's static table.
_STATUS_404 = b"\x8d"


def _answer_404(client: socket.socket) -> None:
    """Answer every request with 404, in HTTP/2 or before."""
    with client.makefile("rb") as asked:
        begun = asked.read(len(_PREFACE))
        if begun != _PREFACE:
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        client.sendall(_frame(_SETTINGS, 0, bytes(4)))
        while head := asked.read(9):
            kind, flags, stream = head[3], head[4], head[5:]
            content = asked.read(int.from_bytes(head[:3], "big"))
            if kind == _HEADERS:
                client.sendall(_frame(_HEADERS, _ENDED, stream, _STATUS_404))
            elif kind in (_SETTINGS, _PING) and not flags & _ACKNOWLEDGED:
                client.sendall(_frame(kind, _ACKNOWLEDGED, stream, content if kind == _PING else b""))


def _frame(kind: int, flags: int, stream: bytes, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream + content


def _say_farewell(client: ssl.SSLSocket) -> None:
    """Have the alert reach the client: a socket that is closed with bytes unread resets the connection."""
    client.settimeout(5)
    socket.socket.shutdown(client, socket.SHUT_WR)
    while socket.socket.recv(client, 65536):
        pass


def _relay(outside: ssl.SSLSocket, inside: socket.socket) -> None:
    """Copy both ways in one thread (one TLS object must not be read and written at once) until either side ends."""
    while True:
        # A decrypted rest inside the TLS object does not make its socket readable.
        waiting = [outside] if outside.pending() else select.select([outside, inside], [], [])[0]
        for source in waiting:
            data = source.recv(65536)
            if not data:
                return
            (inside if source is outside else outside).sendall(data)
