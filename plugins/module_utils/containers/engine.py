# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The Docker engine through its SDK: the calls that a managed container needs, what their errors mean, its host, a pull with progress.

Works with docker-py 5.0.3 (Debian 12) to 7.2.0 (toolchain.md, section 3). The library is imported on use, so that a module
can be loaded, and say what is missing, where it is not installed.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..failure import Failure, format_bytes, quote
from ..host.docker_codes import FAILURE_CODES
from ..host.docker_engine import find_engine
from ..host.gpus import find_gpus, parse_meminfo
from ..host.machine import Account, Machine
from ..host.platform import normalise_architecture, read_platform, refine_by_gpu_names, vllm_profile
from ..jobs.progress import Position, Report, silent
from ..registry.image import REMEDIES, meaning
from ..registry.reference import parse_reference
from ..untrusted import list_of, object_of, size_of

# Seconds for one call. Creating and stopping wait for disks; the SDK's own default is the same.
CALL_LIMIT_S = 60
# Seconds between SIGTERM and SIGKILL: vLLM ends within five, and unloads nothing that has to be saved.
STOP_GRACE_S = 20
# Bytes of log that are read at most: a server in a loop writes megabytes.
LOG_LIMIT = 262_144

_NO_GPU = re.compile(
    r"could not select device driver|nvidia-container-cli|unresolvable CDI|CDI device|unknown runtime", re.I
)
# docker < 7.1 with requests >= 2.32 does not know the URL scheme http+docker; docker < 6.1 with urllib3 2 lacks a keyword (toolchain.md,
# section 3).
_BROKEN_PAIR = re.compile(r"http\+docker|chunked")
_PORT = re.compile(r"port is already allocated|address already in use|cannot assign requested address", re.I)
# Seconds without a byte from the engine. It repeats its lines every 100 ms while data comes, and is silent while it writes a
# layer of several GB to a slow disk.
STALL_S = 300


def connect(machine: Machine, account: Account, docker_host: str | None = None) -> Engine:
    """Return the engine that C(docker_host) names, or the one that a docker command of this account would use.

    Raises:
        Failure: C(docker_library_missing), C(docker_library_broken), or one of FAILURE_CODES.

    """
    if docker_host:
        machine = Machine(
            machine.root, {**machine.environ, "DOCKER_HOST": docker_host}, machine.system, machine.architecture
        )
    facts = find_engine(machine, account)
    if not facts["reachable"]:
        raise Failure(FAILURE_CODES[facts["code"]], facts["reason"], endpoint=facts["endpoint"])
    return Engine(_client(facts["endpoint"], CALL_LIMIT_S), facts)


def _client(endpoint: str, limit_s: float) -> Any:
    try:
        import docker
    except ImportError as error:
        raise Failure(
            "docker_library_missing",
            f"The Python library 'docker' cannot be imported on this host ({quote(str(error), '')}). Install the distribution's "
            "package (python3-docker), or let the role preflight do it.",
        ) from error
    try:
        return docker.APIClient(base_url=endpoint, version="auto", timeout=limit_s)
    except (docker.errors.DockerException, OSError, TypeError, ValueError) as error:
        raise _no_client(endpoint, limit_s, error) from error


def _no_client(endpoint: str, limit_s: float, error: Exception) -> Failure:
    """Return why the SDK could not open its connection, to an engine that answered a moment ago."""
    import docker
    import requests

    said = quote(str(error), "")
    here = f"The Python library docker {docker.__version__} tried to talk to the engine at {endpoint}"
    if isinstance(error, TypeError) or _BROKEN_PAIR.search(said):
        return Failure(
            "docker_library_broken",
            f"{here}, and failed: {said}. It is incompatible with requests {requests.__version__}: install docker 7.1 or newer with "
            f"requests 2.32 or newer, or both from the distribution's packages (python3-docker, python3-requests).",
        )
    if isinstance(error, docker.errors.InvalidVersion):
        return Failure(
            "docker_library_broken",
            f"{here}, but they share no version of Docker's API: {said}. Update the engine, or install the library from "
            "the distribution's packages (python3-docker).",
        )
    if isinstance(error, docker.errors.InvalidConfigFile):
        return Failure(
            "docker_config_invalid",
            f"{here}, and could not read Docker's config.json of this user: {said}. Repair the file, or move it away and log in again.",
        )
    if re.search("timed out", said, re.IGNORECASE):
        return Failure(
            "docker_timeout", f"{here}, which did not answer for {limit_s:g} s. Check its log (journalctl -u docker)."
        )
    if re.search("FileNotFoundError|Connection(?:Refused|Reset)Error|Connection refused", said):
        return Failure(
            "docker_stopped",
            f"{here}, but it is gone: {said}. It answered a moment ago, so it may be restarting: check systemctl status docker, then run "
            f"this again.",
        )
    return Failure(
        "docker_unexpected_answer", f"{here}, but it does not answer as one: {said}. Check what listens there."
    )


class Engine:
    """An engine that answers. Names stand for containers; what is not there is None, not an error.

    Attributes:
        facts: Result of find_engine: C(kind), C(endpoint), C(rootless), C(nvidia_runtime), C(version).
        client: The SDK's low-level client.

    """

    def __init__(self, client: Any, facts: dict[str, Any]) -> None:
        self.client = client
        self.facts = facts

    def follower(self, silence_s: float) -> Engine:
        """Return the same engine for a call that streams: C(silence_s) limits the time without a byte."""
        client = _client(self.facts["endpoint"], silence_s)
        post = client.post
        # The SDK takes every limit away from a pull (docker/api/image.py: timeout=None), and then waits for ever.
        client.post = lambda url, **options: post(url, **{**options, "timeout": silence_s})
        return Engine(client, self.facts)

    def info(self) -> dict[str, Any]:
        """Return C(/info)."""
        with self._doing("ask the engine about itself"):
            return object_of(self.client.info())

    def now(self) -> datetime.datetime:
        """Return the engine's clock, which its log times are of."""
        return parse_time(str(self.info().get("SystemTime"))) or datetime.datetime.now(datetime.timezone.utc)

    def container(self, name: str) -> dict[str, Any] | None:
        """Return what inspect says of a container."""
        with self._doing(f"look at the container {name}"), self._absent():
            return object_of(self.client.inspect_container(name))
        return None

    def containers(self) -> list[dict[str, Any]]:
        """Return what inspect says of every running container."""
        with self._doing("list the containers"):
            names = [str(object_of(one).get("Id")) for one in list_of(self.client.containers())]
        return [found for found in map(self.container, names) if found]

    def image(self, reference: str) -> dict[str, Any] | None:
        """Return what inspect says of an image that this engine has."""
        with self._doing(f"look at the image {reference}"), self._absent():
            return object_of(self.client.inspect_image(reference))
        return None

    def network(self, name: str) -> dict[str, Any] | None:
        """Return what inspect says of a network."""
        with self._doing(f"look at the network {name}"), self._absent():
            return object_of(self.client.inspect_network(name))
        return None

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container from the body of the engine's own API, and return its id."""
        with self._doing(f"create the container {name}"):
            return str(self.client.create_container_from_config(body, name)["Id"])

    def start(self, name: str) -> None:
        """Start it; running already is fine."""
        with self._doing(f"start the container {name}"):
            self.client.start(name)

    def stop(self, name: str, grace_s: int = STOP_GRACE_S) -> None:
        """Stop it; stopped already, or gone, is fine."""
        with self._doing(f"stop the container {name}"), self._absent():
            self.client.stop(name, timeout=grace_s)

    def rename(self, name: str, new: str) -> None:
        """Give it another name, which must be free."""
        with self._doing(f"rename the container {name} to {new}"):
            self.client.rename(name, new)

    def remove(self, name: str) -> None:
        """Stop and remove it with its anonymous volumes; gone already is fine."""
        with self._doing(f"remove the container {name}"), self._absent():
            self.client.remove_container(name, v=True, force=True)

    def set_restart_policy(self, name: str, policy: str, retries: int = 0) -> None:
        """Change what the engine does when it ends, without touching it otherwise; C(retries) goes with C(on-failure) alone."""
        with self._doing(f"set the restart policy of the container {name}"):
            self.client.update_container(name, restart_policy={"Name": policy, "MaximumRetryCount": retries})

    def logs(self, name: str, tail: int) -> str:
        """Return the last lines of both streams, each with the engine's time before it; empty where there are none."""
        with self._doing(f"read the log of the container {name}"), self._absent():
            text = self.client.logs(name, stdout=True, stderr=True, timestamps=True, tail=tail)
            return bytes(text)[-LOG_LIMIT:].decode("utf-8", "replace")
        return ""

    def pull(self, reference: str, auth: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the engine's progress lines. Without C(auth) nobody logs in: never None, or the SDK would run the user's helpers."""
        wanted, login = parse_reference(reference), auth or {}
        with self._doing(f"pull {reference}"):
            for line in self.client.pull(wanted.name, tag=wanted.version, stream=True, decode=True, auth_config=login):
                yield object_of(line)

    @contextlib.contextmanager
    def _absent(self) -> Iterator[None]:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            yield

    @contextlib.contextmanager
    def _doing(self, action: str) -> Iterator[None]:
        """Turn what the SDK raises into a Failure that says what was tried."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException, Timeout
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        where = self.facts["endpoint"]
        try:
            yield
        except APIError as error:
            raise _refused(action, str(error.explanation or error), error.status_code) from error
        except (Timeout, ReadTimeoutError) as error:
            raise Failure(
                "docker_timeout",
                f"Tried to {action} at {where}, but the engine did not answer for {self.client.timeout:g} s. Check its log (journalctl -u "
                f"docker) and its disk, then run this again.",
            ) from error
        # The SDK's own errors with credential stores are RuntimeErrors.
        except (RequestException, DockerException, HTTPError, OSError, RuntimeError) as error:
            raise Failure(
                "docker_unexpected_answer",
                f"Tried to {action} at {where}, but the connection broke: {quote(str(error), '')}. Check whether the engine runs "
                "(systemctl status docker), then run this again.",
            ) from error


def parse_time(text: str) -> datetime.datetime | None:
    """Return a time as the engine writes it (RFC 3339, up to nanoseconds), None for what is none or Go's year 1."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found or text.startswith("0001"):
        return None
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.datetime.fromisoformat(f"{found[1]}.{(found[2] or '.0')[1:7]:0<6}{zone}")


def _refused(action: str, said: str, status: int | None) -> Failure:
    """Return what an error answer of the engine means."""
    shown = quote(said, "", 400)
    if _NO_GPU.search(said):
        return Failure(
            "nvidia_runtime_missing",
            f"Tried to {action}, but the engine cannot give a container a GPU: {shown}. Install the NVIDIA Container Toolkit and "
            "tell Docker about it (nvidia-ctk runtime configure --runtime=docker, then restart Docker); after a driver update, regenerate "
            "the CDI file (nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml).",
            server_message=shown,
        )
    if _PORT.search(said):
        return Failure(
            "port_taken",
            f"Tried to {action}, but an address that it publishes is in use: {shown}. Stop what listens there (ss -ltnp shows it), "
            "or choose another port.",
            server_message=shown,
        )
    if "no space left on device" in said.lower():
        return Failure(
            "disk_full",
            f"Tried to {action}, but the engine's disk is full: {shown}. Free space where Docker keeps its data (docker info names "
            "its root directory), then run this again.",
            server_message=shown,
        )
    return Failure(
        "docker_refused",
        f"Tried to {action}, but the engine refused with HTTP status {status}: {shown}. Correct what it names, then run this again.",
        server_message=shown,
        status=status,
    )


class Host:
    """A host that runs a managed container for an account."""

    def __init__(self, machine: Machine, account: Account) -> None:
        self.machine = machine
        self.account = account

    @functools.cached_property
    def gpus(self) -> dict[str, Any]:
        """C(nemoclaw_host.gpus)."""
        memory = parse_meminfo(self.machine.read("/proc/meminfo"))
        return find_gpus(self.machine, read_platform(self.machine).name, memory)

    @property
    def profile(self) -> str:
        """C(nemoclaw_host.profile)."""
        unified = [one["name"] for one in self.gpus["devices"] if one["trusted"] and one["unified_memory"]]
        platform = refine_by_gpu_names(read_platform(self.machine), unified)
        return vllm_profile(platform.name, self.gpus["count"] > 0)

    @property
    def architecture(self) -> str:
        """C(nemoclaw_host.architecture)."""
        return normalise_architecture(self.machine.architecture)

    def folder(self, given: str, default: str) -> str:
        """Return the folder that an option names, with C(~) of the account; the default lies in its home."""
        path = given.strip() or default
        if path == "~" or path.startswith("~/"):
            path = path[2:]
        return str(Path(self.account.home) / path)


class PullProgress:
    """Where a pull stands, from the engine's lines."""

    def __init__(self, reference: str) -> None:
        self._message = f"Pulling {reference}"
        self._layers: dict[str, tuple[int, int]] = {}  # id -> bytes here, all bytes

    def take(self, line: dict[str, Any]) -> None:
        """Read a line of the engine."""
        status, layer = str(line.get("status") or ""), str(line.get("id") or "")
        detail = object_of(line.get("progressDetail"))
        total = size_of(detail.get("total"))
        if status == "Downloading" and total:
            self._layers[layer] = (size_of(detail.get("current")), total)
        elif status in ("Download complete", "Extracting", "Pull complete") and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1], self._layers[layer][1])

    @property
    def position(self) -> Position:
        """How many bytes are here, of the layers that the engine has named so far."""
        done, total = (sum(layer[index] for layer in self._layers.values()) for index in (0, 1))
        return Position("pull", done if total else None, total or None, message=self._message)

    def as_result(self) -> dict[str, Any]:
        """Return C({phase, percent, completed, total}) for a failure."""
        phase, completed, total = self.position[:3]
        percent = round(100 * completed / total, 1) if completed is not None and total else None
        return {"phase": phase, "percent": percent, "completed": completed, "total": total}


def pull(
    engine: Engine,
    reference: str,
    report: Report = silent,
    stall_s: float = STALL_S,
    auth: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Pull an image and return what inspect says of it.

    Args:
        engine: Who pulls.
        reference: The image.
        report: Gets the position with every line of the engine.
        stall_s: Seconds without a byte after which it is given up; the layers that came are kept.
        auth: What the SDK takes as C(auth_config); without it nobody logs in.

    Raises:
        Failure: C(pull_stalled), C(pull_failed), one of FAILURE_CODES, or one of the engine's; all with C(progress).

    """
    progress = PullProgress(reference)
    try:
        for line in engine.follower(stall_s).pull(reference, auth):
            if line.get("error"):
                raise _refusal(reference, str(line["error"]))
            progress.take(line)
            report(progress.position)
    except Failure as failure:
        if failure.code == "docker_timeout":
            failure = _stalled(reference, stall_s, progress.as_result())
        elif failure.code == "docker_refused":
            failure = _refusal(reference, str(failure.details["server_message"]))
        raise Failure(failure.code, failure.message, **{**failure.details, "progress": progress.as_result()}) from None
    found = engine.image(reference)
    if found is None:
        raise Failure(
            "pull_failed",
            f"Docker reports that it pulled {reference} but does not list it. Check its log (journalctl -u docker).",
        )
    return found


def _refusal(reference: str, error: str) -> Failure:
    said, code = quote(error, "", 300), meaning(error)
    if code:
        return Failure(code, f"Docker could not pull {reference}: {said}. {REMEDIES[code]}.", server_message=said)
    return Failure(
        "pull_failed",
        f"Docker could not pull {reference}: {said}. Check its log (journalctl -u docker), then run this again.",
        server_message=said,
    )


def _stalled(reference: str, stall_s: float, seen: dict[str, Any]) -> Failure:
    return Failure(
        "pull_stalled",
        f"Pulling {reference} made no progress for {stall_s:g} s, at {format_bytes(seen['completed'] or 0)} of "
        f"{format_bytes(seen['total'] or 0)} ({seen['percent'] or 0:g} %). Check the engine's connection "
        "to the registry, then run this again: completed layers are kept.",
    )
