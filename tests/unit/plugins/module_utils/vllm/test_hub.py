# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hub says of a token. The hub is a double, as it is a service; its statuses are those of huggingface_hub's documentation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm import lifecycle

TOKEN = "hf_0123456789abcdef"


class Hub:
    """A port, the status that is answered, and what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []


@pytest.fixture
def service() -> Iterator[Hub]:
    double = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            double.asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(double.status)
            if double.status == 307:
                self.send_header("Location", f"{double.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        double.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield double
        server.shutdown()


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused(service: Hub, status: int) -> None:
    service.status = status
    with pytest.raises(Failure) as refused:
        lifecycle.check_access(f"{service.url}/", "lab/gated", TOKEN)
    assert (refused.value.code, refused.value.details["status"]) == ("weights_unauthorized", status)
    assert TOKEN not in str(refused.value.as_result())
    assert service.asked == [("/api/models/lab/gated/auth-check", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("status", [200, 307, 404, 429, 500, 501])
def test_other_answers_are_no_reason_to_stop(service: Hub, status: int) -> None:
    service.status = status
    lifecycle.check_access(service.url, "lab/gated", TOKEN)
    assert len(service.asked) == 1, "the token is shown to nobody else"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "file:///etc", "nonsense", "http://[::1"])
def test_a_hub_that_cannot_be_asked(endpoint: str) -> None:
    lifecycle.check_access(endpoint, "lab/gated", TOKEN)
