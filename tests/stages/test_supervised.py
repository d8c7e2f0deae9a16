"""Supervised training: what each of several processes does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from emocaliber.stages import supervised


def test_lengths_are_counted_by_the_main_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process opens no picture: it takes what the main one sends."""

    def opened(*_: object) -> list[int]:
        raise AssertionError

    monkeypatch.setattr(supervised, "PartialState", lambda: SimpleNamespace(is_main_process=False))
    monkeypatch.setattr(supervised, "broadcast_object_list", lambda sent: [[3, 5]] if sent == [None] else sent)
    monkeypatch.setattr(supervised, "token_lengths", opened)
    assert supervised._lengths_by_main([], None, None, SimpleNamespace(shown_pixels=1)) == [3, 5]  # type: ignore[arg-type]
