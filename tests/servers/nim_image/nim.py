# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A NIM for tests: NIM's environment, cache, log and paths, in front of a real llama.cpp server.

A real NIM is 10 GB, wants a GPU and a key of NVIDIA's. What agents get - chat, streams, tool calls - is llama.cpp's; what is a
stand-in is what is said around it. As a NIM it ends within seconds without a key, keeps its model in /opt/nim/.cache, and answers on
/v1/health/ready. NIM_LAB_BEHAVIOUR makes it fail in a way of NIM's, in NIM's words; NIM_LAB_SECONDS slows each step.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, "/opt/lab")

PORT = 8000
CONTEXT_LENGTH = 32768
CACHE = Path("/opt/nim/.cache")
# A server of llama.cpp ends with its object.
_KEPT: list[object] = []
MODEL = os.environ.get("NIM_LAB_MODEL", "meta/llama-3.1-8b-instruct")
# The words of NIM 1.x and 2.x, vLLM and torch.
FAULTS = {
    "oom": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB",
    "import": "ModuleNotFoundError: No module named 'nim_llm_sdk'",
    "disk": "OSError: [Errno 28] No space left on device: '/opt/nim/.cache/ngc'",
    "unknown": "Something happened.",
}


def say(text: str) -> None:
    """Write a line as NIM's logger does."""
    print(time.strftime(f"INFO %Y-%m-%d %H:%M:%S.000 {text}"), flush=True)


def pause() -> None:
    time.sleep(float(os.environ.get("NIM_LAB_SECONDS", "0.2")))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    say("nimutils.py:21] NIM LLM version 0.0.0 (llama.cpp)")
    behaviour, _colon, seconds = os.environ.get("NIM_LAB_BEHAVIOUR", "").partition(":")
    keys = {os.environ.get(name, "") for name in ("NGC_API_KEY", "NIM_NGC_API_KEY")}
    if len(keys) != 1 or "" in keys:
        raise SystemExit("Authentication Error: NGC_API_KEY is not set or NIM_NGC_API_KEY differs from it")
    if behaviour == "tells":
        # Some programs print their environment when they fail.
        raise SystemExit(f"Authentication Error: the key {keys.pop()} was refused: 401 Unauthorized")
    if behaviour == "late":
        time.sleep(float(seconds))
        behaviour = "oom"
    if behaviour in FAULTS:
        raise SystemExit(FAULTS[behaviour])
    if behaviour == "silent":
        threading.Event().wait()
    weights = download()
    for shard in (1, 2):
        print(f"Loading safetensors checkpoint shards: {50 * shard:3d}% Completed | {shard}/2", flush=True)
        pause()
    inner = start_llama(weights)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", PORT), handler(inner, healthy=behaviour != "unhealthy"))
    print("INFO:     Application startup complete.", flush=True)
    server.serve_forever()


def download() -> Path:
    """Have the model in the cache; what is there is not fetched again."""
    wanted = CACHE / "ngc" / "hub" / "model.gguf"
    if wanted.exists():
        say("ngc_injector.py:141] Model workspace is in the cache.")
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    content = Path("/opt/lab/model.gguf").read_bytes()
    part = wanted.with_suffix(".part")
    with part.open("wb") as file:
        for step in range(4):
            say(f"ngc_injector.py:152] Downloading model.gguf {25 * step}%")
            file.write(content[len(content) * step // 4 : len(content) * (step + 1) // 4])
            file.flush()
            pause()
    part.rename(wanted)
    return wanted


def start_llama(weights: Path) -> int:
    """Start llama.cpp on a free port of loopback and return it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.verbosity = 1
    params.model.path = str(weights)
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT_LENGTH
    params.n_parallel = 1
    params.use_jinja = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    _KEPT.append(server)
    return int(server.listening_address.rsplit(":", 1)[1])


def handler(inner: int, healthy: bool) -> type[http.server.BaseHTTPRequestHandler]:
    entry = {"id": MODEL, "object": "model", "owned_by": "system", "root": MODEL, "max_model_len": CONTEXT_LENGTH}
    answers = {"/v1/models": {"object": "list", "data": [entry]}}
    if healthy:
        answers["/v1/health/ready"] = {"object": "health.response", "message": "Service is ready."}

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path not in answers:
                self.send_error(503 if self.path == "/v1/health/ready" else 404)
                return
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith("/v1/"):
                self.send_error(404)
                return
            connection = http.client.HTTPConnection("127.0.0.1", inner, timeout=300)
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Connection", "close")
            self.end_headers()
            while chunk := answer.read1(65536):
                self.wfile.write(chunk)
                self.wfile.flush()
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            # As uvicorn writes each request, ours too.
            say(f"httptools_impl.py:481] {self.client_address[0]}:{self.client_address[1]} - {format % args}")

    return Front


if __name__ == "__main__":
    main()
