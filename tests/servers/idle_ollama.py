# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands for Ollama on a host of lab_host.py, in tests that are about what is before it or around it.

It listens where OLLAMA_HOST says, answers what tells it apart, and has a model in memory that says one word until it is unloaded.
"""

from __future__ import annotations

import lab_host

_PROGRAM = """
import http.server, json, os, socket
loaded = [{"name": "m:latest", "expires_at": "2318-01-01T00:00:00Z"}]
host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {
            "/api/version": b'{"version": "0.32.15"}',
            "/api/tags": b'{"models": []}',
            "/api/ps": json.dumps({"models": loaded}).encode(),
            "/v1/models": b'{"object": "list", "data": [{"id": "m", "object": "model"}]}',
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answers.get(self.path, b"{}"))
    def do_POST(self):
        if json.loads(self.rfile.read(int(self.headers["Content-Length"]))).get("keep_alive") == 0:
            loaded.clear()
        self.send_response(200)
        self.end_headers()
        said = b'{"role": "assistant", "content": "hello"}'
        self.wfile.write(b'{"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": ' + said + b'}]}')
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
Server((host.strip("[]"), int(port)), Handler).serve_forever()
"""
_UNIT = """
[Service]
ExecStart=/usr/local/bin/ollama /opt/ollama.py
User=ollama
Environment=OLLAMA_HOST=127.0.0.1:11434
[Install]
WantedBy=multi-user.target
"""


def install(host: lab_host.LabHost) -> None:
    """Have it run as a service of its own user, by a program that is called as Ollama's is."""
    host.put("/opt/ollama.py", _PROGRAM)
    host.put("/etc/systemd/system/ollama.service", _UNIT)
    host.sh("useradd --system ollama && install $(readlink -f /usr/bin/python3) /usr/local/bin/ollama")
    host.sh("systemctl enable --now ollama.service")
