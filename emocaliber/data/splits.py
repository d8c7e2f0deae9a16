"""Do the splits overlap? A picture or an item that was taught must not be calibrated on or tested with.

Not a splitter: the builders of a data set decide what goes where, and this check fails when they were wrong. Pictures
are compared by their decoded pixels, so that the same drawing in another file format is found too.

    python -c "from emocaliber.data import embedded, splits; splits.check_disjoint(embedded.load('emoji'))"
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import combinations

from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, load_image
from emocaliber.core.samples import Sample

SIDES = {"train": "taught", "unlabelled": "taught", "calibrate": "calibrated on", "test": "tested"}
"""Train and unlabelled rows may share items: neither judges. A split not named here (`known`: drawings that are new of
items that are not) shares items with others by design, and is compared by picture alone."""
PAIRS_NAMED = 5


def check_disjoint(samples: Iterable[Sample], near_duplicates: Mapping[str, str] | None = None) -> None:
    """Raise UserError, naming up to five pairs, where two sides share a picture, a cluster or a near-duplicate key.

    `near_duplicates` maps a sample's id to its key, where a cluster does not say already what is nearly the same.
    A picture that cannot be read cannot be compared: UserError too.
    """
    samples = list(samples)
    sided = [sample for sample in samples if sample.split in SIDES]
    shared = _shared(samples, _pixels, "show the same picture")
    shared += _shared(sided, lambda sample: (sample.task, sample.cluster), "belong to one cluster")
    if near_duplicates is not None:
        keyed = [sample for sample in sided if sample.id in near_duplicates]
        shared += _shared(keyed, lambda sample: near_duplicates[sample.id], "are near-duplicates")
    if shared:
        named = "; ".join(shared[:PAIRS_NAMED])
        raise UserError(
            f"splits overlap in {len(shared)} places: {named}. Move each pair into one split, or drop one row"
        )


def _shared(samples: list[Sample], key: Callable[[Sample], Hashable], what: str) -> list[str]:
    """One sentence for each key and pair of sides that share it, naming the first sample of either."""
    places: defaultdict[Hashable, dict[str, Sample]] = defaultdict(dict)
    for sample in samples:
        places[key(sample)].setdefault(SIDES.get(sample.split, sample.split), sample)
    return [
        f"{one.id} ({one.split}) and {other.id} ({other.split}) {what}"
        for sides in places.values()
        for one, other in combinations(sides.values(), 2)
    ]


def _pixels(sample: Sample) -> str:
    try:
        image = load_image(sample.image)
    except ImageError as error:
        raise UserError(f"{sample.id} ({sample.split}): {error}; mend or drop it, it cannot be compared") from error
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
