"""The Docker engine, and the image of a test host: asked for by name, removed by name, never pruned."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

from . import environment, paths
from .model import StageSkipped
from .run import Run, exclusive

_RECIPE = paths.REPO / "tests" / "lab"
_FIREWALLS = paths.REPO / "tests" / "lab_firewalls" / "build"


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
    for image in (firewall_image(run), nim_lab.nim_image(run)):
        run.verdict(f"the image {image}", True)


def firewall_image(run: Run) -> str:
    """Return the name of the image of a test host with firewalls and an engine; made as host_image is."""
    base = host_image(run)
    tag = f"nemoclaw-lab-firewalls:{hashlib.sha256(base.encode() + _FIREWALLS.read_bytes()).hexdigest()[:12]}"
    with exclusive("lab-firewalls-image"):
        if run.execute(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
            run.command([_FIREWALLS, base, tag])
    return tag


def remove_containers(prefix: str) -> None:
    """Remove what is left of the containers whose names begin so; no error where none is."""
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"name=^{prefix}"]
    found = subprocess.run(listing, env=environment.clean(), capture_output=True, text=True, timeout=60, check=False)
    if found.stdout.split():
        removal = ["docker", "rm", "--force", "--volumes", *found.stdout.split()]
        subprocess.run(removal, env=environment.clean(), capture_output=True, timeout=120, check=False)
