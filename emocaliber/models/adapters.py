"""A PEFT adapter on a model, whole or not at all.

Not the check that it changes an answer (see generation.adapters): PEFT only warns where a module finds no weights of
its own in the file, and such a module then answers as if it had never been trained.

    python -c "from emocaliber.models.adapters import adapted; help(adapted)"
"""

from __future__ import annotations

import warnings
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel

from emocaliber.core.errors import UserError


def adapted(model: PreTrainedModel, adapter: str | Path, *, trainable: bool = False) -> PeftModel:
    """The model with the adapter on it. Raises UserError where the file lacks weights that the adapter should have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys", UserWarning)
        try:
            return PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
        except UserWarning as missing:
            first = str(missing).partition("['")[2].partition("'")[0]
            raise UserError(
                f"{adapter}: its weights do not fit the model, the first without any is {first}; was it trained for"
                " this model, and saved whole?"
            ) from missing
