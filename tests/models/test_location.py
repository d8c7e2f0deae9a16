"""A mistyped model or adapter is named before anything is loaded, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.models.location import check_adapter, check_model, default_model


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a model, a run of which only the adapter is below, and a file."""
    for folder, file in (("model", "config.json"), ("out/run/adapter", "adapter_config.json")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).write_text("{}")
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["tiny", "model", "./model", "Qwen/Qwen2.5-VL-7B-Instruct"])
def test_a_folder_and_a_hub_name_pass(name: str) -> None:
    check_model(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinny", "no such folder; did you mean tiny"),
        ("modle", "did you mean model"),
        ("./modle", "did you mean model"),
        ("out/nope", "no such folder"),
        ("out/runn/adapter", "did you mean out/run/adapter"),
        ("/nowhere/at/all", "/nowhere is missing"),
        ("weights.safetensors", "this is a file"),
        ("out/run/adapter", "this is an adapter; give it as --adapter"),
        ("out", "holds no config.json"),
        ("a/b/c", "no such folder"),
    ],
)
def test_what_is_no_model_is_said_with_what_helps(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_model(name)


def test_an_adapter_folder_passes() -> None:
    check_adapter(Path("out/run/adapter"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out/run", "did you mean out/run/adapter"),
        ("out/runs/adapter", "did you mean out/run/adapter"),
        ("model", "this is a model"),
        ("weights.safetensors", "this is a file"),
        ("out/run/adapter/x", "no such folder"),
    ],
)
def test_what_is_no_adapter_is_said_with_what_helps(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_adapter(Path(name))


@pytest.mark.parametrize(
    ("named", "found"),
    [("", (None, None)), ("model", ("model", None)), ("out/run/adapter", (None, "out/run/adapter"))],
)
def test_the_environment_names_a_model_or_an_adapter(
    named: str, found: tuple[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOCALIBER_MODEL", named)
    assert default_model() == found


def test_an_environment_that_names_no_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCALIBER_MODEL", "modle")
    with pytest.raises(UserError, match="EMOCALIBER_MODEL modle: no such folder; did you mean model"):
        default_model()
