"""Taxonomies: what they refuse, and that those shipped fit the data shipped."""

from __future__ import annotations

import pytest

from emocaliber.core.taxonomy import KAOMOJI_10, SENTIMENT_3, TAXONOMIES, Taxonomy, synonyms_of
from emocaliber.data import embedded

POLARITY = {"sad": "negative", "happy": "positive"}


def test_a_label_listed_twice_is_refused():
    with pytest.raises(ValueError, match="listed twice"):
        Taxonomy("t", ("sad", "sad"), {"sad": "negative"})


@pytest.mark.parametrize("labels", [("sad",), ("sad", "happy", "shy")])
def test_every_label_needs_a_polarity_and_no_other_has_one(labels: tuple[str, ...]):
    with pytest.raises(ValueError, match="polarity"):
        Taxonomy("t", labels, POLARITY)  # type: ignore[arg-type]


def test_a_synonym_of_no_label_is_refused():
    with pytest.raises(ValueError, match="joyful"):
        Taxonomy("t", ("sad", "happy"), POLARITY, {"merry": "joyful"})  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "taxonomy"), [("emoji", SENTIMENT_3), ("kaomoji", KAOMOJI_10)])
def test_the_embedded_candidates_are_the_taxonomy_in_its_order(task: str, taxonomy: Taxonomy):
    samples = embedded.load(task)
    assert {sample.candidates for sample in samples} == {taxonomy.labels}


@pytest.mark.parametrize("name", TAXONOMIES)
def test_every_shipped_taxonomy_is_found_by_its_name_and_counts_what_it_says(name: str):
    taxonomy = TAXONOMIES[name]
    assert taxonomy.name == name
    assert len(taxonomy.labels) == int(name.rpartition("-")[2])
    assert not set(taxonomy.synonyms) & set(taxonomy.labels)


def test_other_words_of_an_emotion_are_synonyms_of_the_only_candidate_that_has_it():
    names = synonyms_of(("Angry", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"))
    assert (names["anger"], names["scared"], names["joy"]) == ("Angry", "fear", "happiness")
    assert "happy" not in synonyms_of(("happiness", "joy", "fear", "anger", "sadness"))
    assert synonyms_of(("joy", "awe")) == {}
