# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What rules out a set-up, as far as facts and settings show, before anything is changed, packages included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..failure import Failure, clean_key
from ..host.sockets import tell_openness
from ..proxy.configuration import PROBE_PATH, Gate, ProxySettings, problems
from ..transport.url import parse_base_url
from .choice import MANAGED, WINDOWS_PROVIDERS, Choice, Host, is_gated, refuse_side
from .settings import Settings

_PLATFORMS = "Run nemoclaw.local_inference.site, which is for every host, or exclude this host with --limit."


def foresee(
    host: Host, settings: Settings, choice: Choice, keep_route: bool = False, seen: Mapping[str, Any] | None = None
) -> list[Failure]:
    """Return everything that rules it out, in the order in which a user would correct it."""
    looks = (*_OF_THE_HOST, _endpoint, _vllm, _libraries, _proxy)
    return [*settings.problems, *_refused(looks, _Context(host, settings, choice, keep_route, seen))]


def foresee_host(
    host: Host, settings: Settings, choice: Choice, keep_route: bool = False, seen: Mapping[str, Any] | None = None
) -> list[Failure]:
    """Return what of it is about the host alone: the rest, the role of the provider and that of the auth proxy say."""
    return _refused(_OF_THE_HOST, _Context(host, settings, choice, keep_route, seen))


class _Context:
    """What a refusal follows from."""

    def __init__(
        self, host: Host, settings: Settings, choice: Choice, keep_route: bool, seen: Mapping[str, Any] | None
    ) -> None:
        self.host = host
        self.settings = settings
        self.choice = choice
        self.keep_route = keep_route
        self.seen = seen


def gates(settings: Settings, choice: Choice, with_ollama: bool) -> list[Gate]:
    """Return the servers behind the auth proxy, as the role proxy has them, in its order.

    Args:
        settings: What is wanted.
        choice: Which server is set up; it was proved before, so it has to answer through the proxy as well.
        with_ollama: Whether an Ollama runs here, whose entry then stands first also where another server is set up.

    Raises:
        Failure: C(proxy_settings_invalid) for an entry of proxy_backends that is none.

    """
    is_ollama = choice.role == "ollama"
    ollama = Gate(
        "ollama",
        int(settings["preflight_ollama_proxy_port"]),
        serving=is_ollama,
        upstream_port=int(settings["preflight_ollama_port"]),
        paths=tuple(map(str, settings["proxy_paths"])),
    )
    if is_ollama:
        return [ollama, *map(_backend, settings["proxy_backends"])]
    server = Gate(
        choice.role if with_ollama else "ollama",
        int(settings[f"{choice.role}_gate_port"]),
        serving=True,
        upstream_port=int(settings[f"{choice.role}_port"]),
        paths=("/v1/models", "/v1/chat/completions"),
    )
    return [ollama, server] if with_ollama else [server]


def _backend(one: Mapping[str, Any]) -> Gate:
    try:
        return Gate(
            str(one["name"]),
            int(one["port"]),
            str(one.get("probe_path") or PROBE_PATH),
            upstream_port=int(one["upstream_port"]),
            paths=tuple(map(str, one.get("paths") or ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure(
            "proxy_settings_invalid",
            f"Each entry of proxy_backends needs a name and the numbers port and upstream_port, but one is {one!r}.",
        ) from None


def proxy_settings(settings: Settings, servers: list[Gate]) -> ProxySettings:
    """Return what the files of the auth proxy are made of."""
    own = {name.partition("_")[2]: value for name, value in settings.values.items() if name.startswith("proxy_")}
    return ProxySettings.of(servers, {**own, "listen": [str(one) for one in own["listen"]]})


def _ports(at: _Context) -> Iterator[Failure]:
    ollama, proxy = at.settings["preflight_ollama_port"], at.settings["preflight_ollama_proxy_port"]
    if ollama == proxy:
        yield Failure(
            "setting_invalid",
            f"Ollama and its auth proxy are both set to port {ollama}, so the proxy would call itself. Set nemoclaw_ollama_port "
            "and nemoclaw_ollama_proxy_port to two different ones.",
            variable="nemoclaw_ollama_proxy_port",
        )


def _platform(at: _Context) -> Iterator[Failure]:
    wanted = at.settings["preflight_platforms"]
    if wanted and at.host["platform"] not in wanted:
        yield Failure(
            "platform_excluded",
            f"This host is {at.host['platform']} ({at.host['platform_evidence']}), and this play is for {', '.join(wanted)}. {_PLATFORMS}",
        )


def _switch(at: _Context) -> Iterator[Failure]:
    if not at.keep_route:
        return
    if not at.host["route"]:
        yield Failure(
            "route_not_recorded",
            "This host has no recorded route to switch. Run the playbook nemoclaw.local_inference.site first, with the same nemoclaw_user "
            "and nemoclaw_route_path.",
        )
        return
    yield from _other_server(at)
    wanted = at.settings["nim_model"]
    if at.choice.provider == "vllm" and wanted and at.host["vllm"]["running"]:
        yield from _other_model(wanted, at.host["vllm"])
    if at.choice.provider == "install-vllm" and wanted and not at.settings["vllm_model"]:
        served = at.host["route"]["model"]
        if wanted != served:
            yield Failure(
                "setting_contradiction",
                f"nemoclaw_model is {wanted}, but this host's managed vLLM, which serves {served}, takes its model from "
                f"nemoclaw_vllm_model. Set that: -e nemoclaw_vllm_model={wanted}.",
                variable="nemoclaw_vllm_model",
            )


def _other_server(at: _Context) -> Iterator[Failure]:
    """What is named for another kind of server, and nothing for this one, would switch nothing, without a word."""
    settings, provider = at.settings, at.choice.provider
    if provider != at.host["route"]["provider"]:
        return
    read = {"install-vllm": ("vllm_model", "nim_model"), "endpoint": ("endpoint_url", "endpoint_model")}
    ours = read.get(provider) or read.get(at.choice.role) or ("nim_model", "ollama_model")
    others = [name for name in ("vllm_model", "endpoint_url") if settings.is_given(name) and name not in ours]
    if others and not any(settings.is_given(name) for name in ours):
        variable = settings.given[others[0]]
        means = "install-vllm" if others[0] == "vllm_model" else "custom"
        yield Failure(
            "setting_contradiction",
            f"{variable} is set, which the provider {means} reads, but this host's provider is {provider}, {at.choice.reason}: "
            f"nothing would be switched. Switch the provider as well (-e nemoclaw_provider={means}), or set what {provider} reads.",
            variable=variable,
        )


def _other_model(wanted: str, vllm: Mapping[str, Any]) -> Iterator[Failure]:
    """A vLLM that somebody else runs serves what it was started with; its first model is taken (the page)."""
    if vllm["models"] and wanted != vllm["model"]:
        others = ", ".join(vllm["models"])
        yield Failure(
            "model_not_served",
            f"nemoclaw_model is {wanted}, but the vLLM on port {vllm['port']} was started with {others}. Start it with {wanted} "
            f"(vllm serve {wanted}) and run this again, or have this collection run it: nemoclaw_provider install-vllm.",
            served_models=vllm["models"],
        )


def _wsl(at: _Context) -> list[Failure]:
    choice = at.choice
    return refuse_side(at.host, at.settings, choice.provider, choice.side, at.seen) if choice.role == "ollama" else []


_OF_THE_HOST = (_ports, _platform, _switch, _wsl)


def _refused(looks: Iterable[Callable[[_Context], Iterable[Failure]]], at: _Context) -> list[Failure]:
    found: list[Failure] = []
    for look in looks:
        try:
            found += look(at)
        except Failure as failure:
            found.append(failure)
    return found


def _endpoint(at: _Context) -> Iterator[Failure]:
    if at.choice.role != "endpoint":
        return
    if not at.settings["endpoint_url"]:
        yield Failure(
            "endpoint_url_missing",
            f"The provider {at.choice.provider} needs the base URL of the server: set nemoclaw_endpoint_url in the inventory, or "
            "NEMOCLAW_ENDPOINT_URL in the environment, for example to http://localhost:8000/v1.",
        )
        return
    api = endpoint_api(at.settings, at.choice)
    parse_base_url(at.settings["endpoint_url"], api)
    clean_key(endpoint_key(at.settings, at.choice))
    if at.settings["endpoint_sandbox_url"]:
        parse_base_url(at.settings["endpoint_sandbox_url"], api, for_sandbox=True)


def endpoint_api(settings: Settings, choice: Choice) -> str:
    """Return the API that is asked for: that of Anthropic follows from the provider, and is no choice."""
    is_anthropic = choice.provider == "anthropicCompatible"
    return "anthropic-messages" if is_anthropic else str(settings["endpoint_preferred_api"])


def endpoint_key(settings: Settings, choice: Choice) -> str:
    """Return the key of the server, empty for none: each provider has its own."""
    own = "compatible_anthropic_api_key" if choice.provider == "anthropicCompatible" else "compatible_api_key"
    return str(settings["endpoint_api_key"] or settings[own])


def _vllm(at: _Context) -> Iterator[Failure]:
    if at.choice.provider != "vllm":
        return
    vllm, port = at.host["vllm"], at.settings["vllm_port"]
    if not vllm["running"]:
        yield Failure(
            "vllm_not_running",
            f"{vllm['problem'] or f'Nothing answers on 127.0.0.1:{port}.'} The provider vllm uses a vLLM that already runs: start it, for "
            f"example with 'vllm serve MODEL --port {port}', or correct nemoclaw_vllm_port. To run it in a managed container, set "
            "nemoclaw_provider to install-vllm and nemoclaw_experimental to true. For another server use the provider custom.",
        )
    listeners = [one for one in at.host["listeners"] or [] if one["port"] == port and one["scope"] != "loopback"]
    if listeners and at.settings["vllm_gate_port"]:
        addresses = sorted({one["address"] for one in listeners})
        yield Failure(
            "vllm_exposed",
            f"vLLM listens on {', '.join(addresses)} port {port} as well, so clients there need no token and bypass the auth proxy on port "
            f"{at.settings['vllm_gate_port']}. Start it with '--host 127.0.0.1' (a container: publish it only on 127.0.0.1), or do without "
            f"the proxy (vllm_gate_port).",
        )


def may_consult(host: Host, settings: Settings, role: str) -> bool:
    """Tell whether the module that runs the container can look at the engine: it needs an engine and the Docker SDK."""
    return bool(host["python"]["libraries"].get("docker")) and bool(
        host["docker"]["reachable"] or settings[f"{role}_docker_host"]
    )


def missing_libraries(host: Host, settings: Settings, choice: Choice, more: Sequence[str] = ()) -> list[str]:
    """Return the Python libraries that the modules to come need, and the host lacks."""
    wanted = [*more, *(["docker"] if choice.provider in MANAGED else [])]
    wanted += ["jmespath"] if settings["endpoint_expect"] and choice.role == "endpoint" else []
    return [one for one in dict.fromkeys(wanted) if not host["python"]["libraries"].get(one)]


def refuse_libraries(host: Host, missing: Sequence[str]) -> list[Failure]:
    """Return why packages do not help: they serve the distribution's Python, and pip changes no system Python (PEP 668)."""
    executable = host["python"]["executable"]
    if not missing or executable.startswith("/usr/bin/"):
        return []
    return [
        Failure(
            "library_missing",
            f"The Python that runs the modules on this host, {executable}, lacks {', '.join(missing)}, and distribution packages do not "
            f"reach it. Install them into it ({executable} -m pip install {' '.join(missing)}), or set ansible_python_interpreter to "
            f"/usr/bin/python3.",
        )
    ]


def _libraries(at: _Context) -> list[Failure]:
    return refuse_libraries(at.host, missing_libraries(at.host, at.settings, at.choice))


def _proxy(at: _Context) -> Iterator[Failure]:
    host, choice, settings = at.host, at.choice, at.settings
    if choice.provider in WINDOWS_PROVIDERS or not is_gated(host, choice, settings):
        return
    if not host["systemd"]:
        opened = tell_openness(host["listeners"], [settings["preflight_ollama_port"]])
        yield Failure(
            "systemd_missing",
            "The auth proxy is a systemd service, but this host does not run systemd. Boot the host with systemd (on WSL: [boot] "
            f"systemd=true in /etc/wsl.conf, then wsl --shutdown), or use a provider that needs no proxy. {opened}",
        )
    elif host["proxy"] is not None and host["proxy"]["nginx"] is None and host["package_manager"] is None:
        yield Failure(
            "package_manager_missing",
            "The auth proxy is nginx, which this host lacks, and no package manager was found to install it. Install nginx, then run this "
            "again.",
        )
    wanted = gates(settings, choice, bool(host["ollama"]["daemon_version"]))
    for sentence in problems(proxy_settings(settings, wanted)):
        yield Failure("proxy_settings_invalid", sentence)
