"""The same command with transformers and with vLLM, on a CPU, with the same weights: the same answers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.images import read_image_bytes
from emocaliber.core.predictions import Source, State, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.generation.readouts import Record, read_records
from emocaliber.generation.server_engine import ServerEngine
from emocaliber.models.location import embedded_base
from tests.generation.conftest import VLLM_ON_CPU, rows_in_memory

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vllm_installed")]
COUNT = 210
PATIENCE = 300


@pytest.fixture(scope="module")
def samples_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test pictures from all over the shipped kaomoji, two of them broken."""
    path = tmp_path_factory.mktemp("samples") / "samples.parquet"
    samples = load("kaomoji", "test")
    chosen = [samples[number * len(samples) // COUNT] for number in range(COUNT)]
    rows = [
        {
            "id": str(number),
            "image": {"bytes": b"broken" if number in (7, 8) else read_image_bytes(sample.image), "path": None},
            "candidates": sample.candidates,
            "label": sample.label,
            "cluster": sample.cluster,
            "licence": sample.licence,
        }
        for number, sample in enumerate(chosen)
    ]
    pq.write_table(pa.Table.from_pylist([row | {"task": "t", "split": "test", "group": "g"} for row in rows]), path)
    return path


def generate(samples: Path, model: Path, out: Path, *options: str) -> list[Record]:
    command = ["predict", str(samples), "--model", str(model), "--out", str(out), "--dtype", "float32"]
    done = subprocess.run(
        [sys.executable, "-m", "emocaliber", *command, "--max-new-tokens", "12", *options],
        env={**os.environ, **VLLM_ON_CPU},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return list(read_records(out / "responses.jsonl"))


@pytest.mark.usefixtures("ray_installed")
def test_vllm_answers_as_transformers_does_with_an_adapter_trained_on_the_shipped_base(
    tuned_adapter: Path, samples_file: Path, tmp_path: Path
) -> None:
    """By two engine processes on Ray, as on two GPUs.

    Float32 sums differ in their last bits from engine to engine, so one answer in a hundred may differ.
    """
    adapter = ("--adapter", str(tuned_adapter), "--template", "label-confidence")
    plain = generate(samples_file, embedded_base(), tmp_path / "h", *adapter)
    served = generate(
        samples_file,
        embedded_base(),
        tmp_path / "v",
        *adapter,
        "--engine",
        "vllm",
        "--max-model-len",
        "512",
        "--data-parallel",
        "2",
    )
    assert len(plain) == len(served) == COUNT
    assert [record.id for record in plain] == [record.id for record in served]
    pairs = zip(plain, served, strict=True)
    differing = [first.id for first, other in pairs if first.response.text != other.response.text]
    assert len(differing) <= 0.01 * COUNT, differing
    rows = zip(*(read_predictions(tmp_path / out / "predictions-expected.jsonl") for out in "hv"), strict=True)
    gaps = [abs(first.confidence - other.confidence) for first, other in rows if first.confidence and other.confidence]
    assert len(gaps) > 0.9 * COUNT
    assert np.quantile(gaps, 0.98) < 1e-3
    assert [record.id for record in served if record.response.finish_reason == "image error"] == ["7", "8"]


@contextmanager
def server(model: Path, adapter: Path | None, log: Path, *more: str) -> Iterator[str]:
    """vLLM's OpenAI-compatible server on a free port of this machine, its adapter, if any, served as "tuned"."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    options += ["--max-model-len", "512", "--enforce-eager"]
    if adapter is not None:
        options += ["--enable-lora", "--enable-tower-connector-lora", "--lora-modules", f"tuned={adapter}"]
    options += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *options, *more]
    with log.open("w") as output:
        process = subprocess.Popen(command, env={**os.environ, **VLLM_ON_CPU}, stdout=output, stderr=output)
    try:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(1)
        else:
            pytest.fail(f"vLLM's server is not ready after {PATIENCE} s:\n{log.read_text()[-3000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def test_a_server_answers_as_transformers_does_with_a_lora_adapter(
    tuned_adapter: Path, samples_file: Path, tmp_path: Path
) -> None:
    """The choices included; a server can be held to JSON, and a base served as its own adapter is refused as dead."""
    options = ("--template", "label-confidence", "--limit", "60")
    plain = generate(samples_file, embedded_base(), tmp_path / "h", "--adapter", str(tuned_adapter), *options)
    with server(embedded_base(), tuned_adapter, tmp_path / "log") as url:
        options = (*options, "--engine", "server", "--url", url, "--url", url, "--tokenizer", str(embedded_base()))
        served = generate(samples_file, Path("base"), tmp_path / "s", "--adapter", "tuned", *options)
        client = ServerEngine([url], "tuned", max_new_tokens=100)
        json_rows = rows_in_memory(load("kaomoji", "test")[:20], client, load_template("json"), constrain=True)
        assert {row[Source.VERBALIZED].state for row in json_rows} == {State.OK}
        with pytest.raises(UserError, match="changes no answer"):
            ServerEngine([url], "base", base="base")
        with pytest.raises(UserError, match="does not serve"):
            ServerEngine([url], "other")
    with pytest.raises(UserError, match="no OpenAI-compatible server"):
        ServerEngine([url], "base")
    pairs = zip(plain, served, strict=True)
    differing = [first.id for first, other in pairs if first.response.text != other.response.text]
    assert len(differing) <= 1, differing
    rows = zip(*(read_predictions(tmp_path / out / "predictions-logprob.jsonl") for out in "hs"), strict=True)
    gaps = [abs(first.confidence - other.confidence) for first, other in rows if first.confidence and other.confidence]
    assert len(gaps) == 58
    assert max(gaps) < 1e-3
