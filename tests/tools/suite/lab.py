"""The lab: hosts that boot systemd and are reached over ssh, each with a model server, made for one run and removed after it."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import containers, docker, paths, servers, venvs
from .run import Run

# Each host has a model server of its own, with a key of its own: one from the environment, one from a vault.
HOSTS = ("keyed-by-environment", "keyed-by-vault")
# A further one, of the group `engine`: it gets a container engine, which would change what the scenarios for the others test.
ENGINE_HOST = "with-docker"
# Those that are a fleet together with the first two. They have no model server of their own.
FLEET_HOSTS = ("ollama-1", "ollama-2", "vllm-1", "vllm-2")


@dataclass(frozen=True)
class Lab:
    """What the plays get: names of this run, and the secrets that must never show; `ollama` and `openshell`: None without."""

    run_id: str
    folder: Path
    sockets: Path
    hosts: tuple[str, ...]
    keys: tuple[str, ...]
    image: str
    ollama: Path | None
    engine_images: dict[str, str]
    openshell: Path | None
    fleet: dict[str, str]

    @property
    def collections(self) -> Path:
        """The collection as it was installed when the lab was made: what is built meanwhile disturbs no play."""
        return self.folder / "collections"

    @property
    def more_hosts(self) -> tuple[str, ...]:
        """Those that share the model server of the first."""
        return (*([ENGINE_HOST] if self.engine_images else []), *(FLEET_HOSTS if self.fleet else []))

    @property
    def variables(self) -> dict[str, object]:
        """What every play of molecule/ finds in the inventory."""
        return {
            "lab_dir": str(self.folder),
            "lab_hosts": [*self.hosts, *self.more_hosts],
            "lab_image": self.image,
            # Where the hosts find the real Ollama, in /opt/ollama-test; an empty folder where there is none.
            "lab_ollama": str(self.ollama or self.folder / "no-ollama"),
            # The real OpenShell CLIs, which know their own path; its gateways run on this machine.
            "lab_openshell": str(self.openshell or self.folder / "no-openshell"),
            "lab_run": self.run_id,
            "lab_sockets": str(self.sockets),
        }

    def environment(self, tools: Path) -> dict[str, str]:
        """What .config/molecule/config.yml has defaults for, what it sets itself, and what makes a run under `bin/test` strict."""
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            # Everything that a secret could slip into is printed, and then searched.
            "ANSIBLE_VERBOSITY": "3",
            "COMPATIBLE_API_KEY": self.keys[0],
            "LAB_COLLECTIONS": str(self.collections),
            "LAB_DIR": str(self.folder),
            "LAB_KEY": self.keys[0],
            "LAB_SOCKETS": str(self.sockets),
            # Not in HOME: what a run that was killed left there would make the next one believe that its hosts exist.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.folder / "state"),
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }


def fleet_of(run: Run) -> dict[str, str]:
    """Return what FLEET_HOSTS have in the inventory: their image, and an image and weights for those with vLLM."""
    from llama_server import cached_model

    weights = cached_model("good", paths.CACHE / "models", str(venvs.venv(run, "servers") / "python"))
    return {
        "lab_image": docker.fleet_image(run),
        "lab_vllm": containers.vllm_image(run),
        "lab_weights": str(weights),
    }


@contextlib.contextmanager
def opened(
    run: Run,
    tools: Path,
    hosts: tuple[str, ...] = HOSTS,
    engine_images: dict[str, str] | None = None,
    *,
    image: str = "",
    fleet: dict[str, str] | None = None,
    folder: Path | None = None,
    first_key: str = "",
    vault_password: str = "",
    installed: Path = paths.INSTALLED,
) -> Iterator[Lab]:
    """Have all that the hosts need until the block ends; then remove it and the hosts, whatever happened.

    hosts: their names. molecule/default makes them.
    engine_images: images for a further host with a container engine, by the name that plays know them by.
    image: what the hosts are made from; by default a host that has nothing.
    fleet: what FLEET_HOSTS have in the inventory (lab_image, lab_vllm, lab_weights); there are none of them without.
    folder: where the lab is, which must not exist; one of its own by default. first_key: that of the first host; made up by default, as
        the password of the vault. installed: where the collection is installed.
    """
    docker.require_engine(run)
    image = image or docker.host_image(run)
    home = servers.ollama_home(run)
    made_up = [f"canary-{secrets.token_hex(12)}" for _host in hosts]
    keys = (first_key or made_up[0], *made_up[1:])
    run_id = secrets.token_hex(4)
    # A folder of a socket must have a short name (108 bytes), which a checkout's need not be.
    sockets = Path(tempfile.mkdtemp(prefix="lab-"))
    openshell = servers.openshell_home(run)
    # Its programs are started by their real path, so that is where the hosts have to find it.
    openshell = openshell and openshell.resolve()
    lab = Lab(
        run_id,
        folder or paths.MOLECULE / run_id,
        sockets,
        hosts,
        keys,
        image,
        home,
        engine_images or {},
        openshell,
        fleet or {},
    )
    lab.folder.mkdir(parents=True, mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        stack.callback(shutil.rmtree, lab.folder)
        stack.callback(_remove_hosts, run, f"nemoclaw-molecule-{run_id}-")
        shutil.copytree(installed, lab.collections)
        ports = [stack.enter_context(servers.model_server(run, "good", key)).port for key in keys]
        shared = stack.enter_context(_ollama_of_hosts(run, lab, home)) if home else {"lab_shared_ports": []}
        _write_inventory(lab, ports, shared)
        if openshell:
            _write_gateways(lab, openshell, stack)
        _write_secrets(run, lab, tools, vault_password or secrets.token_hex(16))
        yield lab


def _remove_hosts(run: Run, prefix: str) -> None:
    used = docker.remove_containers(prefix)
    run.say(f"the hosts took {used:.0f} s of CPU")
    run.cpu_seconds += used


@contextlib.contextmanager
def _ollama_of_hosts(run: Run, lab: Lab, home: Path) -> Iterator[dict[str, object]]:
    """Have what an Ollama on the hosts needs: a release to install, a registry with models, a server that answers for it."""
    with servers.model_server(run, "good", "no-secret") as generator, servers.ollama_models() as models:
        release = lab.folder / "ollama.tgz"
        yield {
            "lab_ollama_checksum": servers.write_release(release, home, generator),
            "lab_ollama_release": str(release),
            "lab_models": models.names,
            "lab_shared_ports": [generator.port, *models.ports],
        }


def _write_gateways(lab: Lab, openshell: Path, stack: contextlib.ExitStack) -> None:
    """Have a gateway of OpenShell for each host, since a gateway has one route, and tell the host where it is."""
    import openshell_parts

    release = openshell_parts.RELEASES[-1]
    for host in lab.hosts:
        made = stack.enter_context(openshell_parts.serving(release, openshell))
        known = {"lab_gateway_port": int(made.endpoint.rpartition(":")[2]), "lab_openshell": str(made.cli)}
        file = lab.folder / "inventory" / "host_vars" / host / "openshell.yml"
        file.write_text(json.dumps(known) + "\n", encoding="utf-8")


def _write_secrets(run: Run, lab: Lab, tools: Path, vault_password: str) -> None:
    key = lab.folder / "ssh_key"
    run.command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{lab.run_id}", "-f", key])
    password = lab.folder / "vault-password"
    password.write_text(vault_password + "\n", encoding="utf-8")
    # The key of the first host is in the environment.
    for host, own in list(zip(lab.hosts, lab.keys))[1:]:
        vault = lab.folder / "inventory" / "host_vars" / host / "keys.yml"
        vault.write_text(f"---\ncompatible_api_key: {own}\n", encoding="utf-8")
        run.command([tools / "ansible-vault", "encrypt", "--vault-password-file", password, vault])


def _write_inventory(lab: Lab, ports: list[int], shared: dict[str, object]) -> None:
    known_hosts = lab.folder / "known_hosts"
    inventory = lab.folder / "inventory"
    inventory.mkdir()
    hosts = "".join(f"        {host}:\n          lab_model_port: {port}\n" for host, port in zip(lab.hosts, ports))
    shared_lines = "".join(f"        {name}: {json.dumps(value)}\n" for name, value in shared.items())
    engine = {ENGINE_HOST: {"lab_model_port": ports[0], "lab_shared_ports": [], "lab_images": lab.engine_images}}
    engine_hosts = json.dumps(engine if lab.engine_images else {})
    fleet = {host: {"lab_model_port": ports[0], **lab.fleet} for host in FLEET_HOSTS}
    fleet_hosts = json.dumps(fleet if lab.fleet else {})
    everywhere = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in lab.variables.items())
    (inventory / "hosts.yml").write_text(
        f"""---
all:
  vars:
{everywhere}  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
  children:
    lab:
      hosts:
{hosts}      vars:
{shared_lines}    engine:
      hosts: {engine_hosts}
    fleet:
      hosts: {fleet_hosts}
      vars:
{shared_lines}    machines:
      children:
        lab:
        engine:
        fleet:
      vars:
        ansible_user: lab
        ansible_ssh_private_key_file: {lab.folder}/ssh_key
        ansible_ssh_common_args: >-
          -o UserKnownHostsFile={known_hosts} -o HostKeyAlias={{{{ inventory_hostname }}}} -o StrictHostKeyChecking=accept-new
        lab_known_hosts: {known_hosts}
""",
        encoding="utf-8",
    )
    for host in (*lab.hosts, *lab.more_hosts):
        (inventory / "host_vars" / host).mkdir(parents=True)
