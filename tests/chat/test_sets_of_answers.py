"""A prediction set beside an answer: named in words where sets were fitted for these labels, and nowhere else."""

from emocaliber.chat.answer import set_sentence
from emocaliber.core.predictions import Held, Prediction, Source, State


def row(held: tuple[str, ...], holds: Held = Held.LABEL) -> Prediction:
    return Prediction("1", "t", "", "", None, "joy", 0.5, State.OK, Source.LOGPROB, "m", prediction_set=held,
                      set_coverage=0.9, set_holds=holds)  # fmt: skip


def test_the_sentence_names_the_labels_and_the_promise() -> None:
    assert set_sentence(row(("sadness", "fear"))).startswith("Sadness or fear: for 90\u00a0% of pictures like those")
    assert set_sentence(row(("sadness", "fear", "joy"))).startswith("Sadness, fear or joy:")
    assert set_sentence(row(("joy",))).endswith("the label is it.")
    assert "what one more person says is among them" in set_sentence(row(("joy", "fear"), Held.RATER))
