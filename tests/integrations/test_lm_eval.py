"""lm-evaluation-harness runs our metrics from a task's YAML, and its samples are scored as they are written."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emocaliber.integrations.lm_eval as ours
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Source
from emocaliber.integrations.answers import METRICS
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.runs.scoring import score_files
from tests.integrations.answers import LABELS, fifty

pytestmark = pytest.mark.slow
DATA = """
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
doc_to_text: "How does it feel?"
"""
GENERATED = """
doc_to_target: label
generation_kwargs: {until: [], max_gen_toks: 64, do_sample: false}
"""
CHOSEN = """
output_type: multiple_choice
doc_to_target: "{{candidates.index(label)}}"
doc_to_choice: candidates
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Path]]:
    """What lm_eval computes for fifty rows of two tasks, and the files of samples that it writes."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("lm_eval")
    _, truths = fifty()
    documents = [{"label": truth, "candidates": LABELS, "votes": {truth: 2}} for truth in truths]
    (folder / "rows.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    for task, rest in (("emotions", GENERATED + documented()), ("chosen", CHOSEN)):
        (folder / f"{task}.yaml").write_text(DATA.format(task=task, rows=folder / "rows.jsonl") + rest)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        results = simple_evaluate(
            model=answering_model(),
            tasks=["emotions", "chosen"],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
        )
    assert results is not None
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    tracker.general_config_tracker.model_name_sanitized = "a-model"
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return results["results"], sorted((folder / "out").rglob("samples_*.jsonl"))


def documented() -> str:
    """The YAML of the module's docstring, with a line for each metric, as it says."""
    text = textwrap.dedent((ours.__doc__ or "").split("\n\n")[1])
    line = next(line for line in text.splitlines() if "metric: ece" in line)
    return text + "".join(f"\n{line.replace('ece', name)}" for name in METRICS if name != "ece") + "\n"


def answering_model() -> Any:
    """A model of lm_eval's own kind that answers with the fifty responses, and likes a choice by its place."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    class Answering(LM):
        def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
            responses, _ = fifty()
            return [responses[request.doc_id] for request in requests]

        def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            return [(float(np.log((1 + request.idx) / 36)), False) for request in requests]

        def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError

    return Answering()


def test_fifty_rows_score_alike_in_lm_eval_and_from_its_samples(written: tuple[dict[str, Any], list[Path]]):
    values, [_, path] = written
    assert not is_table(path)
    card = score_files([path], replicates=50)
    assert card.methods[0].name == "a-model"
    assert card.tasks == ["emotions"]
    for name in ("accuracy", "ece", "brier", "auroc"):
        assert values["emotions"][f"{name},none"] == pytest.approx(float(card[name])), name
    scores = card.methods[0].find("all")
    assert values["emotions"]["unreadable,none"] == pytest.approx(1 - scores.n_answered / scores.n)
    assert 0 < scores.n_answered < 50


def test_of_multiple_choice_the_confidence_is_the_softmax_of_the_likelihoods(
    written: tuple[dict[str, Any], list[Path]],
):
    values, [path, _] = written
    rows = list(read_lines(path))
    assert len(rows) == 50
    assert {row.predicted for row in rows} == {LABELS[-1]}
    assert {row.source for row in rows} == {Source.LOGPROB}
    assert rows[0].confidence == pytest.approx(8 / 36)
    assert rows[0].distribution == pytest.approx({label: (place + 1) / 36 for place, label in enumerate(LABELS)})
    assert np.mean([row.predicted == row.truth for row in rows]) == pytest.approx(values["chosen"]["acc,none"])
    assert rows[0].votes == {rows[0].truth: 2}


def test_a_document_without_label_or_candidates_is_refused():
    with pytest.raises(UserError, match="no true label under label, truth"):
        ours.process_results({"votes": {"joy": 1}, "candidates": [*LABELS[:2], "joy"]}, ["joy"])
    with pytest.raises(UserError, match="which labels there are"):
        ours.process_results({"label": "awe"}, ["awe"])
    named = ours.results_of(labels="mikels-8")({"label": "awe"}, ["Answer: awe\nConfidence: 70%"])
    assert named["ece"] == (True, 0.7)
