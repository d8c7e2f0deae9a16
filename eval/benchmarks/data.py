"""Time and memory of checking, converting and splitting data, and how soon training starts afterwards.

Each is compared with reading every file once with Pillow, in one process. Without --ferplus the images are smoothed
64x64 noise as PNG, in eight classes and three splits, with a JSON Lines file of votes. --kill also measures what is
left to do after kill -9.

    python eval/benchmarks/data.py --ferplus ferplus.zip > eval/results/data.md
    python eval/benchmarks/data.py --rows 100000 --kill
    python eval/benchmarks/data.py --panels ferplus.zip         the human row of FER+'s two panels alone
    python eval/benchmarks/data.py --known 1000000 --ranks 2    training starts on rows that were checked before, alone
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from emocaliber.core.samples import FileImage, Ratings, Sample, StoredImage
from emocaliber.core.taxonomy import FERPLUS_8, MIKELS_8
from emocaliber.data.convert import SCHEMA, sample_row
from emocaliber.data.facts import Facts, FactStore, look, picture_keys
from emocaliber.data.published import FERPLUS_FOLDERS
from emocaliber.evaluation import score
from emocaliber.evaluation.distributional import plurality_label
from emocaliber.evaluation.reference_methods import HUMAN

SIDE = 64
PER_FOLDER = 1000


def main() -> None:
    """Make the pictures, run the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kill", action="store_true", help="also kill each command half-way, and run it again")
    parser.add_argument("--ferplus", type=Path, help="FER+ as released, a folder or zip, in the place of noise")
    parser.add_argument("--note", default="", help="a sentence for the result, such as what else ran")
    parser.add_argument("--panels", type=Path, help="FER+ as released: print how far two panels of ten agree, and end")
    parser.add_argument("--known", type=int, metavar="ROWS", help="print how soon training starts on so many, and end")
    parser.add_argument("--ranks", type=int, default=1, help="processes that train side by side, with --known")
    arguments = parser.parse_args()
    if arguments.panels:
        with tempfile.TemporaryDirectory() as name:
            print(human_row(released(arguments.panels, Path(name))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.known:
            print(start_on_known(folder, arguments.known, arguments.ranks))
            return
        os.environ["EMOCALIBER_CACHE"] = str(folder / "cache")
        source = arguments.ferplus or write_pictures(folder, arguments.rows)
        count, baseline = read_with_pillow(released(source, folder) if arguments.ferplus else source.parent)
        results = measure(source, folder, arguments.workers, kill=arguments.kill)
        print_results(results, count, baseline, arguments)


def released(path: Path, folder: Path) -> Path:
    """The folder of a release, unpacked from its zip if necessary."""
    if path.is_dir():
        return path
    with zipfile.ZipFile(path) as file:
        file.extractall(folder / "ferplus")
    return folder / "ferplus"


def human_row(folder: Path) -> str:
    """The first panel scored against the second on the same pictures, for pictures on which the ten answers of each
    panel have a plurality label."""
    labels, panels = [*FERPLUS_8.labels, "unknown", "NF"], defaultdict[bytes, list[list[int]]](list)
    for part in FERPLUS_FOLDERS.values():
        with (folder / part / "label.csv").open(newline="") as file:
            for row in csv.reader(file):
                panels[look(FileImage(folder / part, row[0])).pixels].append([int(count) for count in row[2:12]])
    pairs = np.array([votes[:2] for votes in panels.values() if len(votes) > 1])
    pairs = pairs[(plurality_label(pairs[:, 0]) >= 0) & (plurality_label(pairs[:, 1]) >= 0)]
    said = plurality_label(pairs[:, 0])
    card = score(pairs[:, 0].max(-1) / pairs[:, 0].sum(-1), truth=said, predicted=said, labels=labels,
                 votes=pairs[:, 0], second_votes=pairs[:, 1])  # fmt: skip
    human = card.method(HUMAN).find("all")
    return "\n".join([f"{HUMAN}, n = {human.n:,}", *(f"  {name}  {value}" for name, value in human.headline.items())])


def start_on_known(folder: Path, rows: int, ranks: int) -> str:
    """The time until the first training step on a Parquet file whose picture facts are cached, as after a check. Two
    starts, since the first reads the file once for its hash. The memory is that of the largest process."""
    os.environ["EMOCALIBER_CACHE"] = str(folder / "cache")
    path = folder / "known.parquet"
    write_known(path, rows)
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "-m"]
    command = [sys.executable, "-u", "-m", *(launch if ranks > 1 else []), "emocaliber", "train"]
    command += ["recipes/tiny/1-label.yaml", f"data=[{path}]", "max_steps=1", "logging_steps=1", "--out"]
    starts = [run([*command, str(folder / f"start-{n}")], until="step 1/1", memory_of=largest) for n in range(2)]
    lines = [f"{seconds:.0f} s, {used:.0f} s of CPU, {megabytes:.0f} MB" for seconds, used, megabytes in starts]
    return f"{rows:,} rows, {ranks} processes, load {os.getloadavg()[1]:.1f}, until the first step is made: " + (
        "; again: ".join(lines)
    )


def write_known(path: Path, rows: int) -> None:
    """Write pictures with votes to a Parquet file, and synthetic facts of each to the cache."""
    random = np.random.default_rng(0)
    encoded, labels = picture(random), list(MIKELS_8.labels)
    with pq.ParquetWriter(path, SCHEMA, compression="none") as writer, FactStore() as store:
        for start in range(0, rows, PER_FOLDER):
            counts = random.multinomial(20, [0.3] + [0.1] * 7, PER_FOLDER).tolist()
            samples = [
                Sample(f"{number:07d}.png", b"", "emotion", MIKELS_8.labels, labels[int(np.argmax(votes))],
                       ("train", "train", "train", "calibrate", "test")[number % 5], "", f"{number:07d}.png",
                       dict(zip(labels, votes, strict=True)), ratings=Ratings("counts", 20), label_rule="plurality")
                for number, votes in enumerate(counts, start)
            ]  # fmt: skip
            part = [sample_row(sample, encoded + sample.id.encode()) for sample in samples]
            writer.write_table(pa.Table.from_pylist(part, schema=SCHEMA))
        writer.close()
        for group, start in enumerate(range(0, rows, PER_FOLDER)):
            keys = picture_keys([StoredImage(path, group, row) for row in range(PER_FOLDER)])
            facts = [
                Facts(random.bytes(32), number.to_bytes(16), random.bytes(8), random.bytes(256), SIDE, SIDE, "PNG")
                for number in range(start, start + PER_FOLDER)
            ]
            store.keep(zip(keys, facts, strict=True))


def read_with_pillow(folder: Path) -> tuple[int, float]:
    """The number of pictures below the folder, and the CPU seconds for opening and decoding each once."""
    started, count = time.process_time(), 0
    for path in folder.rglob("*.png"):
        with Image.open(path) as opened:
            opened.convert("RGB").load()
        count += 1
    return count, time.process_time() - started


def write_pictures(folder: Path, rows: int) -> Path:
    """Write the pictures and the file that lists them."""
    random = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            name = f"{number // PER_FOLDER:04d}/{number:06d}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(picture(random))
            votes = dict(zip(MIKELS_8.labels, random.multinomial(20, [0.3] + [0.1] * 7).tolist(), strict=True))
            split = ("train", "train", "train", "calibrate", "test")[number % 5]
            file.write(json.dumps({"image": name, "votes": votes, "raters": 20, "split": split}) + "\n")
    return folder / "rows.jsonl"


def picture(random: np.random.Generator) -> bytes:
    """Smoothed noise as PNG."""
    buffer = io.BytesIO()
    noise = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def measure(source: Path, folder: Path, workers: int, *, kill: bool) -> list[tuple[str, float, float, float]]:
    """The title, seconds, CPU seconds, and peak memory in megabytes over all processes."""
    command = [sys.executable, "-m", "emocaliber", "data"]
    declared = ["--taxonomy", "mikels-8"] if source.suffix == ".jsonl" else []
    options = [str(source), *declared, "--workers", str(workers)]
    check, convert = ([*command, action, *options, "--drop-problems", "--out"] for action in ("check", "convert"))
    results = [("check", *run([*check, str(folder / "check")]))]
    results.append(("check again", *run([*check, str(folder / "check")])))
    results.append(("convert --drop-problems", *run([*convert, str(folder / "a.parquet")])))
    split = [*command, "split", *options, "--keep-test", "--drop-problems", "--out", str(folder / "s.parquet")]
    results.append(("split --keep-test", *run(split)))
    recipe = ["emocaliber", "train", "recipes/tiny/1-label.yaml", f"data=[{folder / 's.parquet'}]", "max_steps=1"]
    train = [sys.executable, "-m", *recipe, "--out", str(folder / "1-label")]
    results.append(("train, until its first step is prepared", *run(train, until="1-label:")))
    if kill:
        os.environ["EMOCALIBER_CACHE"] = str(folder / "another-cache")
        half_way = results[0][1] / 2
        run([*check, str(folder / "killed")], half_way)
        results.append((f"check, after a kill at {half_way:.0f} s", *run([*check, str(folder / "killed")])))
        half_way = results[2][1] / 2
        run([*convert, str(folder / "b.parquet")], half_way)
        results.append((f"convert, after a kill at {half_way:.0f} s", *run([*convert, str(folder / "b.parquet")])))
        same = (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
        assert same, "the killed conversion ended with another file"
    return results


def run(
    command: list[str],
    kill_after: float | None = None,
    until: str | None = None,
    memory_of: Callable[[int], float] | None = None,
) -> tuple[float, float, float]:
    """Seconds, CPU seconds and megabytes of a command. It must succeed, or is killed with its children by SIGKILL after
    some seconds or as soon as it prints a certain line."""
    started, peak, used = time.monotonic(), 0.0, dict[int, float]()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, start_new_session=True)
        while process.poll() is None:
            output.seek(0)
            printed = until is not None and until in output.read()
            if printed or (kill_after is not None and time.monotonic() - started > kill_after):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            peak = max(peak, (memory_of or memory)(process.pid))
            used |= cpu(process.pid)
            time.sleep(0.2)
    assert process.returncode == (0 if kill_after is None and until is None else -signal.SIGKILL), process.returncode
    return time.monotonic() - started, sum(used.values()), peak


def cpu(pid: int) -> dict[int, float]:
    """CPU seconds so far of a process and its descendants, including those that decode pictures; the last fifth of a
    second of a process may be missing."""
    try:
        root = psutil.Process(pid)
        return {each.pid: sum(each.cpu_times()[:2]) for each in (root, *root.children(recursive=True))}
    except psutil.Error:
        return {}


def memory(pid: int) -> float:
    """Megabytes of a process and its children; shared memory counts once."""
    return sum(each_memory(pid))


def largest(pid: int) -> float:
    """Megabytes of the largest of a process and its children, with its part of the shared memory."""
    return max(each_memory(pid), default=0.0)


def each_memory(pid: int) -> list[float]:
    """Megabytes of a process and of each descendant: private memory and a part of the shared memory."""
    try:
        root = psutil.Process(pid)
        return [float(process.memory_full_info().pss) / 1e6 for process in (root, *root.children(recursive=True))]
    except psutil.Error:
        return []


def print_results(
    results: list[tuple[str, float, float, float]], count: int, baseline: float, arguments: argparse.Namespace
) -> None:
    """Print the results as Markdown."""
    options = "--ferplus ferplus.zip" if arguments.ferplus else f"--rows {arguments.rows}"
    pictures = "FER+ as released" if arguments.ferplus else f"PNG files of {SIDE} pixels, votes of 20 raters"
    print("# Checking, converting and splitting data, and how soon training starts\n")
    print(f"`python eval/benchmarks/data.py {options}`, {date.today()}, {os.cpu_count()} CPU cores (load of the last")
    print(f"15 minutes: {os.getloadavg()[2]:.1f}), {arguments.workers} workers, n = 1 run. {count:,} pictures:")
    print(f"{pictures}. Reading")
    print(f"each once with Pillow takes {baseline:.1f} s of CPU, the unit of the third column.")
    print(f"\n{arguments.note}\n" if arguments.note else "")
    print("| command | CPU seconds, all processes | of reading once | seconds | peak memory (MB, all processes) |")
    print("|---|---|---|---|---|")
    for what, seconds, cpu_seconds, megabytes in results:
        print(f"| {what} | {cpu_seconds:.0f} | {cpu_seconds / baseline:.1f} | {seconds:.0f} | {megabytes:.0f} |")


if __name__ == "__main__":
    main()
