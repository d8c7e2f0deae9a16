"""Copies of a key-value cache, to continue from the same prefix more than once: transformers updates some caches in
place, and cannot repeat or crop all of them.

Attention layers append to keys and values by making new tensors. The state of a Gated DeltaNet and the last tokens of
a convolution are overwritten, and therefore copied here.

    cache = copied_cache(model(**question, use_cache=True).past_key_values, copies=7)
"""

from __future__ import annotations

from copy import copy
from typing import Any

from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin

STATES = ("conv_states", "recurrent_states")


def copied_cache(cache: Any, copies: int = 1) -> Any:
    """A cache with each row repeated `copies` times in a row; the original stays as it is."""
    result = copy(cache)
    result.layers = [_copied_layer(layer, copies) for layer in cache.layers]
    return result


def _copied_layer(layer: Any, copies: int) -> Any:
    result = copy(layer)
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        for name, value in vars(layer).items():
            if isinstance(value, dict):
                setattr(result, name, dict(value))
        for states in (getattr(result, name) for name in STATES):
            states.update({n: each.repeat_interleave(copies, dim=0) for n, each in states.items() if each is not None})
    if isinstance(layer, DynamicLayer) and copies > 1:
        result.batch_repeat_interleave(copies)
    return result
