"""A baseline's recipe: one YAML file with its network and its training.

    network: {method: tmc, hidden: [256], evidence: exp}
    training: {epochs: 100, learning_rate: 0.001}

What is left out has the default of the method's settings (softmax, evidential, ter, amber2) and of `Training`.

    emocaliber baseline tmc --recipe recipes/baselines/tmc-public.yaml --views FILE.npz --out DIR
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Network
from emocaliber.baselines.evidential import Ecml, Edl, Etmc, Tmc
from emocaliber.baselines.softmax import Dropout, Ensemble, Softmax
from emocaliber.baselines.ter import Ter
from emocaliber.baselines.training import Training
from emocaliber.errors import UserError

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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(content, BaselineRecipe)
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except yaml.YAMLError as problem:
        raise UserError(f"{path} is not YAML: {problem}") from None
    except msgspec.ValidationError as problem:
        raise UserError(f"{path}: {problem}") from None
