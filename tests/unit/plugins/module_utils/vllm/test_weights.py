# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The weights in a cache, as huggingface_hub lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.weights import Weights

COMMIT = "0123456789abcdef"


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """Two shards and their index, downloaded completely."""
    found = Weights(str(tmp_path), "lab/model")
    snapshot = found.folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (found.folder / "blobs").mkdir()
    (found.folder / "refs").mkdir()
    (found.folder / "refs" / "main").write_text(COMMIT)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"weight_map": {f"layer.{number}": name for number, name in enumerate(shards)}})
    for number, (name, text) in enumerate(
        [("config.json", "{}"), ("model.safetensors.index.json", index), *((shard, "x" * 100) for shard in shards)]
    ):
        blob = found.folder / "blobs" / str(number)
        blob.write_text(text)
        (snapshot / name).symlink_to(blob)
    return found


def snapshot(weights: Weights) -> Path:
    return weights.folder / "snapshots" / COMMIT


def test_complete(weights: Weights) -> None:
    assert weights.complete
    assert weights.bytes > 200
    assert Weights(str(weights.cache_dir), "lab/model", COMMIT).complete
    assert not Weights(str(weights.cache_dir), "lab/model", "another").complete
    assert not Weights(str(weights.cache_dir), "lab/other").complete


@pytest.mark.parametrize(
    "damage",
    [
        lambda weights: (weights.folder / "blobs" / "3").unlink(),
        lambda weights: (weights.folder / "blobs" / "9.incomplete").touch(),
        lambda weights: (snapshot(weights) / "config.json").unlink(),
        lambda weights: (weights.folder / "refs" / "main").write_text(""),
        lambda weights: (weights.folder / "refs" / "main").write_text("another"),
        lambda weights: (weights.folder / "blobs" / "1").write_text("{"),
        lambda weights: weights.prepare(),
    ],
)
def test_not_complete(weights: Weights, damage: Callable[[Weights], object]) -> None:
    damage(weights)
    assert not weights.complete


def test_a_download_that_is_marked_is_finished_by_taking_the_mark_away(weights: Weights) -> None:
    weights.prepare()
    weights.finish()
    assert weights.complete


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    weights = Weights(str(tmp_path), "lab/model", "main")
    folder = weights.folder / "snapshots" / "main"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    assert not weights.complete
    (folder / "model.safetensors").touch()
    assert weights.complete


def test_growth(weights: Weights) -> None:
    before = weights.measure(1000)
    (weights.folder / "blobs" / "9.incomplete").write_bytes(b"x" * 50)
    after = weights.measure(1000)
    assert (after.done - before.done, after.total) == (50, 1000)
    assert after.grew >= before.grew > 0


def test_removed(weights: Weights) -> None:
    lock = weights.cache_dir / "hub" / ".locks" / weights.folder.name
    lock.mkdir(parents=True)
    weights.remove()
    assert not weights.folder.exists()
    assert not lock.exists()
    weights.remove()


def test_nothing_there_is_no_fault(tmp_path: Path) -> None:
    weights = Weights(str(tmp_path), "lab/model")
    assert (weights.complete, weights.bytes) == (False, 0)
    weights.require_writable()
