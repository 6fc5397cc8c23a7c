# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listen on a free port of loopback and answer as Ollama does on /api/version, until killed or for two minutes."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/version" else 404)
        self.end_headers()
        self.wfile.write(b'{"version": "0.9.3"}')

    def log_message(self, *args: Any) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Timer(120, server.shutdown).start()
ready = Path(sys.argv[1])
draft = ready.with_suffix(".draft")
draft.write_text(json.dumps({"port": server.server_port, "pid": os.getpid()}))
draft.rename(ready)
server.serve_forever()
os._exit(0)
