"""The journal: what is on the disk is never asked again, what is torn is."""

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Response
from emocaliber.generation.journal import Journal, content_key

FIRST, SECOND = Response("1", "<answer>ü</answer>", "stop", 4, ((-1.5, -0.25), None)), Response("2", "b", "length", 9)


def test_a_response_is_found_again_exactly_after_reopening(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        journal.append([("k1", FIRST)])
        journal.append([("k2", SECOND)])
        assert (journal.find("k1"), journal.find("k3"), journal.added_tokens) == (FIRST, None, 13)
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        assert (journal.find("k1"), journal.find("k2"), len(journal), journal.added) == (FIRST, SECOND, 2, 0)


def test_a_file_cut_at_any_byte_keeps_its_whole_lines_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append([("k1", FIRST), ("k2", SECOND)])
    content = path.read_bytes()
    first_line = content.index(b"\n") + 1
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        with Journal(path) as journal:
            assert len(journal) == (cut >= first_line) + (cut == len(content))
            journal.append([("k3", SECOND)])
        with Journal(path) as journal:
            assert journal.find("k3") == SECOND
            assert (journal.find("k1") == FIRST) == (cut >= first_line)


def test_garbage_between_lines_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append([("k1", FIRST)])
    path.write_bytes(b'\0\0\xff{"key": 1}\n' + path.read_bytes() + b"\n[]\n")
    with Journal(path) as journal:
        assert journal.find("k1") == FIRST
        assert len(journal) == 1


def test_failed_requests_are_asked_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.append([("k1", Response("1", "", "engine error")), ("k2", Response("2", "", "image error"))])
        assert len(journal) == 0


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl"), pytest.raises(UserError, match="another run"):
        Journal(tmp_path / "j.jsonl")
    Journal(tmp_path / "j.jsonl").close()


def test_a_journal_that_cannot_be_opened_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be opened"):
        Journal(tmp_path / "file" / "j.jsonl")


def test_keys_tell_every_part_from_its_neighbours() -> None:
    keys = {content_key("ab", "c"), content_key("a", "bc"), content_key("ab", ["c"]), content_key("ab", "c", 0)}
    assert len(keys) == 4
