"""A baseline's recipe: one YAML file with its network and its training.

    network: {method: tmc, hidden: [256], evidence: exp}
    training: {epochs: 100, learning_rate: 0.001}

What is left out has the default of the method's settings (softmax, evidential, ter, amber2) and of `Training`.

    emocaliber baseline train tmc --recipe recipes/baselines/tmc-public.yaml --views FILE.npz --out DIR
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Network
from emocaliber.baselines.evidential import Ecml, Edl, Etmc, Tmc
from emocaliber.baselines.softmax import Dropout, Ensemble, Softmax
from emocaliber.baselines.ter import Ter
from emocaliber.baselines.training import Training
from emocaliber.core.errors import UserError
from emocaliber.core.yaml_files import read_yaml

NETWORKS: dict[str, Network] = {
    "softmax": Softmax(),
    "edl": Edl(),
    "tmc": Tmc(),
    "etmc": Etmc(),
    "ecml": Ecml(),
    "ter": Ter(),
    "amber2": Amber2(),
    "ensemble": Ensemble(),
    "dropout": Dropout(),
}
"""Each method by the name that the command takes, with the settings that it has without a recipe."""


class BaselineRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    network: Network
    training: Training = Training()


def load_recipe(path: Path) -> BaselineRecipe:
    """Read a recipe. Raises UserError naming the file and the key."""
    try:
        return msgspec.convert(read_yaml(path), BaselineRecipe)
    except msgspec.ValidationError as problem:
        raise UserError(f"{path}: {problem}") from None
