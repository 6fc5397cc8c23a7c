"""What the tests of NIM need: an image that stands in for one, in a registry that wants NVIDIA's user name and a key."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import containers, docker, environment, paths, venvs
from .run import Run, exclusive

# Of the catalogue (plugins/module_utils/nim/catalogue.py): the paths of two images. The second is called so by its server, too.
_FIRST, _SECOND = "meta/llama-3.1-8b-instruct", "nvidia/nemotron-3-nano"
_RECIPE = paths.REPO / "tests" / "servers" / "nim_image"


def nim_image(run: Run) -> str:
    """Return the name of the image; made on first use and again whenever its recipe, its model or its base changes."""
    from llama_server import cached_model

    base = containers.vllm_image(run)
    model = cached_model("good", paths.CACHE / "models", str(venvs.venv(run, "servers") / "python"))
    # The name of the model's file has the sum of what it is made of.
    recipe = f"{base} {model.name}".encode() + b"".join(file.read_bytes() for file in sorted(_RECIPE.iterdir()))
    tag = f"nemoclaw-lab-nim:{hashlib.sha256(recipe).hexdigest()[:12]}"
    with exclusive("lab-nim-image"):
        if run.execute(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
            run.command([_RECIPE / "build", base, model, tag])
    return tag


@contextlib.contextmanager
def opened(run: Run) -> Iterator[dict[str, object]]:
    """
    Have all of it until the block ends; yields what integration_config.yml gets. There has to be an engine.

    The registry has the images of two models of the catalogue. Neither image has its name on this host, so it has to be pulled; the
    layers stay, under the other name.
    """
    import model_registry
    from ollama_server import free_port

    image, key = nim_image(run), f"canary-{secrets.token_hex(16)}"
    prefix = f"nemoclaw-test-{secrets.token_hex(4)}"
    htpasswd = model_registry.htpasswd_line("$oauthtoken", key)
    with (
        contextlib.ExitStack() as stack,
        model_registry.serving(htpasswd=htpasswd) as registry,
    ):
        stack.callback(docker.remove_containers, prefix)
        host = f"127.0.0.1:{registry.port}"
        first, second = (f"{host}/nim/{path}:latest" for path in (_FIRST, _SECOND))
        run.command(["docker", "tag", image, first])
        _make_second(run, image, f"{prefix}-recipe", second)
        for name in (first, second):
            _push(run, host, name, key)
            run.command(["docker", "rmi", "--no-prune", name])
            stack.callback(_remove_image, name)
        yield {
            "image": image,
            "key": key,
            "port": free_port(),
            "prefix": prefix,
            "registry": host,
            "wrong_key": f"canary-{secrets.token_hex(16)}",
        }


def _make_second(run: Run, image: str, container: str, name: str) -> None:
    """Make the image of another model from that of the first: another name for the model is all that differs."""
    run.command(["docker", "create", "--name", container, image])
    run.command(["docker", "commit", "--change", f"ENV NIM_LAB_MODEL={_SECOND}", container, name])
    run.command(["docker", "rm", container])


def _remove_image(name: str) -> None:
    removal = ["docker", "rmi", "--no-prune", name]
    subprocess.run(removal, env=environment.clean(), capture_output=True, timeout=120, check=False)


def _push(run: Run, host: str, name: str, key: str) -> None:
    """Push as somebody who is logged in; the login is in a folder of its own."""
    login = {"auths": {host: {"auth": base64.b64encode(f"$oauthtoken:{key}".encode()).decode()}}}
    with tempfile.TemporaryDirectory(prefix="lab-docker-") as folder:
        Path(folder, "config.json").write_text(json.dumps(login), encoding="utf-8")
        run.command(["docker", "--config", folder, "push", "--quiet", name])
