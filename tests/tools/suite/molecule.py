"""The stage that plays the roles on hosts that boot systemd, over ssh, against a real model server."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import docker, paths, servers, tree, venvs
from .model import StageFailed
from .run import PLAY_FAULTS, Run

# Each host has a model server of its own, with a key of its own: one from the environment, one from a vault.
HOSTS = ("keyed-by-environment", "keyed-by-vault")
# Scenarios that want a real Ollama, which not every machine can run.
_OLLAMA_SCENARIOS = ("ollama_install", "ollama_service")


@dataclass(frozen=True)
class Lab:
    """What the scenarios get: names of this run, and the secrets that must never show."""

    run_id: str
    folder: Path
    sockets: Path
    keys: tuple[str, ...]
    image: str
    ollama: Path | None

    def environment(self, tools: Path) -> dict[str, str]:
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(paths.INSTALLED),
            # Everything that a secret could slip into is printed, and then searched.
            "ANSIBLE_VERBOSITY": "3",
            "COMPATIBLE_API_KEY": self.keys[0],
            "LAB_DIR": str(self.folder),
            "LAB_HOSTS": ",".join(HOSTS),
            "LAB_IMAGE": self.image,
            # Where the hosts find the real Ollama, in /opt/ollama-test; an empty folder where there is none.
            "LAB_OLLAMA": str(self.ollama or self.folder / "no-ollama"),
            "LAB_RUN": self.run_id,
            "LAB_SOCKETS": str(self.sockets),
            # Not in HOME: what a run that was killed left there would make the next one believe that its hosts exist.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.folder / "state"),
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }


def molecule(run: Run) -> None:
    """Run all scenarios with the collection as it is installed from the tarball, then search the log for the keys."""
    docker.require_engine(run)
    if not paths.INSTALLED.exists():
        raise StageFailed("the collection is not installed under .cache/installed: run `bin/test tarball molecule`")
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    image = docker.host_image(run)
    keys = tuple(f"canary-{secrets.token_hex(12)}" for _host in HOSTS)
    ollama = servers.ollama_home(run)
    excluded = [] if ollama else [word for name in _OLLAMA_SCENARIOS for word in ("--exclude", name)]
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(servers.model_server(run, "good", key)).port for key in keys]
        lab = stack.enter_context(_lab(run, tools, image, keys, ports, ollama))
        test_all = ["test", "--all", *excluded, "--report", "--no-command-borders"]
        status = run.execute([tools / "molecule", *test_all], cwd=root, env=lab.environment(tools))
    _count(run, status)
    log = run.printed_since(0)
    for host, key in zip(HOSTS, keys):
        run.verdict(f"the key of {host} is nowhere in the log", key not in log)
    # The tokens of the proxies are made on the hosts; nothing else in a log has 48 hexadecimal digits.
    run.verdict("no token of a proxy is in the log", not re.search(r"\b[0-9a-f]{48}\b", log))
    if "TASK [" not in log:
        raise StageFailed("the log of molecule holds no task, so nothing was searched for keys")


@contextlib.contextmanager
def _lab(
    run: Run, tools: Path, image: str, keys: tuple[str, ...], ports: list[int], ollama: Path | None
) -> Iterator[Lab]:
    """Make the folder of this run (ssh key, vault password, inventory); remove it and the hosts, whatever happens."""
    run_id = secrets.token_hex(4)
    # A folder of a socket must have a short name (108 bytes), which a checkout's need not be.
    lab = Lab(run_id, paths.MOLECULE / run_id, Path(tempfile.mkdtemp(prefix="lab-")), keys, image, ollama)
    lab.folder.mkdir(parents=True, mode=0o700)
    try:
        run.command(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{run_id}", "-f", lab.folder / "ssh_key"]
        )
        (lab.folder / "vault-password").write_text(secrets.token_hex(16) + "\n", encoding="utf-8")
        _write_inventory(lab, ports)
        secret = lab.folder / "inventory" / "host_vars" / "keyed-by-vault" / "keys.yml"
        secret.write_text(f"---\ncompatible_api_key: {keys[1]}\n", encoding="utf-8")
        vault = [tools / "ansible-vault", "encrypt", "--vault-password-file", lab.folder / "vault-password", secret]
        run.command(vault)
        yield lab
    finally:
        docker.remove_containers(f"nemoclaw-molecule-{run_id}-")
        shutil.rmtree(lab.folder)
        shutil.rmtree(lab.sockets, ignore_errors=True)


def _write_inventory(lab: Lab, ports: list[int]) -> None:
    known_hosts = lab.folder / "known_hosts"
    inventory = lab.folder / "inventory"
    inventory.mkdir()
    hosts = "".join(f"        {host}:\n          lab_model_port: {port}\n" for host, port in zip(HOSTS, ports))
    (inventory / "hosts.yml").write_text(
        f"""---
all:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
  children:
    lab:
      hosts:
{hosts}      vars:
        ansible_user: lab
        ansible_ssh_private_key_file: {lab.folder}/ssh_key
        ansible_ssh_common_args: >-
          -o UserKnownHostsFile={known_hosts} -o HostKeyAlias={{{{ inventory_hostname }}}} -o StrictHostKeyChecking=accept-new
        lab_known_hosts: {known_hosts}
""",
        encoding="utf-8",
    )
    for host in HOSTS:
        (inventory / "host_vars" / host).mkdir(parents=True)


def _count(run: Run, status: int) -> None:
    """Count the actions of the scenarios, from the table that molecule ends with, and show again what went wrong."""
    log = run.printed_since(0)
    for scenario, action, verdict in re.findall(r"^(\S+) > (\w+): Executed: (\w+)", log, re.MULTILINE):
        if verdict != "Missing":  # no playbook for an optional action (`cleanup`, which molecule adds after a failure)
            run.verdict(f"molecule {scenario} {action}", verdict == "Successful", verdict)
    run.highlight(PLAY_FAULTS)
    if status and not run.counts.failed:
        raise StageFailed(f"molecule ended with exit {status}")
