# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Run the real llama.cpp server (PyPI xllamacpp) for tests and for the demo, on 127.0.0.1.

    python llama_server.py --model good.gguf --alias scripted --ready-file /tmp/url
    LLAMA_API_KEY=... python llama_server.py --behaviour good --alias scripted --port 8080 --stay

From pytest: `with serving("good", api_key="k") as server:` builds the model and runs the server in a process of its own, so
that pytest's own interpreter needs neither xllamacpp nor gguf: SCRIPTED_SERVERS_PYTHON names one that has requirements.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_LIMIT = 30.0  # seconds; the server is up in a tenth of a second, an interpreter on a busy machine takes longer
CONTEXT_LENGTH = 32768


@dataclass(frozen=True)
class Server:
    """A running server. root_url has no path (for Anthropic), base_url ends with /v1 (for OpenAI); model is what it serves."""

    root_url: str
    model: str
    log: Path
    pid: int

    @property
    def base_url(self) -> str:
        return f"{self.root_url}/v1"

    def generated(self) -> int:
        """Return how many tokens it has generated since its start."""
        with _opener().open(f"{self.root_url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        name = "llamacpp:tokens_predicted_total "
        return next(int(float(line[len(name) :])) for line in text.splitlines() if line.startswith(name))


def cached_model(behaviour: str, cache_dir: Path, python: str) -> Path:
    """Return the model file of a behaviour, built where the cache has none made from the present sources."""
    sources = b"".join((HERE / name).read_bytes() for name in ("scripted_model.py", "template.jinja", "words.txt"))
    path = cache_dir / f"{behaviour}-{hashlib.sha256(sources).hexdigest()[:12]}.gguf"
    if not path.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        # Two stages of one suite may build the same model, each in a thread.
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        command = [python, str(HERE / "scripted_model.py"), "--behaviour", behaviour, "--out", str(part)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"{behaviour}: the model could not be built with {python}:\n{made.stderr[-2000:]}")
        part.replace(path)
    return path


@contextlib.contextmanager
def serving(
    behaviour: str = "good",
    api_key: str | None = None,
    alias: str = "scripted",
    n_ctx: int = CONTEXT_LENGTH,
    tls: tuple[Path, Path] | None = None,
    cache_dir: Path | None = None,
    python: str | None = None,
    model: Path | None = None,
    bind: str = "127.0.0.1",
) -> Iterator[Server]:
    """
    Serve a behaviour of scripted_model.py until the block ends.

    model: a file of real weights to serve instead. tls: certificate and key file (PEM). n_ctx: tokens.
    bind: an address of this machine by which others reach it.
    RuntimeError with the server's log where it does not start.
    """
    python = python or os.environ.get("SCRIPTED_SERVERS_PYTHON") or sys.executable
    cache_dir = cache_dir or Path(tempfile.gettempdir()) / f"scripted-models-{os.getuid()}"
    model = model or cached_model(behaviour, cache_dir, python)
    with tempfile.TemporaryDirectory(prefix="llama-server-") as scratch:
        ready, log = Path(scratch, "url"), Path(scratch, "log")
        command = [python, str(HERE / "llama_server.py"), "--model", str(model), "--alias", alias]
        command += ["--n-ctx", str(n_ctx), "--ready-file", str(ready), "--bind", bind]
        if tls:
            command += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
        environment = {name: value for name, value in os.environ.items() if name != "LLAMA_API_KEY"}
        if api_key:
            environment["LLAMA_API_KEY"] = api_key
        with log.open("wb") as sink:
            process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        try:
            _wait_for(ready, process, log)
            base_url = ready.read_text(encoding="utf-8").strip()
            yield Server(base_url[: -len("/v1")], alias, log, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(ready: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise RuntimeError(f"The llama.cpp server did not start (exit status {process.poll()}):\n{tail}")
        time.sleep(0.01)


def run(options: argparse.Namespace) -> None:
    """Start the server, say where it is once it is healthy, and stay until a signal or the end of the parent process."""
    import xllamacpp  # here, so that serving() can be imported where this is missing
    from tls_front import TlsFront

    parent = os.getppid()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    params = xllamacpp.CommonParams()
    params.verbosity = 4 if options.verbose else 1  # 1: errors only
    params.model.path = str(options.model)
    params.model_alias = {options.alias}
    params.hostnames = [options.bind]
    params.port = 0 if options.tls_cert else options.port
    params.n_ctx = options.n_ctx
    params.n_parallel = 1
    params.use_jinja = True
    params.endpoint_metrics = True  # /metrics counts the tokens
    # Two threads wait for each other after every operation: on a busy machine that costs up to a hundred times the work.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    key = options.api_key_file.read_text(encoding="utf-8").strip() if options.api_key_file else ""
    key = key or os.environ.get("LLAMA_API_KEY", "")
    if key:
        params.api_keys = [key]

    try:
        server = xllamacpp.Server(params)  # returns when it listens
    except RuntimeError as error:
        raise SystemExit(f"llama.cpp did not start with {options.model}: {error}") from error
    root_url = server.listening_address
    _wait_until_healthy(root_url, stop)
    if options.tls_cert:
        plain_port = int(root_url.rsplit(":", 1)[1])
        root_url = TlsFront(plain_port, options.tls_cert, options.tls_key, options.port).url
    print(f"{root_url}/v1", flush=True)
    if options.ready_file:
        part = options.ready_file.with_name(options.ready_file.name + ".part")
        part.write_text(f"{root_url}/v1\n", encoding="utf-8")
        part.replace(options.ready_file)
    while not stop.wait(0.2):
        if not options.stay and os.getppid() != parent:
            break
    # The server's threads may be in the middle of an endless answer: nothing to save, so leave without joining them.
    os._exit(0)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment


def _wait_until_healthy(root_url: str, stop: threading.Event) -> None:
    opener = _opener()
    deadline = time.monotonic() + START_LIMIT
    while not stop.is_set():
        try:
            with opener.open(f"{root_url}/health", timeout=5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"{root_url}/health did not answer 200 in {START_LIMIT:.0f} s: {error}") from error
        stop.wait(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the real llama.cpp server on 127.0.0.1.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="GGUF file")
    source.add_argument("--behaviour", help="a behaviour of scripted_model.py, built into a cache")
    parser.add_argument("--alias", default="scripted", help="model name to serve (default: scripted)")
    parser.add_argument("--api-key-file", type=Path, help="default: environment LLAMA_API_KEY; neither: no key needed")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--n-ctx", type=int, default=CONTEXT_LENGTH, help="context length in tokens")
    parser.add_argument("--ready-file", type=Path, help="gets the base URL once the server is healthy")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--stay", action="store_true", help="do not end with the parent process")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    if options.behaviour:
        cache_dir = Path(tempfile.gettempdir()) / f"scripted-models-{os.getuid()}"
        try:
            options.model = cached_model(options.behaviour, cache_dir, sys.executable)
        except RuntimeError as error:
            raise SystemExit(str(error)) from error
    run(options)


if __name__ == "__main__":
    main()
