"""What the tests of managed containers need: an image that stands in for vLLM's, a registry that has it, and a hub with weights."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import docker, environment, paths, venvs
from .model import Counts, StageSkipped
from .run import Run, exclusive

_RECIPE = paths.REPO / "tests" / "servers" / "vllm_image"


def vllm_image(run: Run) -> str:
    """Return the name of the image; made on first use and again whenever its recipe or its base changes."""
    base = docker.host_image(run)
    recipe = base.encode() + b"".join(file.read_bytes() for file in sorted(_RECIPE.iterdir()))
    tag = f"nemoclaw-lab-vllm:{hashlib.sha256(recipe).hexdigest()[:12]}"
    with exclusive("lab-vllm-image"):
        if run.execute(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
            pip = [venvs.venv(run, "tools") / "python", "-m", "pip"]
            run.command([_RECIPE / "build", base, tag, *pip])
    return tag


def gateway(run: Run) -> str:
    """Return the address of this machine that containers on the default bridge reach."""
    template = "{{(index .IPAM.Config 0).Gateway}} {{(index .IPAM.Config 0).Subnet}}"
    told = run.output(["docker", "network", "inspect", "bridge", "--format", template]).split()
    # Docker 20.10 tells no gateway before it was started anew: it is the first address.
    return told[0] if len(told) > 1 else str(next(ipaddress.ip_network(told[0]).hosts()))


@contextlib.contextmanager
def vllm_lab(run: Run) -> Iterator[dict[str, object] | None]:
    """Have all of it until the block ends; yields what integration_config.yml gets, None (a counted skip) without an engine."""
    try:
        docker.require_engine(run)
        image = vllm_image(run)
    except StageSkipped as reason:
        run.counts.add(Counts(skipped=1, reasons=[f"no tests of managed containers: {reason}"]))
        yield None
        return
    import model_hub
    import model_registry
    from llama_server import cached_model

    python = venvs.venv(run, "servers") / "python"
    weights = cached_model("good", paths.CACHE / "models", str(python))
    token, prefix = f"hf_{secrets.token_hex(16)}", f"nemoclaw-test-{secrets.token_hex(4)}"
    repos: dict[str, list[Path]] = {
        name: [weights] for name in ("lab/scripted", "lab/other", "lab/gated", "lab/stalls")
    }
    with (
        contextlib.ExitStack() as stack,
        model_registry.serving() as registry,
        model_hub.serving(repos, {"lab/gated": token}, gateway(run)) as hub,
    ):
        hub.silent.add("lab/stalls")
        pushed = f"127.0.0.1:{registry.port}/lab/vllm:1"
        run.command(["docker", "tag", image, pushed])
        stack.callback(_docker, "rmi", "--no-prune", pushed)
        run.command(["docker", "push", "--quiet", pushed])
        # So that it has to be pulled; the layers stay, under the other name.
        run.command(["docker", "rmi", "--no-prune", pushed])
        stack.callback(docker.remove_containers, prefix)
        yield {"image": image, "pushed": pushed, "hub": hub.url, "token": token, "prefix": prefix}


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], env=environment.clean(), capture_output=True, timeout=120, check=False)
