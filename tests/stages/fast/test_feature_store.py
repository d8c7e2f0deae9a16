"""Features are read back unchanged, and only those of a sealed store count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from emocaliber.stages.fast.vision_features import FeatureStore, Grid, picture_key

FEATURES: dict[str, tuple[torch.Tensor, Grid]] = {
    "one": (torch.arange(24.0).reshape(8, 3), (1, 2, 4)),
    "two": (-torch.arange(12.0).reshape(4, 3), (1, 2, 2)),
}


def store(
    folder: Path, fingerprint: str = "mine", limit: int = 10_000, dtype: torch.dtype = torch.float32
) -> FeatureStore:
    return FeatureStore(folder, fingerprint, 3, dtype, limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_are_read_back_in_the_order_asked_for(tmp_path: Path, dtype: torch.dtype) -> None:
    features = store(tmp_path / "kept", dtype=dtype)
    assert features.add(FEATURES)
    read = features.read(["two", "one", "two"])
    second, first = FEATURES["two"][0], FEATURES["one"][0]
    assert torch.equal(read, torch.cat([second, first, second]).to(dtype))
    assert features.grid("one") == (1, 2, 4)


def test_a_sealed_store_is_reused_by_the_next_run(tmp_path: Path) -> None:
    first = store(tmp_path / "kept")
    first.add(FEATURES)
    first.seal()
    again = store(tmp_path / "kept")
    assert torch.equal(again.read(["one"]), FEATURES["one"][0])
    assert again.grid("two") == (1, 2, 2)


def test_what_was_not_sealed_is_dropped(tmp_path: Path) -> None:
    first = store(tmp_path / "kept")
    first.add({"one": FEATURES["one"]})
    first.seal()
    first.add({"two": FEATURES["two"]})
    again = store(tmp_path / "kept")
    assert "one" in again
    assert "two" not in again
    assert (tmp_path / "kept" / "numbers.bin").stat().st_size == again.size == 8 * 3 * 4


def test_features_of_other_weights_are_not_used(tmp_path: Path) -> None:
    first = store(tmp_path / "kept")
    first.add(FEATURES)
    first.seal()
    assert "one" not in store(tmp_path / "kept", fingerprint="another")


def test_nothing_is_added_beyond_the_limit(tmp_path: Path) -> None:
    features = store(tmp_path / "kept", limit=100)
    assert features.add({"one": FEATURES["one"]})
    assert not features.add({"two": FEATURES["two"]})
    assert "two" not in features
    assert features.size == 96


def test_pictures_of_the_same_bytes_but_another_shape_differ() -> None:
    flat, tall = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert picture_key(flat) != picture_key(tall)
    assert picture_key(flat) == picture_key(flat.copy())
