"""Real model servers for the stages that need one (tests/servers runs them)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import docker, paths, venvs
from .model import Counts
from .run import Run, exclusive

sys.path.insert(0, str(paths.REPO / "tests" / "servers"))


def shared_payloads(plugins: Path, is_for_lab: bool = False) -> dict[str, str]:
    """Return what makes plays share what Ansible packs of these plugins' modules, by default for the Python of Ansible."""
    import payloads

    python = docker.host_python()
    found = payloads.environment(
        shared=str(payloads.folder(paths.PAYLOADS, plugins)), python=python if is_for_lab else ""
    )
    return {**found, "LAB_PYTHON": python}


@dataclass(frozen=True)
class ModelServer:
    """A llama.cpp server that runs: base_url ends with /v1, root_url has no path."""

    base_url: str
    root_url: str
    model: str
    api_key: str

    @property
    def port(self) -> int:
        return urlsplit(self.root_url).port or 0


@contextlib.contextmanager
def model_server(run: Run, behaviour: str, api_key: str) -> Iterator[ModelServer]:
    """Serve one behaviour of tests/servers/scripted_model.py on a free port of 127.0.0.1 until the block ends."""
    from llama_server import serving

    python = venvs.venv(run, "servers") / "python"
    with serving(behaviour, api_key=api_key, python=str(python), cache_dir=paths.CACHE / "models") as server:
        run.say(f"llama.cpp serves `{behaviour}` at {server.root_url}")
        yield ModelServer(server.base_url, server.root_url, server.model, api_key)


def ollama_home(run: Run) -> Path | None:
    """Return the environment of the real Ollama, made on first use; None, counted as a skip, where it cannot be had.

    410 MB are downloaded and 1.4 GB installed, in half a minute, so it has an environment of its own and only stages that
    ask for it pay.
    """
    missing = []
    if platform.machine() != "x86_64":
        missing.append("PyPI has this Ollama for x86_64 only")
    if not shutil.which("docker-registry"):
        missing.append("docker-registry is not installed (Debian package of that name)")
    if not shutil.which("zstd"):
        missing.append("zstd is not installed (Debian package of that name)")
    if missing:
        run.counts.add(Counts(skipped=1, reasons=[f"no tests against a real Ollama: {', '.join(missing)}"]))
        return None
    recipe = paths.REPO / "tests" / "servers" / "requirements-ollama.txt"
    folder = paths.VENVS / f"ollama-{hashlib.sha256(recipe.read_bytes()).hexdigest()[:12]}"
    with exclusive("venv-ollama", paths.VENVS / "locks"):
        run.command([sys.executable, recipe.parent / "ollama_server.py", "--install", folder])
    # A process is told by its real path, whichever checkout the folder is reached from.
    return folder.resolve()


def openshell_home(run: Run) -> Path | None:
    """Return the folder of the real OpenShell CLIs, made on first use; None, counted as a skip, where it cannot be had.

    60 MB are downloaded and 170 MB unpacked, in a quarter of a minute.
    """
    if platform.machine() != "x86_64":
        run.counts.add(
            Counts(skipped=1, reasons=["no tests against a real OpenShell CLI: the wheels are for x86_64 only"])
        )
        return None
    recipe = paths.REPO / "tests" / "servers" / "openshell_parts.py"
    content = recipe.read_bytes() + (recipe.parent / "requirements-openshell.txt").read_bytes()
    folder = paths.VENVS / f"openshell-{hashlib.sha256(content).hexdigest()[:12]}"
    with exclusive("venv-openshell", paths.VENVS / "locks"):
        run.command([sys.executable, recipe, "--install", folder])
    return folder


def weights_home(run: Run, *names: str) -> Path:
    """Return the folder of the real weights of weak models, made on first use: 90 MB are downloaded, or 240 MB for gemma3."""
    return _installed(run, "weights", "weak_models.py", *names)


def clients_home(run: Run) -> Path:
    """Return the environment of the client libraries, made on first use: 10 MB are downloaded, in a quarter of a minute."""
    return _installed(run, "clients", "client_libraries.py")


def _installed(run: Run, recipe: str, program: str, *names: str) -> Path:
    """Return the folder that a program of tests/servers installs what requirements-RECIPE.txt asks for into."""
    path = paths.REPO / "tests" / "servers" / program
    content = path.read_bytes() + (path.parent / f"requirements-{recipe}.txt").read_bytes()
    folder = paths.VENVS / f"{'-'.join((recipe, *names))}-{hashlib.sha256(content).hexdigest()[:12]}"
    with exclusive(f"venv-{recipe}", paths.VENVS / "locks"):
        run.command([sys.executable, path, "--install", folder, *names])
    return folder


@contextlib.contextmanager
def openshell(run: Run, home: Path) -> Iterator[list[dict[str, str]]]:
    """Run a stand-in gateway for each release until the block ends; yields what integration_config.yml gets."""
    import openshell_parts

    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(openshell_parts.serving(release, home)) for release in openshell_parts.RELEASES]
        run.say(f"OpenShell gateways: {', '.join(gateway.endpoint for gateway in found)}")
        yield [
            {
                "release": gateway.release,
                "endpoint": gateway.endpoint,
                "cli": str(gateway.cli),
                "state": str(gateway.state),
            }
            for gateway in found
        ]


@contextlib.contextmanager
def nemoclaw() -> Iterator[Path]:
    """Install a double of NemoClaw's program until the block ends, and return its folder."""
    import nemoclaw_double

    with tempfile.TemporaryDirectory(prefix="nemoclaw-double-") as folder:
        yield nemoclaw_double.install(Path(folder, "double")).folder


@dataclass(frozen=True)
class Models:
    """A registry of Ollama models: what each is pulled by, and the ports of 127.0.0.1 that a pull needs."""

    names: dict[str, str]
    ports: tuple[int, int]


@contextlib.contextmanager
def ollama_models() -> Iterator[Models]:
    """Run a real registry until the block ends: two models that can use tools, and one that cannot."""
    import model_registry

    with model_registry.serving() as registry:
        names = {
            "tools": registry.push("lab/tools", "1b", padding=20_000_000),
            "other": registry.push("lab/other", "1b", padding=1_000_000),
            "plain": registry.push("lab/plain", "latest", tools=False),
        }
        yield Models(names, (registry.port, registry.content.server_address[1]))


def write_release(path: Path, home: Path, generator: ModelServer) -> str:
    """Pack tests/servers/ollama_front.py as a release of Ollama that hosts can install, and return its checksum."""
    import ollama_front
    import ollama_server

    program = ollama_server.find_binary(home).relative_to(home)
    ollama_front.write_archive(path, program, generator.base_url, generator.api_key)
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@contextlib.contextmanager
def ollama(run: Run, home: Path) -> Iterator[dict[str, object]]:
    """Run a real Ollama, a real registry with models and a server of archives until the block ends.

    Yields what integration_config.yml gets.
    """
    import model_registry
    import ollama_archives
    import ollama_server

    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(ollama_server.serving(home))
        registry = stack.enter_context(model_registry.serving())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ollama-archives-")))
        archives = ollama_archives.make(home, folder)
        files = stack.enter_context(ollama_archives.serving(folder))
        run.say(f"Ollama {daemon.host}, registry localhost:{registry.port}, archives {files.url}")
        yield {
            "host": daemon.host,
            "tools": registry.push("lab/tools", "1b", padding=20_000_000),
            "plain": registry.push("lab/plain", "latest", tools=False),
            "archives": dataclasses.asdict(archives),
            "archives_url": files.url,
        }
