"""Real model servers for the stages that need one (tests/servers runs them)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import paths, venvs
from .run import Run

sys.path.insert(0, str(paths.REPO / "tests" / "servers"))


@dataclass(frozen=True)
class ModelServer:
    """A llama.cpp server that runs: base_url ends with /v1, root_url has no path."""

    base_url: str
    root_url: str
    model: str
    api_key: str

    @property
    def port(self) -> int:
        return urlsplit(self.root_url).port or 0


@contextlib.contextmanager
def model_server(run: Run, behaviour: str, api_key: str) -> Iterator[ModelServer]:
    """Serve one behaviour of tests/servers/scripted_model.py on a free port of 127.0.0.1 until the block ends."""
    from llama_server import serving

    python = venvs.venv(run, "servers") / "python"
    with serving(behaviour, api_key=api_key, python=str(python), cache_dir=paths.CACHE / "models") as server:
        run.say(f"llama.cpp serves `{behaviour}` at {server.root_url}")
        yield ModelServer(server.base_url, server.root_url, server.model, api_key)
