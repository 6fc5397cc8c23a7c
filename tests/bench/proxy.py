"""Measure the gate against the same server without it, and against a Node http proxy of the usual shape.

The configuration is the one that the module proxy_gate writes, with its defaults: one worker. In each round the three take turns, so
that a busy machine slows all of them.
  requests  answers a second of 200 bytes of JSON over 16 connections (wrk), every one with the Bearer check
  cpu       CPU time of the server's worker, or of Node, for each of these requests: what other work on the machine blurs the least
  streams   delay of an event, from when the server writes it to when the client reads it: 50 streams, an event each 20 ms

Run it as `python tests/bench/proxy.py` with ansible_collections importable; needs nginx, node and wrk. Prints figures and ratios beside
the bars of docs/benchmarks.md; never fails on a slow machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import configuration

TOP = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = 4
CONNECTIONS = 16
STREAMS = 50
EVENTS = 100
PAUSE = 0.02

# Where the requests go: nginx, because no other server of this machine is fast enough to show what a gate costs.
BACKEND = """
worker_processes 1; daemon off; pid {folder}/backend.pid; error_log stderr crit;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; return 200 '{{"answer": "{padding}"}}'; }}
}}
"""


def main() -> None:
    """Run both benchmarks."""
    for program in ("nginx", "node", "wrk"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            sys.exit(f"{program} is not on this machine (apt-get install nginx nodejs wrk)")
    token = secrets.token_hex(24)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        backend, streams = free_port(), running.enter_context(stream_server())
        server = running.enter_context(nginx(Path(folder), "backend", backend, backend_config(Path(folder), backend)))
        gates, processes = {}, {backend: server}
        for name, behind in (("requests", backend), ("streams", streams)):
            gate, node = free_port(), free_port()
            config = gate_config(Path(folder) / f"{name}.tokens", token, gate, behind)
            processes[gate] = running.enter_context(nginx(Path(folder), name, gate, config))
            processes[node] = running.enter_context(node_proxy(node, behind, token))
            gates[name] = {"direct": behind, "gate": gate, "node": node}
        seen = in_turn(gates["requests"], lambda port: requests(port, token, processes[port]))
        show_requests({name: [rate for rate, _cpu in figures] for name, figures in seen.items()})
        show("CPU a request", {name: [cpu for _rate, cpu in figures] for name, figures in seen.items()}, 1e6, "us")
        show_delays(in_turn(gates["streams"], lambda port: delays(port, token)))


def in_turn(ports: dict[str, int], measure) -> dict[str, list]:
    """Return what each gave, round by round, after one round that does not count."""
    seen: dict[str, list] = {name: [] for name in ports}
    for number in range(ROUNDS + 1):
        for name, port in ports.items():
            figure = measure(port)
            if number:
                seen[name].append(figure)
    return seen


def requests(port: int, token: str, process: int) -> tuple[float, float]:
    """Return the requests a second that wrk counts, and the CPU seconds of the server for each.

    An answer that is no 200 makes the figures worthless, and ends the benchmark.
    """
    before = cpu_seconds(process)
    header = f"Authorization: Bearer {token}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", header, f"http://127.0.0.1:{port}/v1/models"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        sys.exit(f"port {port} refused: {said}")
    answered = int(re.search(r"(\d+) requests in", said)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    return rate, (cpu_seconds(process) - before) / answered


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and of its children, which are the workers of nginx."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    stats = [Path(f"/proc/{one}/stat").read_text(encoding="utf-8") for one in (process, *children)]
    ticks = sum(int(number) for text in stats for number in text.rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def delays(port: int, token: str) -> float:
    """Return the 99th percentile of the events' delays in seconds, over all streams at once."""
    found: list[float] = []

    def follow() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/stream", headers={"Authorization": f"Bearer {token}"})
        found.extend(
            time.monotonic() - float(line[6:]) for line in connection.getresponse() if line.startswith(b"data: ")
        )
        connection.close()

    threads = [threading.Thread(target=follow) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != STREAMS * EVENTS:
        sys.exit(f"port {port} gave {len(found)} events of {STREAMS * EVENTS}")
    return statistics.quantiles(found, n=100)[98]


def show_requests(seen: dict[str, list[float]]) -> None:
    """Print requests a second and the two ratios, each the median of the rounds' own ratios."""
    show("requests/s", seen, 1.0, "")
    to_direct = statistics.median(gate / direct for gate, direct in zip(seen["gate"], seen["direct"]))
    to_node = statistics.median(gate / node for gate, node in zip(seen["gate"], seen["node"]))
    print(f"  gate against direct   {to_direct:6.0%}   (bar: at least 40 %)")
    print(f"  gate against node     {to_node:6.1f}x  (bar: at least 2x)")


def show_delays(seen: dict[str, list[float]]) -> None:
    """Print the delays and what the gate adds."""
    show("event delay p99", seen, 1000.0, "ms")
    for name in ("gate", "node"):
        added = statistics.median(one - direct for one, direct in zip(seen[name], seen["direct"]))
        print(f"  added by {name:<5}        {1000 * added:6.2f} ms" + ("  (bar: under 5 ms)" if name == "gate" else ""))


def show(title: str, seen: dict[str, list[float]], scale: float, unit: str) -> None:
    """Print minimum, median and maximum of each of the three."""
    for name, figures in seen.items():
        low, middle, high = (scale * figure for figure in (min(figures), statistics.median(figures), max(figures)))
        print(f"{title:<16} {name:<7} min {low:9.1f}   median {middle:9.1f}   max {high:9.1f} {unit}")


def gate_config(tokens: Path, token: str, port: int, behind: int) -> str:
    """Return the auth proxy's own configuration with its defaults, for these ports and with files of this benchmark."""
    tokens.write_text(f'"Bearer {token}" 1;\n', encoding="utf-8")
    gate = configuration.Gate("ollama", port, upstream_port=behind)
    made = configuration.render_config(configuration.ProxySettings([gate], ["127.0.0.1"]))
    for path, own in (
        (configuration.TOKENS, tokens),
        (configuration.PID, f"{tokens}.pid"),
        (configuration.TEMP, tokens.parent / "temp"),
    ):
        made = made.replace(f" {path};", f" {own};")
    return made.replace(f"user {configuration.ACCOUNT};", "user root;") + "daemon off;\n"


def backend_config(folder: Path, port: int) -> str:
    """Return the configuration of the server behind."""
    return BACKEND.format(folder=folder, port=port, padding="x" * 187)


@contextlib.contextmanager
def nginx(folder: Path, name: str, port: int, config: str) -> Iterator[int]:
    """Run nginx in the foreground until the block ends, and give its process id."""
    path = folder / f"{name}.conf"
    path.write_text(config, encoding="utf-8")
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    with running([program, "-c", path], port) as process:
        yield process


@contextlib.contextmanager
def node_proxy(port: int, behind: int, token: str) -> Iterator[int]:
    """Run the peer until the block ends, and give its process id."""
    with running(["node", TOP / "tests" / "bench" / "node_proxy.js", str(port), str(behind)], port, token) as process:
        yield process


@contextlib.contextmanager
def running(command: list, port: int, told: str = "") -> Iterator[int]:
    """Run a server until the block ends, and give its process id; begin once it listens."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(told)
        process.stdin.close()
        try:
            for _attempt in range(200):
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            else:
                sys.exit(f"{command[0]} does not listen")
            yield process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def stream_server() -> Iterator[int]:
    """Serve streams of events that carry the time of their writing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for _number in range(EVENTS):
                self.wfile.write(f"data: {time.monotonic()}\n\n".encode())
                time.sleep(PAUSE)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = STREAMS

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def free_port() -> int:
    """Return a port of loopback that nobody holds at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


if __name__ == "__main__":
    main()
