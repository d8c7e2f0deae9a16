"""vLLM on a CPU with an adapter: merged into the weights, since LoRA beside them takes most of vLLM's time there.

Not for GPUs, where vLLM serves adapters beside the weights at little cost, and bfloat16 would round the sum.

    emocaliber chat --engine vllm
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from vllm.platforms import current_platform

from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.generation.vllm_engine import VllmEngine


def vllm_engine(model: str, adapter: Path | None, max_new_tokens: int) -> VllmEngine:
    """The engine for this machine. Raises UserError where the adapter changes nothing."""
    if adapter is None or not current_platform.is_cpu():
        return VllmEngine(model, adapter=adapter, max_new_tokens=max_new_tokens)
    merged = TransformersEngine(model, adapter=adapter)  # float32, where it merges, and checks that something changed
    with TemporaryDirectory(prefix="emocaliber-") as folder:
        merged.model.save_pretrained(folder)
        merged.processor.save_pretrained(folder)
        return VllmEngine(folder, dtype="float32", max_new_tokens=max_new_tokens)
