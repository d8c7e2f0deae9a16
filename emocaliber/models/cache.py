"""A cache to go on from more than once: transformers changes some in place, and cannot repeat or crop all of them.

Attention's keys and values grow by new tensors; the state of a Gated DeltaNet and the last tokens of a convolution are
overwritten, so that they are copied here.

    rows = continued(model(**question, use_cache=True).past_key_values, copies=7)
"""

from __future__ import annotations

from copy import copy
from typing import Any

from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin

STATES = ("conv_states", "recurrent_states")


def continued(cache: Any, copies: int = 1) -> Any:
    """`copies` of each row of the cache, one after the other; the cache itself stays as it is."""
    again = copy(cache)
    again.layers = [_continued(layer, copies) for layer in cache.layers]
    return again


def _continued(layer: Any, copies: int) -> Any:
    again = copy(layer)
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        for name, value in vars(layer).items():
            if isinstance(value, dict):
                setattr(again, name, dict(value))
        for states in (getattr(again, name) for name in STATES):
            states.update({n: each.repeat_interleave(copies, dim=0) for n, each in states.items() if each is not None})
    if isinstance(layer, DynamicLayer) and copies > 1:
        again.batch_repeat_interleave(copies)
    return again
