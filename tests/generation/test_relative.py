"""Relative confidence: pairs of rows, both orders, scores in the order of a hidden skill, and what a stop leaves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from emocaliber.cli.main import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.generation.engine import ENGINE_ERROR, STOP, Request, Response
from emocaliber.generation.harness import generate
from emocaliber.generation.readouts import read_records, responses_file
from emocaliber.generation.relative import MATCHES, Comparison, Player, compare, pairs_against, pairs_within
from emocaliber.generation.signals import SignalsEngine
from tests.generation.wrong_server import WrongServer, serving

TEMPLATE = load_template("label-confidence")
SAMPLES = load("kaomoji")[:40]


def skill_of(name: str) -> float:
    """Hidden skill of a row, which the engine alone knows."""
    return 3 * np.random.default_rng(sum(name.encode())).normal() + int(name[-3:], 36) * 1e-6


class Judge:
    """Names the first candidate of every picture; of two it prefers the skilful one, and the first picture a little."""

    name, concurrency, requests_per_call = "judge", 1, 8

    def __init__(self, *, bias: float = 1.0, fails: Callable[[Request], bool] = lambda request: False) -> None:
        self.asked: list[Request] = []
        self._bias, self._fails = bias, fails

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    @property
    def compared(self) -> list[tuple[str, str]]:
        return [names(request) for request in self.asked if request.further_images]

    def _answer(self, request: Request) -> Response:
        if self._fails(request):
            return Response(request.sample_id, "", ENGINE_ERROR, choices=(None,), error="one picture only")
        if not request.further_images:
            text = f"<answer>{request.candidates[0]}</answer><confidence>0.80</confidence>"
            return Response(request.sample_id, text, STOP, 5, (None, None))
        one, other = map(skill_of, names(request))
        share = float(expit(one - other + self._bias))
        logs = tuple(np.log([share, 1 - share]).tolist())
        return Response(request.sample_id, f"<answer>{'first' if share > 0.5 else 'second'}</answer>", STOP, 2, (logs,))


def names(request: Request) -> tuple[str, str]:
    one, _, other = request.sample_id.partition(" and ")
    return one, other


def run(
    out: Path, judge: Judge, samples: Sequence[Sample] = SAMPLES, seed: int = 0, opponents: Sequence[Player] = ()
) -> Comparison:
    engine = SignalsEngine(judge, ["relative"], TEMPLATE)
    generate(samples, engine, TEMPLATE, out, method="m")
    return compare(samples, engine, out, TEMPLATE, method="m", draws=1, seed=seed, opponents=opponents)


def rows_of(out: Path) -> list[Prediction]:
    return list(read_predictions(out / "predictions.jsonl"))


def scores_of(out: Path) -> dict[str, float]:
    return {row.id: row.signals["relative"] for row in rows_of(out) if row.signals and "relative" in row.signals}


def test_scores_are_in_the_order_of_the_hidden_skill_whatever_position_is_preferred(tmp_path: Path):
    for bias in (0.0, 2.0):
        run(tmp_path / str(bias), Judge(bias=bias))
        scores = scores_of(tmp_path / str(bias))
        assert len(scores) == len(SAMPLES)
        order = spearmanr(list(scores.values()), [skill_of(name) for name in scores]).statistic
        assert order > 0.95, bias


def test_every_pair_is_asked_in_both_orders_and_every_row_plays_as_often(tmp_path: Path):
    judge = Judge()
    outcome = run(tmp_path, judge)
    assert Counter(judge.compared) == Counter(pair[::-1] for pair in judge.compared)
    assert len(set(judge.compared)) == len(judge.compared) == 2 * outcome.pairs == outcome.queried
    played = Counter(name for pair in judge.compared for name in pair)
    assert set(played) == {sample.id for sample in SAMPLES}
    assert max(played.values()) <= 2 * MATCHES
    assert np.mean(list(played.values())) > 2 * MATCHES - 2, "few pairs are neighbours twice"


def test_the_question_quotes_both_answers_and_shows_both_pictures(tmp_path: Path):
    judge = Judge()
    run(tmp_path, judge, SAMPLES[:2])
    about = [request for request in judge.asked if request.further_images]
    label = SAMPLES[0].candidates[0]
    assert len(about) == 2
    assert f"{label} for the first image, {label} for the second" in about[0].prompt
    shown = [[np.asarray(image).tobytes() for image in request.images] for request in about]
    assert shown[0] == shown[1][::-1]
    assert shown[0][0] != shown[0][1]


def test_questions_and_tokens_are_counted_on_the_rows(tmp_path: Path):
    judge = Judge()
    run(tmp_path, judge)
    rows = rows_of(tmp_path)
    assert sum(row.questions or 0 for row in rows) == len(judge.asked)
    assert sum(row.tokens or 0 for row in rows) == 5 * len(SAMPLES) + 2 * len(judge.compared)


def test_seeds_repeat_and_another_seed_draws_other_pairs(tmp_path: Path):
    drawn = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        judge = Judge()
        run(tmp_path / name, judge, seed=seed)
        drawn[name] = judge.compared
    assert drawn["a"] == drawn["b"] != drawn["c"]
    assert scores_of(tmp_path / "a") == scores_of(tmp_path / "b")


def test_a_repeated_run_asks_nothing_and_its_files_are_the_same(tmp_path: Path):
    run(tmp_path, Judge())
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    again = Judge()
    assert run(tmp_path, again).queried == 0
    assert again.asked == []
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == before


def test_a_run_that_was_stopped_among_the_pairs_asks_only_the_rest(tmp_path: Path):
    class Stopped(Judge):
        def _answer(self, request: Request) -> Response:
            if len(self.compared) > 100:
                raise KeyboardInterrupt
            return super()._answer(request)

    stopped, rest, whole = Stopped(), Judge(), Judge()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", stopped)
    run(tmp_path / "a", rest)
    run(tmp_path / "b", whole)
    assert len(rest.compared) < len(whole.compared) - 80
    assert scores_of(tmp_path / "a") == scores_of(tmp_path / "b")


def test_a_row_more_leaves_most_pairs_as_they_were():
    players = [Player(sample, "x") for sample in SAMPLES]
    few, more = (
        {(rows[a].sample.id, rows[b].sample.id) for a, b in pairs_within(rows, 0)} for rows in (players[:-1], players)
    )
    assert len(few - more) <= MATCHES / 2


def test_pairs_that_failed_do_not_count_and_are_asked_again(tmp_path: Path):
    lost = SAMPLES[3].id
    judge = Judge(fails=lambda request: bool(request.further_images) and lost in names(request))
    outcome = run(tmp_path, judge)
    assert outcome.failed
    assert outcome.first_error == "one picture only"
    assert set(scores_of(tmp_path)) == {sample.id for sample in SAMPLES} - {lost}
    [row] = [row for row in rows_of(tmp_path) if row.id == lost]
    assert (row.predicted, row.signals) == (SAMPLES[3].candidates[0], None)
    again = Judge()
    assert run(tmp_path, again).failed == 0
    assert all(lost in pair for pair in again.compared)
    assert lost in scores_of(tmp_path)


def test_a_model_of_one_picture_is_named_before_all_pairs_were_tried(tmp_path: Path):
    judge = Judge(fails=lambda request: bool(request.further_images))
    with pytest.raises(UserError, match="show two pictures, and none of them was answered: one picture only"):
        run(tmp_path, judge)
    assert len(judge.compared) < 2 * 60
    assert len(rows_of(tmp_path)) == len(SAMPLES), "the answers are kept"


def test_new_rows_are_measured_against_the_rows_of_an_earlier_run(tmp_path: Path):
    """Their scores are on the earlier run's scale: equal skill has an equal score, in expectation."""
    samples = load("kaomoji")[:240]
    old, new = samples[:120], samples[120:]
    run(tmp_path / "old", Judge(), old)
    earlier = scores_of(tmp_path / "old")
    opponents = [Player(sample, sample.candidates[0], earlier[sample.id]) for sample in old]
    judge = Judge()
    outcome = run(tmp_path / "new", judge, new, opponents=opponents)
    assert outcome.pairs == MATCHES * len(new)
    assert {frozenset(pair) & {sample.id for sample in new} for pair in judge.compared} <= {
        frozenset({sample.id}) for sample in new
    }
    scores = scores_of(tmp_path / "new")
    assert {row.questions for row in rows_of(tmp_path / "new")} == {1 + 2 * MATCHES}
    lines = [np.polyfit([skill_of(name) for name in own], list(own.values()), 1) for own in (earlier, scores)]
    assert lines[0] == pytest.approx(lines[1], abs=0.25)
    half = pairs_against([*(Player(sample, "x") for sample in new[:60]), *opponents], 60, 0)
    whole = pairs_against([*(Player(sample, "x") for sample in new), *opponents], 120, 0)
    assert [(a, b + 60) for a, b in half] == whole[: len(half)], "a part of the rows plays as in the whole"


def server_answers(question: str) -> str:
    """Cute, at .80; of two answers the first."""
    first = "<answer>first</answer>"
    return first if "Which of the two" in question else "<answer>cute</answer><confidence>0.80</confidence>"


def test_the_command_compares_a_run_and_then_others_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = WrongServer(lambda: "400", answers=server_answers)
    with serving(server) as url:
        common = ["predict", "kaomoji", "--url", url, "--model", "tuned", "--signals", "relative"]
        old, new = tmp_path / "old", tmp_path / "new"
        assert main([*common, "--limit", "6", "--out", str(old)]) == 0
        within = len(server.bodies)
        assert "Relative confidence: 13 pairs of answers, 26 questions asked now" in capsys.readouterr().out
        against = [*common, "--limit", "8", "--against", str(old), "--out"]
        assert main([*against, str(new)]) == 0
        parts = [str(tmp_path / f"part-{number}") for number in (1, 2)]
        for number, part in enumerate(parts, 1):
            assert main([*against, part, "--shard", f"{number}/2"]) == 0
        assert main(["predict", "--merge", *parts, "--out", str(tmp_path / "merged")]) == 0
        assert main([*common, "--limit", "6", "--shard", "1/2", "--out", str(tmp_path / "x")]) == 2
        assert "leave --shard out, or name an earlier run with --against" in capsys.readouterr().err
    assert within == 6 + 26
    contents = [body["messages"][0]["content"] for body in server.bodies]
    assert Counter(len(content) for content in contents[:within]) == {2: 6, 3: 26}
    assert all(part["type"] == "image_url" for content in contents if len(content) == 3 for part in content[:2])
    assert set(scores_of(old).values()) == {0.0}, "the first place is preferred in both orders: all are draws"
    assert len(scores_of(new)) == 8
    assert (tmp_path / "merged" / "responses.jsonl").read_bytes() == (new / "responses.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "other"}, "its --model is other, not tuned; compare answers of one model"),
        ({"limit": 1}, "kaomoji no longer holds its row"),
    ],
)
def test_an_earlier_run_that_does_not_fit_is_named(
    change: dict[str, object], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = WrongServer(lambda: "400", answers=server_answers)
    with serving(server) as url:
        common = ["predict", "kaomoji", "--url", url, "--model", "tuned", "--limit", "3", "--out"]
        plain, old = str(tmp_path / "plain"), str(tmp_path / "old")
        signals = ["--signals", "relative"]
        assert main([*common, plain]) == 0
        assert main([*common, str(tmp_path / "x"), *signals, "--against", str(tmp_path)]) == 2
        assert main([*common, str(tmp_path / "x"), "--against", plain]) == 2
        assert main([*common, str(tmp_path / "x"), *signals, "--against", plain]) == 2
        errors = capsys.readouterr().err
        assert main([*common, old, *signals]) == 0
        manifest = json.loads((tmp_path / "old" / "manifest.json").read_text())
        manifest["settings"] |= change
        (tmp_path / "old" / "manifest.json").write_text(json.dumps(manifest))
        assert main([*common, str(tmp_path / "x"), *signals, "--against", old]) == 2
    assert sentence in capsys.readouterr().err
    for said in ("there is no manifest.json", "needs --signals relative", "no row of it has the signal relative"):
        assert said in re.sub(r"\s+", " ", errors)


def test_rows_of_other_labels_are_not_compared(tmp_path: Path):
    others = [
        replace(sample, id=f"other-{sample.id}", task="t", candidates=("up", "down"), label="up")
        for sample in SAMPLES[:6]
    ]
    judge = Judge()
    run(tmp_path, judge, [*SAMPLES[:6], *others])
    assert all(len({name.startswith("other-") for name in pair}) == 1 for pair in judge.compared)
    assert len(scores_of(tmp_path)) == 12


def test_the_tiny_model_is_asked_over_two_pictures_and_scores_are_not_all_alike(tmp_path: Path):
    options = ["--signals", "relative,blinded", "--limit", "6", "--out", str(tmp_path / "out")]
    assert main(["predict", "kaomoji", *options]) == 0
    records = list(read_records(responses_file(tmp_path / "out", 0)))
    assert all({"relative", "blinded"} <= record.response.signals.keys() for record in records)
    assert len(set(scores_of(tmp_path / "out").values())) > 1
