"""A PEFT adapter on a model, all of it or not at all: the function by which every caller loads one.

PEFT only warns where a module finds no weights of its own in the file, and says nothing of weights that no module
takes; either way the model answers as if that part had never been trained. Whether an adapter changes an answer is
asked in generation.adapters.

    python -c "from emocaliber.models.adapters import adapted; help(adapted)"
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from emocaliber.core.errors import UserError
from emocaliber.models.location import check_adapter

WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"


def adapted(model: PreTrainedModel, adapter: str | Path, *, trainable: bool = False) -> PeftModel:
    """The model with the adapter on it.

    Raises UserError where the folder holds no adapter in safetensors, or its weights and the modules that its
    configuration names do not fit the model one to one.
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
    return loaded


def weight_names(adapter: str | Path) -> list[str]:
    """The names of the adapter's weights. Raises UserError where the folder holds no sound adapter in safetensors."""
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
