# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model and image a run means, and what is checked before a pull, on hosts whose GPUs were recorded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Host
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.plan import Plan
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import (
    KIND,
    MODEL,
    Difference,
    Spec,
    web_proxies,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim import context as nim
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim import lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim.context import (
    Context,
    Desired,
    choose_model,
    gpus_offered,
    image_of,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions import Gpus
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.image import Access
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import proxy_secrets

Named = Callable[[str], Machine]
SUPER = "nvidia/nemotron-3-super-120b-a12b"
SEVENTY = "nvidia/llama-3.1-nemotron-70b-instruct"
NANO = "nvidia/nemotron-3-nano-30b-a3b"
EIGHT = "meta/llama-3.1-8b-instruct"
NOBODY = Account("nobody", 65534, 65534, "/home/u", (65534,))


class Registry:
    """Says for which CPUs it has an image, as nvcr.io may; no machine of ours reaches that, or has its GPUs."""

    def __init__(self, only_amd64: tuple[str, ...] = ()) -> None:
        self.only_amd64 = only_amd64
        self.asked: list[str] = []
        self.logins: list[str] = []

    def login(self, username: str, password: str, registry: str, reauth: bool, dockercfg_path: str) -> Any:
        assert (username, reauth, dockercfg_path) == ("$oauthtoken", True, "/dev/null")
        self.logins.append(registry)

    def inspect_distribution(self, image: str, auth_config: Any) -> Any:
        assert auth_config["password"] == "key"
        self.asked.append(image)
        cpus = ["amd64"] if any(name in image for name in self.only_amd64) else ["amd64", "arm64"]
        return {"Platforms": [{"os": "linux", "architecture": cpu} for cpu in cpus]}


class Engine:
    """An engine as far as a look needs it. The real one is used in tests/integration/targets/nim_container, without GPUs."""

    def __init__(
        self,
        registry: Registry,
        ours: str = "",
        images: tuple[str, ...] = (),
        runtime: bool = True,
        architecture: str = "amd64",
    ) -> None:
        self.client = registry
        self.architecture = architecture
        self.facts = {"nvidia_runtime": runtime, "endpoint": "unix:///x", "rootless": False}
        self._ours = ours
        self._images = images

    def container(self, name: str) -> dict[str, Any] | None:
        return {"Config": {"Labels": {KIND: "nim", MODEL: self._ours}}} if self._ours else None

    def containers(self) -> list[dict[str, Any]]:
        return []

    def image(self, reference: str) -> dict[str, Any] | None:
        return {"Id": "sha256:1", "Architecture": self.architecture} if reference in self._images else None

    def info(self) -> dict[str, Any]:
        return {"DockerRootDir": "/nowhere"}


@pytest.fixture(autouse=True)
def unknown_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no registry of the world for sizes; tests/real asks one of this machine."""
    monkeypatch.setattr(lifecycle, "download_bytes", lambda _reference, _architecture, _credential: None)


def context(machine: Machine, engine: Engine, **desired: Any) -> Context:
    account = find_account()._replace(home="/home/u")
    host = Host(machine, account)
    access = Access(engine.client, machine, account, "key", "nvcr.io")
    return Context(engine, host, Desired(**{"ngc_api_key": "key", **desired}), access)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("only_amd64", "ours", "model", "asked"),
    [
        ((), "", SEVENTY, 1),
        (("70b",), "", "nvidia/llama-3.3-nemotron-super-49b-v1", 2),
        (("70b", "49b"), "", NANO, 3),
        # What an earlier run found is not looked for again.
        (("70b", "49b"), NANO, NANO, 0),
        (("70b",), "lab/something", "nvidia/llama-3.3-nemotron-super-49b-v1", 2),
    ],
)
def test_the_largest_that_is_made_for_arm64(
    machine_named: Named, only_amd64: tuple[str, ...], ours: str, model: str, asked: int
) -> None:
    registry = Registry(only_amd64)
    run = context(machine_named("dgx-spark"), Engine(registry, ours))
    choice = choose_model(run, gpus_offered(run))
    assert (choice.model.name, len(registry.asked)) == (model, asked)
    if asked > 1:
        assert f"{SEVENTY}" in choice.reason
        assert "not made for arm64" in choice.reason


def test_none_is_made_for_arm64(machine_named: Named) -> None:
    run = context(machine_named("dgx-spark"), Engine(Registry(("nim",))))
    with pytest.raises(Failure) as failed:
        choose_model(run, gpus_offered(run))
    assert failed.value.code == "image_architecture"


def test_amd64_needs_no_registry(machine_named: Named) -> None:
    registry = Registry(("nim",))
    run = context(machine_named("h100x8"), Engine(registry))
    assert choose_model(run, gpus_offered(run)).model.name == SUPER
    assert registry.asked == []


@pytest.mark.parametrize(
    ("desired", "model", "image"),
    [
        ({"model": EIGHT}, EIGHT, "nvcr.io/nim/meta/llama-3.1-8b-instruct:latest"),
        ({"model": EIGHT, "registry": "r:5"}, EIGHT, "r:5/nim/meta/llama-3.1-8b-instruct:latest"),
        ({"model": EIGHT, "image": "lab/nim:2"}, EIGHT, "lab/nim:2"),
        ({"model": "lab/own", "image": "lab/nim:2"}, "lab/own", "lab/nim:2"),
        ({"image": "r:5/nim/own"}, "nim/own", "r:5/nim/own:latest"),
    ],
)
@pytest.mark.parametrize("gpus", ["auto", "none"])
def test_models_and_images(machine_named: Named, desired: dict[str, str], model: str, image: str, gpus: str) -> None:
    run = context(machine_named("rtx4090"), Engine(Registry()), gpus=gpus, **desired)
    choice = choose_model(run, gpus_offered(run))
    assert (choice.model.name, image_of(run.desired, choice.model)) == (model, image)


def test_an_image_and_a_short_name_are_the_model_of_the_catalogue(machine_named: Named) -> None:
    """Its memory is checked then, as for the full name."""
    desired = {"image": "lab/nim:2", "model": SEVENTY.rpartition("/")[2].upper()}
    run = context(machine_named("h100x8"), Engine(Registry()), **desired)
    assert choose_model(run, gpus_offered(run)).model.name == SEVENTY
    run = context(machine_named("rtx4090"), Engine(Registry()), **desired)
    with pytest.raises(Failure) as failed:
        choose_model(run, gpus_offered(run))
    assert failed.value.code == "gpu_too_small"


@pytest.mark.parametrize(
    ("machine", "desired", "names"),
    [
        ("dgx-station", {}, ["NVIDIA GB300"]),
        ("dgx-station", {"model": EIGHT}, ["NVIDIA GB300"]),
        ("dgx-station", {"image": "lab/nim:2"}, ["NVIDIA GB300"]),
        ("dgx-station", {"gpus": "", "model": EIGHT}, ["NVIDIA GB300"]),
        ("dgx-station", {"gpus": "0", "model": EIGHT}, ["NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"]),
        ("mixed-models", {}, ["NVIDIA RTX A6000"] * 2),
        ("h100x8", {}, ["NVIDIA H100 80GB HBM3"] * 8),
    ],
)
def test_the_container_gets_gpus_of_one_kind(
    machine_named: Named, machine: str, desired: dict[str, str], names: list[str]
) -> None:
    run = context(machine_named(machine), Engine(Registry()), **desired)
    gpus = choose_model(run, gpus_offered(run)).gpus
    assert gpus is not None
    assert [device["name"] for device in gpus.devices] == names
    assert (gpus.ids == ["all"]) is (machine == "h100x8")


def test_gpus_that_are_named_are_given_as_they_are(machine_named: Named) -> None:
    run = context(machine_named("dgx-station"), Engine(Registry()), gpus="all")
    choice = choose_model(run, gpus_offered(run))
    assert choice.gpus is not None
    assert (choice.gpus.ids, len(choice.gpus.devices)) == (["all"], 2)


def test_without_a_gpu_and_a_model(machine_named: Named) -> None:
    run = context(machine_named("cpu-recorded"), Engine(Registry()), gpus="none")
    with pytest.raises(Failure) as failed:
        choose_model(run, gpus_offered(run))
    assert failed.value.code == "model_missing"


def checked(
    run: Context,
    step: str = "create",
    cache: Path | None = None,
    current: dict[str, Any] | None = None,
    changes: Sequence[Difference] = (),
) -> tuple[bool, int | None]:
    gpus = gpus_offered(run)
    choice = choose_model(run, gpus)
    spec = nim.make_spec(
        "n",
        image_of(run.desired, choice.model),
        choice.model.name,
        port=0,
        addresses=[],
        gpus=",".join(choice.gpus.ids) if choice.gpus else "none",
        cache_dir=str(cache or run.host.machine.root / "cache"),
        account=run.host.account,
        key=run.desired.ngc_api_key.strip() or None,
        environment=nim.bounded_environment(run.desired.environment, choice.gpus),
    )
    return lifecycle.check(run, Plan(replace(spec, container_port=0), current, None, list(changes), step), choice)


def test_what_is_looked_at_before_a_pull(machine_named: Named) -> None:
    registry = Registry()
    image = "nvcr.io/nim/meta/llama-3.1-8b-instruct:latest"
    # That nobody knows the size stops nothing.
    assert checked(context(machine_named("rtx4090"), Engine(registry), model=EIGHT)) == (True, None)
    assert (registry.logins, registry.asked) == (["nvcr.io"], [image])
    assert checked(context(machine_named("rtx4090"), Engine(registry, images=(image,)), model=EIGHT)) == (False, None)
    # The image is here, so only the key is asked about.
    assert (registry.logins, registry.asked) == (["nvcr.io", "nvcr.io"], [image])


@pytest.mark.parametrize(
    ("engine", "desired", "code"),
    [
        ({"runtime": False}, {}, "nvidia_runtime_missing"),
        ({}, {"model": SEVENTY}, "gpu_too_small"),
        ({}, {"model": "nothing"}, "model_unknown"),
        ({}, {"gpus": "7"}, "gpu_unknown"),
        ({}, {"allow_download": False}, "download_not_allowed"),
        # A key of spaces is none.
        ({}, {"ngc_api_key": " \n"}, "ngc_key_missing"),
        ({}, {"gpus": ","}, "gpu_unknown"),
        ({}, {"models": {EIGHT: {"weights_bytes": 10**18, "memory_mib": 1}}, "model": EIGHT}, "gpu_too_small"),
        # Brought by docker load.
        ({"images": ("lab/nim:2",), "architecture": "arm64"}, {"image": "lab/nim:2"}, "image_architecture"),
    ],
)
def test_what_is_refused(machine_named: Named, engine: dict[str, Any], desired: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as failed:
        checked(context(machine_named("rtx4090"), Engine(Registry(), **engine), **desired))
    assert failed.value.code == code


def test_a_full_disk(machine_named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Facts", (), {"f_bavail": 1, "f_frsize": 4096})
    monkeypatch.setattr("os.statvfs", lambda _path: full)
    with pytest.raises(Failure, match=r"the weights of meta/llama-3\.1-8b-instruct") as failed:
        checked(context(machine_named("rtx4090"), Engine(Registry()), model=EIGHT))
    assert failed.value.code == "disk_too_small"


@pytest.mark.parametrize(
    ("folder", "desired", "current", "changes", "fits"),
    [
        (None, {}, False, (), False),
        # Another model's files leave no more to download than there was.
        ("ngc/hub/models--nim--nvidia--llama-3.1-nemotron-70b-instruct", {}, False, (), False),
        ("ngc/hub/models--nim--meta--llama-3_1-8b-instruct", {}, False, (), True),
        ("huggingface/hub/models--meta--Llama-3.1-8B-Instruct", {}, False, (), True),
        (None, {"keyless": True}, False, (), True),
        # It served the same model from the same cache.
        (None, {}, True, ("environment A",), True),
        (None, {}, True, ("image",), False),
        (None, {}, True, ("mounts",), False),
    ],
)
def test_room_for_what_is_not_in_the_cache_yet(
    machine_named: Named,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str | None,
    desired: dict[str, Any],
    current: bool,
    changes: tuple[str, ...],
    fits: bool,
) -> None:
    size = 8_000
    if folder:
        blob = tmp_path / folder / "blobs" / "a"
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"x" * size)
        (blob.parent.parent / "snapshots").symlink_to(blob)
    monkeypatch.setattr("os.statvfs", lambda _path: type("Facts", (), {"f_bavail": 1, "f_frsize": 10}))
    wanted = {"model": EIGHT, "models": {EIGHT: {"weights_bytes": size}}, **desired}
    run = context(machine_named("rtx4090"), Engine(Registry()), **wanted)
    found = {"Config": {"Labels": {MODEL: EIGHT}}} if current else None
    differences = [Difference(name, 1, 2) for name in changes]
    try:
        checked(run, "replace" if current else "create", tmp_path, found, differences)
        outcome = None
    except Failure as failure:
        outcome = failure.code
    assert outcome == (None if fits else "disk_too_small")


@pytest.mark.parametrize("closed", ["", "ngc", "ngc/hub"])
@pytest.mark.parametrize("step", ["create", "start"])
def test_a_cache_of_somebody_else(machine_named: Named, closed: str, step: str) -> None:
    """A cache that docker run made is root's."""
    run = context(machine_named("rtx4090"), Engine(Registry()), model=EIGHT)
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place, "cache")
        (cache / "ngc" / "hub").mkdir(parents=True)
        if os.geteuid() == 0:
            run = run._replace(host=Host(run.host.machine, NOBODY))
            for one in (Path(place), *Path(place).rglob("*")):
                one.chmod(0o755)
                if one != cache / closed:
                    os.chown(one, NOBODY.uid, NOBODY.gid)
        else:
            (cache / closed).chmod(0o555)
        with pytest.raises(Failure) as failed:
            checked(run, step, cache)
        (cache / closed).chmod(0o755)
    assert failed.value.code == "cache_not_writable"
    assert f"sudo chown -R {run.host.account.uid} {cache}" in failed.value.message
    assert str(cache / closed) in failed.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "open_to_it"),
    [
        (65534, 12345, 0o700, True),
        # The container is in the group root, and in none of the user's groups.
        (0, 0, 0o775, False),
        (0, 65534, 0o2775, False),
        (0, 65534, 0o2777, True),
    ],
)
def test_a_cache_that_a_group_may_write_to(
    machine_named: Named, owner: int, group: int, mode: int, open_to_it: bool
) -> None:
    run = context(machine_named("rtx4090"), Engine(Registry()), model=EIGHT)
    run = run._replace(host=Host(run.host.machine, NOBODY))
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, owner, group)
        Path(place).chmod(mode)
        try:
            checked(run, "create", Path(place))
            outcome = None
        except Failure as failure:
            outcome = failure.code
    assert outcome == (None if open_to_it else "cache_not_writable")


@pytest.mark.parametrize(("name", "why"), [("file/cache", "is not a folder"), ("a\0b", "no folder can be called so")])
def test_a_cache_that_cannot_be_a_folder(machine_named: Named, tmp_path: Path, name: str, why: str) -> None:
    run = context(machine_named("rtx4090"), Engine(Registry()), model=EIGHT)
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match=why) as failed:
        checked(run, "create", tmp_path / name)
    assert failed.value.code == "cache_not_writable"


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, 0.9),
        ({"NIM_KVCACHE_PERCENT": "0.4"}, 0.4),
        ({"NIM_KVCACHE_PERCENT": " .5 "}, 0.5),
        ({"NIM_KVCACHE_PERCENT": "40"}, 0.9),
        ({"NIM_KVCACHE_PERCENT": "nan"}, 0.9),
        ({"NIM_PASSTHROUGH_ARGS": "--max-num-seqs 8 --gpu-memory-utilization 0.35"}, 0.35),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization=1.0", "NIM_KVCACHE_PERCENT": "0.4"}, 1.0),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization 0.2 --gpu-memory-utilization 0.3"}, 0.3),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization 0.2.1"}, 0.9),
    ],
)
def test_the_part_of_the_memory_that_it_takes(environment: dict[str, str], share: float) -> None:
    assert nim.memory_share(environment) == share


def test_a_gpu_of_which_it_does_not_get_its_part(
    machine_named: Named, write_command: Callable[[Path, str], Path]
) -> None:
    """20000 of 24564 MiB are free: enough for the model, and too little for what a NIM takes."""
    machine = machine_named("rtx4090")
    write_command(
        machine.root / "usr/bin/nvidia-smi",
        'case "$1" in\n  --query-gpu=*) echo "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 20000, 8.9, 550.144.03";;\nesac',
    )
    with pytest.raises(Failure, match="the server takes 22107 MiB") as failed:
        checked(context(machine, Engine(Registry()), model=EIGHT))
    assert failed.value.code == "gpu_busy"
    smaller = {"environment": {"NIM_KVCACHE_PERCENT": "0.75"}}
    assert checked(context(machine, Engine(Registry()), model=EIGHT, **smaller))[0] is True
    # Of an image of the user's nobody knows what it takes.
    assert checked(context(machine, Engine(Registry()), image="nvcr.io/lab/own:1"))[0] is True


def test_a_gpu_that_ollama_holds(machine_named: Named, write_command: Callable[[Path, str], Path]) -> None:
    machine = machine_named("rtx4090")
    held = "4711, /usr/local/bin/ollama, 20000"
    write_command(
        machine.root / "usr/bin/nvidia-smi",
        'case "$1" in\n  --query-gpu=*) echo "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 4000, 8.9, 550.144.03";;\n'
        f'  --query-compute-apps=pid,process_name,used_memory) echo "{held}";;\n  *) exit 64;;\nesac',
    )
    with pytest.raises(Failure, match=r"Held by /usr/local/bin/ollama \(pid 4711, 20000 MiB\)") as failed:
        checked(context(machine, Engine(Registry()), model=EIGHT))
    assert failed.value.code == "gpu_busy"
    assert checked(context(machine, Engine(Registry()), model=EIGHT, share_gpus=True))[0] is True


def test_web_proxies_are_given_and_kept_secret() -> None:
    """A NIM downloads its model by itself."""
    environ = {"HTTPS_PROXY": "http://u:c%40nary@proxy:3128", "no_proxy": "lab", "HTTP_PROXY": "", "X": "y"}
    proxies = web_proxies(environ)
    assert proxies == {
        "HTTPS_PROXY": environ["HTTPS_PROXY"],
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "lab,localhost,127.0.0.1",
    }
    assert web_proxies({"NO_PROXY": "lab"}) == {}
    assert proxy_secrets(environ) == [environ["HTTPS_PROXY"], "c%40nary", "c@nary"]
    assert proxy_secrets({"http_proxy": "http://proxy:3128"}) == []
    made = make(key="key", proxies=proxies, environment={"no_proxy": "mine"})
    assert "no_proxy=mine" in made.body()["Env"]
    assert f"HTTPS_PROXY={environ['HTTPS_PROXY']}" in made.body()["Env"]
    assert "c%40nary" not in str({**made.body(), "Env": []})
    assert set(made.secrets) == {"HTTPS_PROXY", "NO_PROXY", *nim.KEY_VARIABLES}


def test_a_rootless_engine_maps_its_root_to_the_user() -> None:
    assert (make().user, make(rootless=True).user) == ("1000:0", "0:0")


def make(**wanted: Any) -> Spec:
    given: dict[str, Any] = {"key": None, "environment": {}, **wanted}
    account = find_account()._replace(uid=1000)
    return nim.make_spec(
        "n", "i:1", "m", port=8000, addresses=[], gpus="none", cache_dir="/c", account=account, **given
    )


def test_the_key_is_in_the_environment_alone() -> None:
    account = find_account()._replace(uid=1000)
    spec = nim.make_spec(
        "n",
        "i:1",
        "m",
        port=8000,
        addresses=["127.0.0.1"],
        gpus="all",
        cache_dir="/c",
        account=account,
        key="canary",
        environment={},
    )
    body = spec.body()
    assert sorted(body.pop("Env")) == ["NGC_API_KEY=canary", "NIM_NGC_API_KEY=canary"]
    assert "canary" not in str(body)
    assert (body["User"], body["HostConfig"]["ShmSize"]) == ("1000:0", 16 * 1024**3)


def test_when_a_cache_grew(tmp_path: Path) -> None:
    assert nim.last_growth(tmp_path / "none") == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert nim.last_growth(tmp_path) >= (tmp_path / "a" / "b").stat().st_mtime


def test_a_nim_leaves_room_to_a_host_whose_memory_it_shares(machine_named: Named) -> None:
    """It takes 90 % by itself, which is too much of a Spark."""
    devices = [{"name": "NVIDIA GB10", "memory_total_mib": 122_571, "unified_memory": True}]
    spark, own = Gpus(["all"], devices), Gpus(["all"], [{**devices[0], "unified_memory": False}])
    assert nim.memory_share(nim.bounded_environment({}, spark)) == 0.86
    assert nim.bounded_environment({"NIM_KVCACHE_PERCENT": "0.95"}, spark) == {"NIM_KVCACHE_PERCENT": "0.95"}
    for gpus in (own, None):
        assert nim.bounded_environment({"A": "b"}, gpus) == {"A": "b"}
