"""The lab of somebody who types `molecule`: a process in the background holds it from `create` to `destroy`.

Called by molecule/default: `python3 -m suite.by_hand start`, and `stop`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from . import containers, environment, lab, nim_lab, packaging, paths, venvs
from .model import StageFailed, StageSkipped
from .run import Run

# As .config/molecule/config.yml and molecule/default/files/vault-password have them.
_FOLDER = paths.MOLECULE / "by-hand"
_KEY = "canary-of-molecule-by-hand"
_VAULT_PASSWORD = "of-molecule-by-hand"
_LOG = paths.LOGS / "molecule-by-hand.log"
_HOLDER = paths.MOLECULE / "by-hand.pid"
_READY = _FOLDER / "ready"
# The first time environments and images are made: minutes, on a slow line more.
_LIMIT = 1800.0


def main() -> int:
    commands = {"start": _start, "stop": _stop, "hold": _hold}
    return commands[sys.argv[1]]()


def _start() -> int:
    """Return 0 once the lab is there; it is made unless it is there already."""
    started = None if _holder() else _begin()
    deadline = time.monotonic() + _LIMIT
    while not _READY.exists():
        # /proc shows no command line for a moment after the start, and the moment is long on a busy machine.
        lives = started.poll() is None if started else _holder()
        if not lives or time.monotonic() > deadline:
            print("".join(_LOG.read_text(encoding="utf-8").splitlines(keepends=True)[-20:]), file=sys.stderr)
            print(f"The lab was not made; the whole log: {_LOG}", file=sys.stderr)
            return 1
        time.sleep(0.2)
    return 0


def _begin() -> subprocess.Popen[bytes]:
    """Start the process that makes the lab and holds it."""
    paths.MOLECULE.mkdir(parents=True, exist_ok=True)
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_FOLDER, ignore_errors=True)  # what a run left that was killed
    with _LOG.open("w", encoding="utf-8") as log:
        holder = subprocess.Popen(
            [sys.executable, "-B", "-m", "suite.by_hand", "hold"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _HOLDER.write_text(f"{holder.pid}\n", encoding="utf-8")
    return holder


def _stop() -> int:
    """Return 0 once it is gone."""
    process = _holder()
    if process:
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while _holder() and time.monotonic() < deadline:
            time.sleep(0.1)
    _HOLDER.unlink(missing_ok=True)
    return 1 if process and _holder() else 0


def _hold() -> int:
    environment.prepare_home()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _LOG.open("a", encoding="utf-8") as log, contextlib.suppress(KeyboardInterrupt):
        run = Run("molecule-by-hand", log)
        try:
            with _lab(run):
                _READY.touch()
                signal.pause()
        except (StageFailed, StageSkipped) as failure:
            run.say(str(failure))
            return 1
    return 0


@contextlib.contextmanager
def _lab(run: Run) -> Iterator[None]:
    tools = venvs.venv(run, "tools")
    # Scenarios use the collection as it is installed; `bin/test` may run beside this, and has its own.
    installed = paths.CACHE / "by-hand" / "installed"
    packaging.install(run, paths.CACHE / "by-hand" / "dist", installed)
    images = {"vllm": containers.vllm_image(run), "nim": nim_lab.nim_image(run)}
    with lab.opened(
        run,
        tools,
        engine_images=images,
        fleet=lab.fleet_of(run),
        folder=_FOLDER,
        first_key=_KEY,
        vault_password=_VAULT_PASSWORD,
        installed=installed,
    ):
        yield


def _holder() -> int:
    """Return the process that holds the lab, 0 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        process = int(_HOLDER.read_text(encoding="utf-8"))
        words = paths.Path(f"/proc/{process}/cmdline").read_bytes()
        return process if b"suite.by_hand" in words else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
