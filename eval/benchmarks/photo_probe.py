"""Train small heads on frozen features with votes as targets; five seeds predict FER+, its corruptions, drawings and
Emotion6. A cheap but real model for sets.py and reasons.py, after photo_features.py; not a competitive one.

    python -m eval.benchmarks.photo_probe --features out/photo-features
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, Source, State

Floats = npt.NDArray[np.float64]
SEEDS = 5
EPOCHS, BATCH, HIDDEN = 10, 64, 64


def features(folder: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    """The rows of a set of pictures that have a vote, or all if none has."""
    stored = dict(np.load(folder / f"{name}.npz"))
    has = stored["votes"].sum(1) > 0
    if not has.any():
        return stored
    return {key: value if key == "labels" else value[has] for key, value in stored.items()}


def taught(train: npt.NDArray[np.float32], shares: Floats, seed: int) -> torch.nn.Module:
    """A head with one hidden layer; the seed determines its random draws (weights, order, dropout, bootstrap of the
    rows)."""
    torch.manual_seed(seed)
    layers = (torch.nn.Dropout(0.3), torch.nn.Linear(train.shape[1], HIDDEN), torch.nn.GELU(), torch.nn.Dropout(0.3),
              torch.nn.Linear(HIDDEN, shares.shape[1]))  # fmt: skip
    head = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    seen, wanted = torch.from_numpy(train), torch.tensor(shares, dtype=torch.float32)
    for _ in range(EPOCHS):
        for rows in torch.randint(len(seen), (len(seen),)).split(BATCH):
            loss = -(wanted[rows] * head(seen[rows]).log_softmax(-1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.eval()


def main() -> None:
    """Train the heads of both data sets and write their distributions for every set of pictures, [SEEDS, n, labels]."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=Path, required=True)
    folder = parser.parse_args().features
    torch.set_num_threads(1)
    for data, others in (("ferplus", True), ("emotion6", False)):
        stored = features(folder, data)
        train = stored["split"] == "train"
        mean, deviation = stored["probe"][train].mean(0), stored["probe"][train].std(0) + 1e-6
        votes = stored["votes"][train]
        shares = votes / votes.sum(1, keepdims=True)
        heads = [taught((stored["probe"][train] - mean) / deviation, shares, seed) for seed in range(SEEDS)]
        names = [data, *(sorted(p.stem for p in folder.glob("*.npz") if others and is_other(p.stem)))]
        said = {}
        for name in names:
            seen = torch.from_numpy((features(folder, name)["probe"] - mean) / deviation)
            with torch.no_grad():
                said[name] = np.stack([head(seen).double().softmax(-1).numpy() for head in heads])
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **said)
        write_atomically(folder / "probes" / f"{data}.npz", [content.getvalue()])
        print(f"{data}: {len(names)} sets of pictures")


def is_other(name: str) -> bool:
    """Whether a set of pictures is one that the head of FER+ is applied to beside FER+ itself."""
    return name not in ("ferplus",)


def rows_of(stored: dict[str, npt.NDArray[Any]], shares: Floats, task: str, split: str | None) -> list[Prediction]:
    """The prediction rows of one split: the likeliest label, its share, the distribution and the votes; without rows
    that have no plurality label, as is usual."""
    labels = [str(label) for label in stored["labels"]]
    made = []
    for n, own in enumerate(shares):
        if (split is not None and stored["split"][n] != split) or not stored["label"][n]:
            continue
        top = int(own.argmax())
        votes = {label: int(count) for label, count in zip(labels, stored["votes"][n], strict=True)}
        made.append(
            Prediction(
                str(stored["ids"][n]), task, "", "", str(stored["label"][n]), labels[top], float(min(own[top], 1.0)),
                State.OK, Source.LOGPROB, "probe", votes,
                {label: float(min(share, 1.0)) for label, share in zip(labels, own, strict=True)},
            )
        )  # fmt: skip
    return made


if __name__ == "__main__":
    main()
