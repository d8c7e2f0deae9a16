"""What the frozen backbone sees becomes views: a row for every picture, whatever is wrong with it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.baselines.features import FeatureExtractor, rows_of, view_set
from emocaliber.baselines.view_files import read_views, write_views
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.corruption import corrupted_sample
from emocaliber.data.embedded import load
from emocaliber.models.location import embedded_base
from tests.stages.families import FAMILIES, save_family


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(embedded_base(), "Describe the drawing.", batch_size=4, max_new_tokens=6)


def _few() -> list[Sample]:
    samples = load("emoji")
    return [s for split in ("train", "calibrate", "test") for s in [s for s in samples if s.split == split][:5]]


@pytest.mark.slow
def test_a_batch_changes_nothing(extractor: FeatureExtractor):
    samples = _few()[:6]
    together = extractor.views(samples)
    alone = [extractor.views([sample]) for sample in samples]
    for name, values in together.items():
        assert np.allclose(values, np.concatenate([views[name] for views in alone]), atol=1e-3)


@pytest.mark.slow
def test_a_broken_picture_is_a_missing_view(extractor: FeatureExtractor):
    good, bad = _few()[:2]
    views = extractor.views([good, replace(bad, image=b"no picture")])
    assert all(np.isfinite(values[0]).all() and np.isnan(values[1]).all() for values in views.values())
    with pytest.raises(UserError, match="none of 1 pictures"):
        extractor.views([replace(bad, image=b"no picture")])


@pytest.mark.slow
def test_a_corrupted_picture_is_seen_differently(extractor: FeatureExtractor):
    samples = _few()[:2]
    plain, noisy = extractor.views(samples), extractor.views([corrupted_sample(s, "noise", 0.5) for s in samples])
    assert all(not np.allclose(plain[name], noisy[name], atol=1e-2) for name in plain)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_architecture_gives_finite_views_of_every_picture(family: str, tmp_path: Path):
    samples = _few()[:3]
    looking = FeatureExtractor(save_family(family, tmp_path), "Describe the drawing.", batch_size=2, max_new_tokens=3)
    views = looking.views(samples)
    assert list(views) == ["image", "centre", "caption"]
    assert all(len(values) == 3 and np.isfinite(values).all() for values in views.values())
    assert views["image"].shape == views["centre"].shape
    assert not np.allclose(views["image"][0], views["image"][1])


@pytest.mark.slow
def test_labels_votes_and_clusters_survive_the_file(extractor: FeatureExtractor, tmp_path: Path):
    samples = _few()
    write_views(tmp_path / "emoji.npz", view_set(samples, extractor))
    stored = read_views(tmp_path / "emoji.npz")
    test = [sample for sample in samples if sample.split == "test"]
    rows = stored.splits["test"]
    assert (stored.task, stored.classes) == ("emoji", samples[0].candidates)
    assert rows.ids.tolist() == [sample.id for sample in test]
    assert rows.clusters.tolist() == [sample.cluster for sample in test]
    assert rows.votes is not None
    assert rows.votes[0].tolist() == [(test[0].votes or {}).get(label, 0) for label in stored.classes]


def test_a_sample_without_a_label_is_named():
    picture = io.BytesIO()
    Image.new("RGB", (28, 28)).save(picture, "PNG")
    sample = replace(_few()[0], label=None, image=picture.getvalue())
    with pytest.raises(UserError, match=sample.id):
        rows_of([sample], sample.candidates, {"image": np.zeros((1, 2), np.float32)})


def test_nothing_to_look_at_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["baseline", "features", "--out", str(tmp_path)]) == 2
    assert "give --data or --suite" in capsys.readouterr().err
    assert main(["baseline", "train", "tmc", "--out", str(tmp_path)]) == 2
    assert "give --views or --suite" in capsys.readouterr().err
