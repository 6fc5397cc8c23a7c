# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user sees while a real Ollama pulls from a real, slow registry: in a terminal, in a log, after Ctrl-C and after a lost connection.

ansible-playbook is the one beside the Python that runs pytest, and the one in the folder that OLDEST_CORE names. The host is this
machine, and once a container that is reached over ssh, of the image that LAB_FIREWALL_IMAGE names.
"""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

import model_registry
import ollama_server
import payloads
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

COLLECTIONS = Path(failure.__file__).parents[5]
MEGABYTES = 1_000_000
LIMIT = 300  # seconds for one playbook; on two busy cores one has taken two minutes
# The worker that does the work has the module's command line as well, but no sshd for its parent.
CUT = """
look() { pgrep -f AnsiballZ_ollama_model -P "$(pgrep -d, -u lab sshd)"; }
until look; do sleep 0.05; done
pkill -KILL -u lab sshd
"""
OURS = "nemoclaw.local_inference.progress"
PLAY = """
- name: Have a model
  hosts: all
  gather_facts: false
  tasks:
    - name: Have the model
      nemoclaw.local_inference.ollama_model:
        name: "{{ model }}"
        host: "{{ daemon }}"
        allow_download: true
        insecure_registry: true
        stall_timeout: 3
        wait: 2
        jobs_path: "{{ jobs | default(playbook_dir) }}/{{ inventory_hostname }}/jobs"

    - name: Fail twice, as tasks do that have no progress
      ansible.builtin.command: /bin/false
      register: other
      until: other is succeeded
      retries: 2
      delay: 0
      changed_when: false
      ignore_errors: true
"""


@dataclass
class Play:
    """A play that runs, and what it has printed: each piece with the seconds at which it came."""

    process: subprocess.Popen[bytes]
    source: int
    pieces: list[tuple[float, str]] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(text for when, text in self.pieces)

    def read(self, until: str | None = None) -> str:
        """Take in what it prints until a text has come; without one until its end."""
        deadline = time.monotonic() + LIMIT
        while until is None or until not in self.output:
            assert time.monotonic() < deadline, self.output
            if not select.select([self.source], [], [], 1)[0]:
                continue
            try:
                piece = os.read(self.source, 65_536)
            except OSError:  # a terminal that nobody has open any more
                piece = b""
            if not piece:
                assert until is None, self.output
                self.process.wait(LIMIT)
                break
            self.pieces.append((time.monotonic(), piece.decode()))
        return self.output


@dataclass
class Controller:
    """A core, and a folder for what its plays keep."""

    bin: Path
    folder: Path
    variables: str
    container: str = ""
    connection: tuple[str, ...] = ("-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")

    @contextmanager
    def playing(
        self, callback: str, hosts: str = "spark-1,", terminal: bool = False, **settings: str
    ) -> Iterator[Play]:
        (self.folder / "play.yml").write_text(PLAY, encoding="utf-8")
        (self.folder / "ansible.cfg").touch()
        environment = {
            name: value
            for name, value in os.environ.items()
            # Under xdist COLUMNS says what is not the width of this terminal.
            if name != "COLUMNS" and not name.startswith(("ANSIBLE_", "NEMOCLAW_", "PYTHON"))
        }
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_LOG_PATH": str(self.folder / "log"),
            "ANSIBLE_STDOUT_CALLBACK": callback,
            "NO_COLOR": "1",
            "TERM": "xterm",
            **payloads.environment(),
            **settings,
        }
        command = [str(self.bin / "ansible-playbook"), "-i", hosts, *self.connection, str(self.folder / "play.yml")]
        command += ["-e", self.variables]
        source, sink = pty.openpty() if terminal else os.pipe()
        if terminal:
            ioctl(sink, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
        os.close(sink)
        try:
            yield Play(process, source)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(source)

    def play(self, callback: str, **options: str | bool) -> Play:
        """Run a play to its end."""
        with self.playing(callback, **options) as play:  # type: ignore[arg-type]
            play.read()
        return play


@pytest.fixture
def slow(registry: model_registry.Registry) -> Iterator[model_registry.Registry]:
    """Return the registry with a slow line; what a test makes of it ends with the test."""
    registry.content.rate = 4 * MEGABYTES
    yield registry
    registry.content.rate = registry.content.silent_after = None


@pytest.fixture
def newest(tmp_path: Path, ollama: ollama_server.Ollama, slow: model_registry.Registry) -> Controller:
    """Return a controller with the core beside pytest, and a model to pull in seconds."""
    model = slow.push("lab/model", "1b", padding=24 * MEGABYTES)
    return Controller(Path(sys.executable).parent, tmp_path, f"model={model} daemon={ollama.host}")


@pytest.fixture(params=["newest", "oldest"])
def controller(request: pytest.FixtureRequest, newest: Controller) -> Controller:
    """Return the same, and one with the oldest core that we support: for what is drawn while Ansible prints."""
    if request.param == "oldest":
        if "OLDEST_CORE" not in os.environ:
            pytest.skip("OLDEST_CORE names no folder with the ansible-playbook of the oldest core")
        newest.bin = Path(os.environ["OLDEST_CORE"])
    return newest


def percents(text: str) -> list[int]:
    return [int(share) for share in re.findall(r" (\d+) %", text)]


def test_a_log(controller: Controller, slow: model_registry.Registry) -> None:
    slow.content.rate = 1.2 * MEGABYTES
    play = controller.play(OURS)
    assert play.process.returncode == 0, play.output
    lines = re.findall(r"^progress: \[spark-1\] => Pulling .*$", play.output, re.MULTILINE)
    assert 2 <= len(lines) <= 8
    assert percents(play.output) == sorted(percents(play.output))
    assert any(re.search(r": \d+ %, [\d.]+ of 22\.9 MiB, [\d.]+ [KM]iB/s, \d+ s left$", text) for text in lines), lines
    assert "\nchanged: [spark-1]\n" in play.output
    # It came while the model was pulled, although Python buffers what goes to a pipe. How far lines are apart is a unit test's
    # matter: here other tests load the machine.
    shown, ended = (next(when for when, text in play.pieces if word in text) for word in ("progress: [", "changed: ["))
    assert ended - shown > 10
    # What has no progress looks as ever.
    assert play.output.count("FAILED - RETRYING: [spark-1]: Fail twice") == 2
    assert play.output.count("RETRYING") == 2
    assert "\033" not in play.output
    assert not list(controller.folder.rglob("jobs/*"))


def test_a_terminal(controller: Controller, slow: model_registry.Registry) -> None:
    slow.content.rate = 2 * MEGABYTES
    play = controller.play(OURS, hosts="spark-1,spark-2,", terminal=True)
    assert play.process.returncode == 0, play.output
    shown = play.output.replace("\r\n", "\n")
    for host in ("spark-1", "spark-2"):
        bars = re.findall(rf"{host}  Pulling \S+  \[(#*)-*\]  \d+ %  [\d.]+ of 22\.9 MiB", shown)
        assert len({len(done) for done in bars}) > 2, "it does not grow"
    # Whatever was drawn was taken away again, and nothing else with it.
    seen = _what_is_left(shown)
    assert "[#" not in seen
    assert "Pulling" not in seen
    for text in (
        "TASK [Have the model] ***",
        "changed: [spark-1]\n",
        "changed: [spark-2]\n",
        "TASK [Fail twice",
        "PLAY RECAP",
    ):
        assert seen.count(text) == 1
    # The log has lines, not bars.
    log = (controller.folder / "log").read_text(encoding="utf-8")
    assert "progress: [spark-1] => Pulling" in log
    assert "[#" not in log
    assert "\033" not in log


def _what_is_left(written: str) -> str:
    """Return what can be seen on a terminal of any height afterwards; the callback moves up by lines and erases to the end."""
    lines = [""]
    for token in re.split(r"(\n|\033\[\d+A\r\033\[J)", written):
        if token == "\n":
            lines.append("")
        elif token.startswith("\033"):
            height = int(token[2 : token.index("A")])
            lines = [*lines[: -1 - height], ""]
        else:
            assert "\033" not in token
            lines[-1] += token
    return "\n".join(lines)


@pytest.fixture
def far(newest: Controller) -> Iterator[Controller]:
    """Return a controller whose host is reached over ssh: a container that shares the network of this machine, as Ollama does."""
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    key, name = newest.folder / "key", f"nemoclaw-progress-{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    serve = "\n".join(
        (
            "install -d -o lab -g lab -m 0700 /home/lab/.ssh",
            "install -o lab -g lab -m 0600 /dev/stdin /home/lab/.ssh/authorized_keys",
            "ssh-keygen -A && mkdir -p /run/sshd",
            f"exec /usr/sbin/sshd -D -e -o ListenAddress=127.0.0.1 -o Port={port}",
        )
    )
    words = ["docker", "run", "--rm", "--interactive", f"--name={name}", "--network=host", "--tmpfs=/run"]
    words += [os.environ["LAB_FIREWALL_IMAGE"], "bash", "-euc", serve]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(key.with_suffix(".pub").read_text())
        server.stdin.close()
        said = ""
        while "Server listening" not in said:
            said += (line := server.stdout.readline())
            assert line, f"sshd ended: {said}"
        newest.container = name
        ssh = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=60s"
        address = {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_user": "lab", "jobs": "/home/lab"}
        newest.connection = (
            "-c",
            "ssh",
            f"--private-key={key}",
            f"--ssh-common-args={ssh}",
            "-e",
            json.dumps({**address, "ansible_python_interpreter": "/usr/bin/python3"}),
        )
        yield newest
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        server.wait(30)


def test_a_terminal_over_ssh_whose_connection_is_cut(far: Controller, slow: model_registry.Registry) -> None:
    before, slow.content.rate = slow.content.sent, MEGABYTES
    # Ansible makes a folder for its sockets in ANSIBLE_HOME, whose name would be too long for one there.
    with (
        tempfile.TemporaryDirectory(prefix="ssh-") as sockets,
        far.playing(OURS, terminal=True, ANSIBLE_SSH_CONTROL_PATH_DIR=sockets) as play,
    ):
        play.read(until="Pulling")
        cut = ["docker", "exec", far.container, "timeout", "60", "sh", "-c", CUT]
        subprocess.run(cut, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        play.read()
    assert play.process.returncode == 0, play.output
    assert re.search(r"spark-1  Pulling \S+  \[#*-*\]  \d+ %  [\d.]+ of 22\.9 MiB", play.output)
    assert "Connection lost, reconnecting while the work continues" in play.output
    assert "\nchanged: [spark-1]\r\n" in play.output.replace("\033[J", "\n")
    assert slow.content.sent - before < 25 * MEGABYTES, "it was begun again"


def test_without_the_callback_there_is_life_too(newest: Controller) -> None:
    play = newest.play("ansible.builtin.minimal")
    assert play.process.returncode == 0, play.output
    assert re.search(r"^progress: \[spark-1\] => Pulling \S+: \d+ %, ", play.output, re.MULTILINE), play.output
    assert "RETRYING: [spark-1]: Have the model" not in play.output
    assert "spark-1 | CHANGED => {" in play.output


def test_a_play_that_is_broken_off(newest: Controller, slow: model_registry.Registry) -> None:
    before, slow.content.rate = slow.content.sent, 0.6 * MEGABYTES
    with newest.playing(OURS, terminal=True) as play:
        play.read(until="[##")
        # A worker of Ansible that is hit while it reports leaves Ansible's queue locked, and Ansible hangs at its end (its SimpleQueue,
        # whatever the callback). It has just reported, and does so again in two seconds.
        time.sleep(0.5)
        os.killpg(play.process.pid, signal.SIGINT)
        play.read()
    assert play.process.returncode != 0
    # No bar stays below the prompt.
    assert "Pulling" not in _what_is_left(play.output.replace("\r\n", "\n"))
    sent = slow.content.sent
    deadline = time.monotonic() + 20
    while slow.content.sent < sent + MEGABYTES and time.monotonic() < deadline:
        time.sleep(0.02)
    assert slow.content.sent >= sent + MEGABYTES, "the download ended with the play"
    with newest.playing(OURS) as second:
        second.read(until="progress: [spark-1] => It has been under way for ")
        slow.content.rate = 20 * MEGABYTES
        second.read()
    assert second.process.returncode == 0, second.output
    assert "\nchanged: [spark-1]\n" in second.output
    assert min(percents(second.output)) > 10
    # Nothing travelled twice.
    assert slow.content.sent - before < 25 * MEGABYTES


def test_work_that_fails_ends_the_task_at_once(newest: Controller, slow: model_registry.Registry) -> None:
    slow.content.silent_after = slow.content.sent + 8 * MEGABYTES
    play = newest.play(OURS)
    assert play.process.returncode == 2, play.output
    assert "fatal: [spark-1]: FAILED!" in play.output
    assert "pull_stalled" in play.output
    assert "Traceback" not in play.output
    sentence = play.output.split("Task failed: Module failed: ")[1].split("\n")[0].strip()
    assert play.output.count(sentence) == 2, "in Ansible's own line and as msg, and not as failure.message again"
    assert 0 < max(percents(play.output.split("fatal:")[0])) < 60
