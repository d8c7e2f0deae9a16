"""What is sent to the Hub goes to a private repository unless asked for, in one commit; the token is never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.hub import Kind, push
from tests.core.fake_hub import TOKEN, FakeHub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A card, results in a hidden folder, and weights."""
    (tmp_path / ".eval_results").mkdir()
    for name in ("README.md", ".eval_results/someone--emotions.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(("kind", "place"), [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")])
@pytest.mark.parametrize("public", [False, True])
def test_every_file_arrives_in_a_repository_that_is_private_unless_asked_for(
    hub: FakeHub, folder: Path, kind: Kind, place: str, public: bool
) -> None:
    assert push(folder, "someone/emotions", kind, public=public) == f"{hub.url}/{place}someone/emotions"
    assert hub.private == {(kind, "someone/emotions"): not public}
    sent = hub.files[kind, "someone/emotions"]
    assert sent == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()
    }
    assert sum("/commit/" in request for request in hub.requests) == 1


def test_what_is_private_is_not_sent_to_a_repository_that_is_public_already(hub: FakeHub, folder: Path) -> None:
    push(folder, "someone/emotions", "model", public=True)
    hub.files.clear()
    with pytest.raises(UserError, match="this repository is public; give --public"):
        push(folder, "someone/emotions", "model")
    assert hub.files == {}


def test_an_error_says_why_without_the_token(hub: FakeHub, folder: Path) -> None:
    hub.refusal = f"no rights for {TOKEN}"
    with pytest.raises(UserError, match=r"--push someone/emotions: 403 Forbidden: no rights for …") as raised:
        push(folder, "someone/emotions", "model")
    assert TOKEN not in str(raised.value)


def test_no_token_and_no_name_are_refused_before_anything_is_asked(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=re.escape("--push emotions: give the repository as OWNER/NAME")):
        push(folder, "emotions", "model")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match="nobody is signed in; run `hf auth login`, or set HF_TOKEN"):
        push(folder, "someone/emotions", "model")
    assert hub.requests == []
