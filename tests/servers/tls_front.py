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

    With an authority, clients have to show a certificate of that one, and speak HTTP/2.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self, plain_port: int, certificate: Path, key: Path, port: int = 0, authority: Path | None = None
    ) -> None:
        self.plain_port = plain_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
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
