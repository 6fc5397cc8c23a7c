# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks against real servers: the route record, and a key that is nowhere to be found afterwards."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import model_registry
import ollama_server
import payloads
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Daemon, identify
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import parse_address
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import render
from conftest import Llama

COLLECTIONS = Path(failure.__file__).parents[5]
LIMIT = 300  # seconds for one playbook; on two busy cores one has taken two minutes

# Made up for each run of the tests, and given to the servers as well.
KEY = f"canary-{secrets.token_hex(16)}"


def forms_of(key: str) -> list[bytes]:
    """Return the forms in which a key would give itself away: as it is, and in base64 at each of its three alignments."""
    forms = [key.encode()]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + key.encode())
        forms.append(encoded[(offset * 8 + 5) // 6 : -4])
    return forms


@pytest.fixture(scope="session")
def unsafe_forms() -> list[bytes]:
    return forms_of(KEY)


@dataclass
class Controller:
    """A controller with a folder of its own for everything that Ansible keeps, and the host it manages: this one."""

    folder: Path
    unsafe_forms: list[bytes]
    environment: dict[str, str] = field(default_factory=dict)
    output: str = ""

    @property
    def record(self) -> Path:
        return self.folder / ".nemoclaw" / "local-inference.json"

    def play(self, name: str, *options: str, **settings: str) -> int:
        """Run a playbook of the collection, or a file, at full verbosity, look for the key everywhere, and return its exit status."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("NEMOCLAW_", "ANSIBLE_"))
        }
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"),
            "ANSIBLE_REMOTE_TMP": str(self.folder / "remote"),
            "ANSIBLE_LOG_PATH": str(self.folder / "log"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
            "TMPDIR": str(self.folder),
            "NEMOCLAW_ROUTE_PATH": str(self.record),
            **payloads.environment(),
            **self.environment,
            **settings,
        }
        playbook = name if name.endswith(".yml") else f"nemoclaw.local_inference.{name}"
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-vvvv"]
        command += ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", *options]
        with watched_arguments() as seen:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=LIMIT, cwd=self.folder, check=False
            )
        self.output = done.stdout + done.stderr
        assert done.returncode in (0, 2, 4), self.output[-3000:]
        assert "Traceback" not in self.output
        for form in self.unsafe_forms:
            assert form not in self.output.encode(), "the key is in the output"
            assert not any(form in line for line in seen), "the key was in an argument list"
        for path in self.folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(form in content for form in self.unsafe_forms), f"the key was left in {path}"
        return done.returncode

    @property
    def changed(self) -> int:
        recap = self.output.rsplit("PLAY RECAP", 1)[1]
        return int(recap.split("changed=", 1)[1].split()[0])


@contextmanager
def watched_arguments() -> Iterator[set[bytes]]:
    """Collect the argument lists of all processes of this machine, again and again until the block ends.

    A process gets its arguments when it begins, or by C(exec) soon afterwards: young ones are read every time, the others now and then,
    since reading all of a machine's fifty times a second takes a sixth of a core.
    """
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        met: dict[str, float] = {}
        all_read = 0.0
        while not done.wait(0.02):
            now = time.monotonic()
            with os.scandir("/proc") as found:
                met = {entry.name: met.get(entry.name, now) for entry in found if entry.name.isdigit()}
            everyone = now - all_read > 0.25
            all_read = now if everyone else all_read
            for process, since in met.items():
                if everyone or now - since < 0.2:
                    with contextlib.suppress(OSError):  # It has ended.
                        seen.add(Path(f"/proc/{process}/cmdline").read_bytes())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
    assert any(b"ansible-playbook" in line for line in seen), "nothing was watched"


def new_controller(folder: Path, unsafe_forms: list[bytes], llama: Llama) -> Controller:
    environment = {
        "NEMOCLAW_PROVIDER": "custom",
        "NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY).base_url,
        "NEMOCLAW_MODEL": "scripted",
        "COMPATIBLE_API_KEY": KEY,
    }
    (folder / "ansible.cfg").touch()
    return Controller(folder, unsafe_forms, environment)


@pytest.fixture
def controller(tmp_path: Path, unsafe_forms: list[bytes], llama: Llama) -> Controller:
    """Return a controller whose host has a good server at hand."""
    return new_controller(tmp_path, unsafe_forms, llama)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, unsafe_forms: list[bytes], llama: Llama) -> Controller:
    """Return a controller whose host has a route already."""
    controller = new_controller(tmp_path_factory.mktemp("settled"), unsafe_forms, llama)
    record(controller)
    return controller


def record(controller: Controller, **wanted: Any) -> None:
    """Write the record of a route to the good server, as an earlier run does."""
    usual = {"api": "openai-completions", "timeout": 180, "context_window": 32768}
    url = controller.environment["NEMOCLAW_ENDPOINT_URL"]
    route = build_route(provider="custom", base_url=url, model="scripted", **{**usual, **wanted})
    controller.record.parent.mkdir(mode=0o700, exist_ok=True)
    controller.record.write_text(render(route), encoding="utf-8")
    controller.record.chmod(0o600)


def roles_play(controller: Controller, role: str, **variables: Any) -> str:
    """Return a playbook that runs one role and nothing else."""
    play = controller.folder / f"{role}.yml"
    task = {"ansible.builtin.include_role": {"name": f"nemoclaw.local_inference.{role}"}, "vars": variables}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    return str(play)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"behaviour": "leaks"}, "tool_calls_leaked"),
        # Where the secret itself is what is wrong.
        ({"COMPATIBLE_API_KEY": f"{KEY}\u2019"}, "key_invalid"),
        ({"NEMOCLAW_ENDPOINT_URL": f"http://127.0.0.1:9/v1?api_key={KEY}"}, "url_invalid"),
        ({"NEMOCLAW_ENDPOINT_URL": ""}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_failed_run_leaves_the_route(settled: Controller, llama: Llama, settings: dict[str, str], code: str) -> None:
    before = settled.record.read_bytes(), settled.record.stat().st_mtime_ns
    # What the role refuses by its proof is the same with and without the rest of the playbook.
    playbook = "site" if not code else roles_play(settled, "endpoint")
    if "behaviour" in settings:
        settings = {"NEMOCLAW_ENDPOINT_URL": llama(settings["behaviour"], api_key=KEY).base_url}
    assert settled.play(playbook, **settings) == 2
    assert (settled.record.read_bytes(), settled.record.stat().st_mtime_ns) == before
    if code:
        assert f'"code": "{code}"' in settled.output


def test_the_key_from_the_inventory(
    controller: Controller, llama: Llama, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Taken by the proof and by the status that site ends with."""
    secret = tmp_path_factory.mktemp("vault") / "secret.yml"
    secret.write_text(f"compatible_anthropic_api_key: {KEY}\n", encoding="utf-8")
    controller.environment |= {"NEMOCLAW_PROVIDER": "anthropicCompatible", "COMPATIBLE_API_KEY": ""}
    controller.environment["NEMOCLAW_ENDPOINT_URL"] = llama("good", api_key=KEY).root_url
    assert controller.play("site", "-e", f"@{secret}") == 0
    assert "Completion: healthy" in controller.output


def test_a_switch_keeps_what_nobody_names(controller: Controller, llama: Llama) -> None:
    """The API is that of the record, and a timeout that is named wins; test_playbooks_sandbox.py keeps the timeout."""
    record(controller, api="openai-responses", timeout=90)
    second = {"NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY, alias="second").base_url, "NEMOCLAW_MODEL": "second"}
    assert controller.play("switch_model", **second, NEMOCLAW_LOCAL_INFERENCE_TIMEOUT="60") == 0
    route = json.loads(controller.record.read_text(encoding="utf-8"))
    assert (route["model"], route["api"], route["timeout"]) == ("second", "openai-responses", 60)
    assert "Completion: healthy" in controller.output


def test_the_status_takes_the_key_that_the_set_up_takes(settled: Controller) -> None:
    assert settled.play("status", NEMOCLAW_PROVIDER_KEY=KEY, COMPATIBLE_API_KEY="") == 0
    assert settled.play("status", NEMOCLAW_PROVIDER_KEY=KEY, COMPATIBLE_API_KEY="another") == 2
    assert "unauthorized" in settled.output


def test_the_playbook_for_one_kind_of_host_refuses_the_others(controller: Controller) -> None:
    assert controller.play("dgx") == 2
    assert "this play is for dgx-spark, dgx-station. Run nemoclaw.local_inference.site" in " ".join(
        controller.output.split()
    )
    assert not controller.record.exists()


def test_a_container_that_may_come_back_is_not_forgotten(controller: Controller) -> None:
    """The engine is installed and does not answer: a container of ours would serve again once it does. All engines share that role."""
    play = controller.folder / "absent.yml"
    task = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.vllm", "tasks_from": "absent"}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    route = build_route(
        provider="install-vllm",
        base_url="http://127.0.0.1:8000/v1",
        model="m",
        api="openai-completions",
        timeout=180,
        container="ours",
        origin="managed",
    )
    controller.record.parent.mkdir(mode=0o700)
    controller.record.write_text(render(route), encoding="utf-8")
    listener = controller.folder / "docker.sock"
    controller.environment["DOCKER_HOST"] = f"unix://{listener}"
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(listener))
        assert controller.play(str(play)) == 2
        said = " ".join(controller.output.split())
        assert "So ours was not removed, and the route record stays" in said
        assert controller.record.exists()

        controller.record.write_text(render({**route, "provider": "custom", "container": None}), encoding="utf-8")
        assert controller.play(str(play)) == 0
    said = " ".join(controller.output.split())
    assert "was not looked for, since the container engine does not answer" in said
    assert controller.record.exists(), "of another provider"


def test_models_are_deleted_where_it_is_asked(
    controller: Controller, ollama: ollama_server.Ollama, registry: model_registry.Registry, pull: Any
) -> None:
    ours, other, kept = (registry.push(f"lab/{name}", "1b") for name in ("ours", "other", "kept"))
    for name in (ours, other, kept):
        pull(name)
    route = build_route(
        provider="ollama", base_url=f"http://{ollama.host}/v1", model=ours, api="openai-completions", timeout=180
    )
    controller.record.parent.mkdir(mode=0o700)
    controller.record.write_text(render(route), encoding="utf-8")
    play = controller.folder / "models.yml"
    # Of what the role does at an uninstall, this alone: the rest is about services of the whole machine.
    look = {"nemoclaw.local_inference.inference_facts": {"route_path": str(controller.record)}}

    def tasks(name: str, which: str, check_mode: bool = False) -> list[dict[str, Any]]:
        """Return the tasks that delete models, and then look which are left, as C(name)."""
        role = {"name": "nemoclaw.local_inference.ollama", "tasks_from": "remove_models"}
        remove = {"ansible.builtin.include_role": {**role, "apply": {"check_mode": check_mode}}}
        found = {"nemoclaw.local_inference.ollama_info": {"host": ollama.host}, "register": name}
        return [{**remove, "vars": {"ollama_remove_models": which}}, found]

    def write(*of_play: dict[str, Any]) -> None:
        play.write_text(
            json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [look, *of_play]}]), encoding="utf-8"
        )

    steps = {"checked": sorted([kept, other, ours]), "deleted": sorted([kept, other])}
    names = [f"({name}.models | map(attribute='name') | sort) == {left}" for name, left in steps.items()]
    check = {"ansible.builtin.assert": {"that": names}}
    write(*tasks("checked", "ours", check_mode=True), *tasks("deleted", "ours"), check, *tasks("emptied", "all"))
    assert controller.play(str(play)) == 0
    assert identify(Daemon(parse_address(ollama.host)))[1] == []
    write(*tasks("refused", "all"))
    controller.record.write_text(render({**route, "base_url_host": "http://127.0.0.1:9/v1"}), encoding="utf-8")
    assert controller.play(str(play)) == 2
    assert "only Ollama can delete its models" in " ".join(controller.output.split())
