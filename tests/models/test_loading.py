"""Weights are complete on every process, logits exact in short types, and what is closed is given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from emocaliber.core.errors import UserError
from emocaliber.generation.adapters import PROBED, probes
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.loading import SHARDED_LOADING, chosen_device, complete_weights, fp32_logits
from emocaliber.models.location import embedded_base

ROOT = Path(__file__).parents[2]
TWO_TEACHERS = """
import json, sys
import torch.distributed as dist
dist.init_process_group("gloo")
from emocaliber.generation.adapters import PROBED, probes
from emocaliber.generation.transformers_engine import TransformersEngine
engine = TransformersEngine(sys.argv[1], adapter=sys.argv[2])
print(json.dumps(engine.score_continuations(probes(), "", PROBED).tolist()), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_of_an_fsdp_launch_see_the_same_teacher_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO_TEACHERS)
    model, adapter = embedded_base(), embedded_base().with_name("tiny-adapter")
    launched = dict.fromkeys(SHARDED_LOADING, "true")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)} | launched
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         str(tmp_path / "two.py"), str(model), str(adapter)],
        check=True, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("[["))
    assert first == second
    alone = TransformersEngine(model, adapter=adapter, device="cpu")
    assert np.array_equal(alone.score_continuations(probes(), "", PROBED), first)


def test_a_launchers_wish_for_weights_on_one_process_is_back_after_the_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARDED_LOADING[0], "true")
    monkeypatch.delenv(SHARDED_LOADING[1], raising=False)
    with complete_weights():
        assert not set(SHARDED_LOADING) & set(os.environ)
    assert os.environ[SHARDED_LOADING[0]] == "true"
    assert SHARDED_LOADING[1] not in os.environ


def test_a_model_of_zeros_is_refused(tmp_path: Path) -> None:
    base = embedded_base()
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(base / "model.safetensors")
    zeros = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    save_file(zeros, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="gives every picture the same answer"):
        TransformersEngine(tmp_path, device="cpu")


def test_an_engine_that_is_closed_gives_its_model_back() -> None:
    engine = TransformersEngine(embedded_base(), device="cpu")
    model = weakref.ref(engine.model)
    engine.model.itself = [engine.model]  # a cycle, as patched modules make them
    assert model() is not None
    engine.close()
    assert model() is None


def test_a_named_device_is_taken_and_auto_is_one_that_is_here() -> None:
    assert chosen_device("cuda:1") == "cuda:1"
    auto = chosen_device("auto")
    assert auto == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(20, 60)[None]
    with torch.inference_mode():
        hidden = model.model(input_ids=ids).last_hidden_state
        exact: torch.Tensor = hidden.double() @ model.lm_head.weight.double().T
        return (model(input_ids=ids).logits - exact).abs().max()


def test_a_bfloat16_model_has_float32_logits_and_a_float32_model_is_left_alone() -> None:
    load = Qwen2_5_VLForConditionalGeneration.from_pretrained
    short = load(embedded_base(), dtype=torch.bfloat16)
    before = logits(short)
    fp32_logits(short)
    assert before > 0.01
    assert logits(short) < 1e-4
    model = load(embedded_base(), dtype=torch.float32)
    forward = model.lm_head.forward
    fp32_logits(model)
    assert model.lm_head.forward == forward


def test_a_bfloat16_engine_tells_probabilities_apart_that_the_grid_of_bfloat16_does_not() -> None:
    engine = TransformersEngine(embedded_base(), device="cpu", dtype=torch.bfloat16)
    assert "bfloat16 logits float32" in engine.name
    scores = engine.score_continuations(probes(), "", PROBED)
    grid = torch.tensor(scores[:, 0] - scores[:, 1])  # the normaliser cancels: what is left is a gap of two logits
    assert (grid / 2**-8 - (grid / 2**-8).round()).abs().max() > 1e-3
