"""The Docker engine, and the image of a test host: asked for by name, removed by name, never pruned."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

from . import environment, paths, pythons
from .model import StageSkipped
from .run import Run, exclusive

_RECIPE = paths.REPO / "tests" / "lab"
_FIREWALLS = paths.REPO / "tests" / "lab_firewalls" / "build"
_FLEET = paths.REPO / "tests" / "lab_fleet" / "build"
# Where the kernel counts a container's CPU, and in what part of a second: the older cgroups, and the newer by Docker's two drivers.
_CPU_COUNTS = (
    ("/sys/fs/cgroup/cpuacct/docker/{}/cpuacct.usage", 1e9),
    ("/sys/fs/cgroup/docker/{}/cpu.stat", 1e6),
    ("/sys/fs/cgroup/system.slice/docker-{}.scope/cpu.stat", 1e6),
)


def host_python() -> str:
    """Return an interpreter of this machine of the version that hosts have (Debian 12), or nothing where it has none."""
    return str(pythons.find("3.11") or "")


def require_engine(run: Run) -> None:
    """Raise StageSkipped unless a Docker engine answers to this user."""
    if not shutil.which("docker"):
        raise StageSkipped("the docker command is not on this machine: apt-get install docker.io")
    if run.execute(["docker", "info", "--format", "{{.ServerVersion}}"]):
        raise StageSkipped("no Docker engine answers to this user: start dockerd, or join the group docker")


def host_image(run: Run) -> str:
    """Return the name of the image of a test host; made on first use and again whenever its recipe changes."""
    recipe = b"".join(file.read_bytes() for file in sorted(_RECIPE.rglob("*")) if file.is_file())
    tag = f"nemoclaw-lab-deb12:{hashlib.sha256(recipe).hexdigest()[:12]}"
    with exclusive("lab-image"):
        if run.execute(["docker", "image", "inspect", "--format", "{{.Id}}", tag]) == 0:
            return tag
        if os.geteuid() != 0 or not shutil.which("debootstrap"):
            raise StageSkipped(
                "the image of a test host is made once by root with debootstrap (apt-get install debootstrap)"
            )
        run.command([_RECIPE / "build_image", tag])
    return tag


def images(run: Run) -> None:
    """Make every image that other stages start hosts and engines from, so that they do not wait for one another's."""
    from . import nim_lab

    require_engine(run)
    for image in (fleet_image(run), nim_lab.nim_image(run)):
        run.verdict(f"the image {image}", True)


def firewall_image(run: Run) -> str:
    """Return the name of the image of a test host with firewalls and an engine; made as host_image is."""
    return _built_on(run, host_image(run), _FIREWALLS, "firewalls")


def fleet_image(run: Run) -> str:
    """Return the name of the image of a host of a fleet, which has the packages that the roles install; made as host_image is."""
    return _built_on(run, firewall_image(run), _FLEET, "fleet")


def _built_on(run: Run, base: str, recipe: paths.Path, name: str) -> str:
    tag = f"nemoclaw-lab-{name}:{hashlib.sha256(base.encode() + recipe.read_bytes()).hexdigest()[:12]}"
    with exclusive(f"lab-{name}-image"):
        if run.execute(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
            run.command([recipe, base, tag])
    return tag


def remove_containers(prefix: str) -> float:
    """Remove what is left of the containers whose names begin so, and return the seconds of CPU that they took; no error where none is."""
    listing = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^{prefix}"]
    found = subprocess.run(listing, env=environment.clean(), capture_output=True, text=True, timeout=60, check=False)
    names = found.stdout.split()
    used = sum(_cpu_seconds(name) for name in names)
    if names:
        removal = ["docker", "rm", "--force", "--volumes", *names]
        subprocess.run(removal, env=environment.clean(), capture_output=True, timeout=120, check=False)
    return used


def _cpu_seconds(container: str) -> float:
    """Return what the kernel counted for a container that runs, 0 where it counts elsewhere."""
    for file, unit in _CPU_COUNTS:
        try:
            text = paths.Path(file.format(container)).read_text(encoding="utf-8")
        except OSError:
            continue
        return int(text.split()[1 if text.startswith("usage_usec") else 0]) / unit
    return 0.0
