"""Loading models: the device, complete weights, float32 logits, and adapters that load completely or fail.

PEFT only warns about modules without weights in the file and ignores weights without a module; in both cases that part
of the model is untrained. Whether an adapter changes any answer is checked in generation.adapters.

    with complete_weights():
        model = AutoModelForImageTextToText.from_pretrained(folder, device_map={"": chosen_device("auto")})
    fp32_logits(model)
    adapted(model, "out/stage-1/adapter")
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from emocaliber.core.errors import UserError
from emocaliber.models.location import check_adapter
from emocaliber.models.projectors import read_without_rounding

SHARDED_LOADING = ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING")
"""With both set, transformers reads the weights on one process of each node and leaves zeros on the others, which FSDP
fills when it wraps the model."""
HEAD_ROWS = 8192  # rows of the output matrix that are held in float32 at a time


def chosen_device(device: str) -> str:
    """The device that "auto" stands for: a CUDA GPU, else Apple's, else the CPU; any other name is itself."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def complete_weights() -> Iterator[None]:
    """Inside this context every process reads all weights, whatever the launcher is configured for: for a model that
    FSDP will not wrap."""
    before = {name: os.environ.pop(name) for name in SHARDED_LOADING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def release() -> None:
    """Free the memory of unreferenced models, including reference cycles of patched modules."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fp32_logits(model: Any) -> None:
    """Patch a bfloat16 or float16 model to compute its logits in float32 from the last hidden state.

    In bfloat16, logits between 16 and 32 are multiples of 0.125, too coarse for probabilities. A float32 model, or one
    whose head is not a plain linear layer, is left as it is.
    """
    head = model.get_output_embeddings()
    if type(head) is nn.Linear and head.weight.dtype in (torch.bfloat16, torch.float16):
        head.forward = partial(_in_float32, head)  # type: ignore[method-assign]


def support_logits_to_keep(model: Any) -> None:
    """Patch a model whose forward pass ignores `logits_to_keep` (MiniCPM-V's) to compute only these logits."""
    model = model.get_base_model() if isinstance(model, PeftModel) else model
    head = model.get_output_embeddings()
    hooked = _LogitsToKeep in map(type, head._forward_pre_hooks.values())
    if "logits_to_keep" in signature(model.forward).parameters or hooked:
        return
    hooks = _LogitsToKeep()
    model.register_forward_pre_hook(hooks.remember, with_kwargs=True)
    head.register_forward_pre_hook(hooks.select)


class _LogitsToKeep:
    """Hooks of a model and its head: the head gets the hidden states at `logits_to_keep` only."""

    def __init__(self) -> None:
        self.keep: int | torch.Tensor = 0

    def remember(self, model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.keep = named.get("logits_to_keep", 0)

    def select(self, head: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        positions = slice(-self.keep, None) if isinstance(self.keep, int) else self.keep
        return (arguments[0][:, positions], *arguments[1:])


def _in_float32(head: nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """[..., width] to [..., vocabulary], in chunks of the vocabulary, so that the matrix is never copied as a whole."""
    with torch.autocast(hidden.device.type, enabled=False):
        state = hidden.float()
        parts = [
            F.linear(state, head.weight[start : start + HEAD_ROWS].float())
            for start in range(0, len(head.weight), HEAD_ROWS)
        ]
        logits = torch.cat(parts, dim=-1)
        return logits if head.bias is None else logits + head.bias.float()


WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"


def adapted(model: PreTrainedModel, adapter: str | Path, *, trainable: bool = False) -> PeftModel:
    """The model with the adapter loaded.

    Raises UserError where the folder has no adapter in safetensors, or the adapter's weights do not match, one to one,
    the model's modules that its configuration names.
    """
    names = weight_names(adapter)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys", UserWarning)
        try:
            loaded = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
        except UserWarning as missing:
            raise _without(adapter, str(missing).partition("['")[2].partition("'")[0]) from missing
        except KeyError as missing:
            raise _without(adapter, str(missing.args[0])) from missing
        except (ValueError, TypeError, RuntimeError) as problem:
            reason = " ".join(str(problem).split())[:300]
            raise UserError(f"{adapter}: the adapter does not fit the model: {reason}") from problem
    expected = get_peft_model_state_dict(loaded, save_embedding_layers=False)
    if surplus := [name for name in names if name not in expected]:
        raise UserError(
            f"{adapter}: {len(surplus)} of its weights fit nowhere in the model, the first is {surplus[0]}; was it"
            " trained for this model?"
        )
    read_without_rounding(loaded, Path(adapter) / WEIGHTS)
    return loaded


def weight_names(adapter: str | Path) -> list[str]:
    """The names of the adapter's weights. Raises UserError where there is no adapter in safetensors, or it is damaged
    or has weights that are not finite."""
    folder = Path(adapter)
    check_adapter(folder, "adapter")
    file = folder / WEIGHTS
    if not file.is_file():
        pickled = f"; {PICKLED} may run code when it is read: save the adapter anew with safe_serialization=True"
        raise UserError(f"{folder}: no {WEIGHTS} there{pickled if (folder / PICKLED).exists() else ''}")
    try:
        with safe_open(file, framework="pt") as weights:
            names = list(weights.keys())
            broken = next((name for name in names if not bool(torch.isfinite(weights.get_tensor(name)).all())), None)
    except SafetensorError as problem:
        raise UserError(f"{file} is damaged: {problem}") from None
    if broken is not None:
        raise UserError(f"{file}: the weight {broken} is not finite; training has diverged")
    return names


def _without(adapter: str | Path, name: str) -> UserError:
    return UserError(
        f"{adapter}: its weights do not fit the model, the first without any is {name}; was it trained for this model,"
        " and saved whole?"
    )
