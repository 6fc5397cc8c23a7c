# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Ollama 0.9.3 and a real registry, each with an empty store for each test that asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import model_registry
import ollama_server
import pytest

if "OLLAMA_TEST_HOME" not in os.environ:
    pytest.skip("OLLAMA_TEST_HOME names no environment made by ollama_server.py --install", allow_module_level=True)


@pytest.fixture
def ollama() -> Iterator[ollama_server.Ollama]:
    with ollama_server.serving() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def registry() -> Iterator[model_registry.Registry]:
    with model_registry.serving() as running:
        yield running


@pytest.fixture
def pull(ollama: ollama_server.Ollama) -> Any:
    """Return a function that pulls a model by Ollama's own client."""
    import http.client
    import json

    def get(name: str) -> None:
        connection = http.client.HTTPConnection(*ollama.host.split(":"), timeout=60)
        connection.request("POST", "/api/pull", json.dumps({"model": name, "insecure": True, "stream": False}))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

    return get
