"""Data that wants to read or to exhaust: refused, nothing opened outside the root, memory bounded.

A check and a conversion run in a process of their own, which writes down every file that Python opens.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, read_image_bytes
from emocaliber.data.layouts import Source
from emocaliber.data.rows import Row
from emocaliber.evaluation.suite import load_suite
from tests.data import layout_files as files
from tests.data.damage import chunk, png

BOMB = 600_000_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROGRAM = """
import json, os, sys
root, out, action, source = sys.argv[1:5]
from emocaliber.data import actions
from emocaliber.cli import main
try:
    main(["env", "--help"])  # what every verb's options load, so that only this verb's own files are traced
except SystemExit:
    pass
opened = set()
names = {"open", "os.listdir", "os.scandir", "socket.connect", "subprocess.Popen", "os.system"}
sys.addaudithook(lambda name, given: opened.add((name, str(given[0]))) if name in names else None)
code = main(["data", action, source, "--root", root, "--out", out, *(["--workers", "1"] if action == "check" else [])])
touched = sorted(opened)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
print("TRACE" + json.dumps({"code": code, "opened": touched, "peak": peak}))
"""


@dataclass(frozen=True)
class Traced:
    code: int
    opened: set[str]
    events: set[str]
    megabytes: int
    stderr: str


def traced(action: str, source: Path, root: Path, out: Path) -> Traced:
    command = [sys.executable, "-c", PROGRAM, str(root), str(out), action, str(source)]
    environment = os.environ | {"EMOCALIBER_CACHE": str(out.parent if out.suffix else out)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
    trace: dict[str, Any] = json.loads(done.stdout.rpartition("TRACE")[2])
    paths = {os.path.realpath(path) for name, path in trace["opened"] if name == "open" and not path.isdigit()}
    return Traced(trace["code"], paths, {name for name, _ in trace["opened"]}, trace["peak"], done.stderr)


def bomb(size: int = BOMB) -> bytes:
    """So many zeros as a zlib stream: one block of a million, over and over."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(1_000_000)) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", size % 65521, 1)
    return b"\x78\xda" + block * (size // 1_000_000) + b"\x03\x00" + checksum


def test_the_bomb_is_a_whole_stream():
    assert zlib.decompress(bomb(3_000_000)) == bytes(3_000_000)


def hostile_pictures(root: Path) -> dict[str, str]:
    """Files under the root, and the fault that each must be given ("" where it is harmless)."""
    pixels = bytes(16 * (1 + 16 * 3))
    swollen = bomb()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    contents = {
        "header.png": (png(50_000, 50_000), "oversized image"),
        "text-bomb.png": (png(16, 16, chunk(b"zTXt", b"Comment\0\0" + swollen), pixels=pixels), "unreadable image"),
        "profile-bomb.png": (png(16, 16, chunk(b"iCCP", b"icc\0\0" + swollen), pixels=pixels), "unreadable image"),
        "pixel-bomb.png": (SIGNATURE + header + chunk(b"IDAT", bomb(20_000_000)) + chunk(b"IEND", b""), ""),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
                        "not an image"),
        "page.png": (b"<!doctype html><script>fetch('http://localhost')</script>", "not an image"),
        "program.png": (b"#!/bin/sh\ntouch /tmp/owned\n", "not an image"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n", "not an image"),
    }  # fmt: skip
    for name, (content, _) in contents.items():
        (root / name).write_bytes(content)
    return {name: fault for name, (_, fault) in contents.items()}


def hostile_names(root: Path, outside: Path) -> dict[str, str]:
    """Names that lead out of the root, or nowhere good, and their faults."""
    secret = files.put(outside / "secret.png", 1)
    (root / "link.png").symlink_to(secret)
    (root / "linked").symlink_to(outside)
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    return {
        "../outside/secret.png": "image outside the root",
        "a/../../outside/secret.png": "missing image",
        str(secret): "image outside the root",
        "link.png": "image outside the root",
        "linked/secret.png": "image outside the root",
        "/etc/hostname": "image outside the root",
        "/dev/zero": "image outside the root",
        "/proc/self/environ": "image outside the root",
        "http://localhost/secret.png": "image by address",
        "file:///etc/passwd": "image outside the root",
        "loop.png": "missing image",
        "pipe.png": "missing image",
        "nul\0.png": "missing image",
        "x" * 5000: "missing image",
    }


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The data root, a folder outside of it, and one to write to."""
    for name in ("root", "outside", "out"):
        (tmp_path / name).mkdir()
    return tmp_path / "root", tmp_path / "outside", tmp_path / "out"


@pytest.mark.slow
def test_the_attack_set_is_refused_with_nothing_opened_outside_and_little_memory(places: tuple[Path, Path, Path]):
    root, outside, out = places
    faults = hostile_pictures(root) | hostile_names(root, outside)
    rows = [{"image": name, "label": "joy", "candidates": ["joy", "fear"]} for name in faults]
    source = files.lines(root / "attack.jsonl", rows)
    done = traced("check", source, root, out)
    listed = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert Counter(entry["kind"] for entry in listed) == Counter(fault for fault in faults.values() if fault)
    assert done.code == 2
    assert "Traceback" not in done.stderr
    strangers = {path for path in done.opened if not path.startswith((str(root), str(out), *PYTHON))}
    assert strangers == set()
    assert done.events <= {"open", "os.listdir", "os.scandir"}
    assert done.megabytes <= 500


PYTHON = tuple(
    {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, Path(__file__).parents[2] / "emocaliber")}
)
"""Where Python and this package lie: modules are loaded from there while a check runs."""


@pytest.mark.slow
def test_the_largest_picture_allowed_is_decoded_in_less_than_three_times_its_size(tmp_path: Path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 6300, 6300, 8, 6, 0, 0, 0))
    content = SIGNATURE + header + chunk(b"IDAT", bomb(159_000_000)) + chunk(b"IEND", b"")
    (tmp_path / "large.png").write_bytes(content)
    program = "import sys; from pathlib import Path; from emocaliber.core.images import decode_image; "
    program += "decode_image(Path(sys.argv[1]).read_bytes()); "
    # ru_maxrss would start from what the test runner held when it forked
    program += """print(next(int(s.split()[1]) for s in open("/proc/self/status") if s.startswith("VmHWM")) // 1024)"""
    command = [sys.executable, "-c", program, str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 3 * 159


@pytest.mark.slow
def test_a_conversion_opens_nothing_outside_either(places: tuple[Path, Path, Path]):
    root, outside, out = places
    for name in hostile_names(root, outside):
        source = files.lines(root / "t.jsonl", [{"image": name, "label": "joy", "candidates": ["joy", "fear"]}])
        with pytest.raises(ImageError):
            read_image_bytes(next(r.sample.image for r in Source(str(source)).rows() if isinstance(r, Row)))
    source = files.lines(root / "t.jsonl", [{"image": "link.png", "label": "joy", "candidates": ["joy", "fear"]}])
    done = traced("convert", source, root, out / "out.parquet")
    assert done.code == 2
    assert "lies outside the data root" in done.stderr
    assert not {path for path in done.opened if path.startswith(str(outside))}
    assert not (out / "out.parquet").exists()


def test_a_parquet_file_cannot_name_a_picture_above_its_folder(places: tuple[Path, Path, Path]):
    root, outside, _ = places
    files.put(outside / "secret.png", 1)
    rows = {"image": [{"bytes": None, "path": "../outside/secret.png"}], "label": ["joy"], "candidates": [["joy", "a"]]}
    pq.write_table(pa.table(rows), root / "t.parquet")
    (sample,) = files.read(root / "t.parquet")
    with pytest.raises(ImageError, match="outside the data root"):
        read_image_bytes(sample.image)


@pytest.mark.parametrize("layout", ["emoset", "vecbench", "ms-swift", "webemo"])
def test_no_layout_reads_above_its_root(layout: str, places: tuple[Path, Path, Path]):
    root, outside, _ = places
    files.put(outside / "secret.png", 1)
    name = "../outside/secret.png"
    if layout == "emoset":
        files.emoset(root)
        (root / "train.json").write_text(json.dumps([["awe", name, "x.json"]]))
        source = root
    elif layout == "webemo":
        (root / "train25.txt").write_text(f"{name} rage\n")
        source = root
    elif layout == "vecbench":
        source = files.lines(root / "test.jsonl", [files.vecbench_row(name)])
    else:
        said = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "awe"}]
        source = files.lines(root / "t.jsonl", [{"messages": said, "images": [name]}])
    samples = files.read(source)
    with pytest.raises(ImageError, match="outside the data root"):
        read_image_bytes(samples[0].image)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system", "!!python/object/new:dict {}"]
)
def test_yaml_tags_are_refused(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(f"name: {tag}\ntasks: {{}}\ngroups: {{}}\n")
    with pytest.raises(UserError, match="is not YAML"):
        load_suite(tmp_path / "suite.yaml")
    assert not (tmp_path / "owned").exists()
    assert yaml.unsafe_load("!!python/name:os.system") is os.system  # the attack itself is sound


def test_json_nested_without_end_is_a_problem_and_no_crash(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text("[" * 200_000 + "\n")
    (problem,) = files.problems(tmp_path / "t.jsonl")
    assert problem.kind == "not JSON"
