"""Training of the encoder by cluster discrimination: the loss, its optimiser, and the loop of `ove-codec train`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ove_codec.training.centre_optimizer import CentreAdamW
from ove_codec.training.launch import choose_device, process_group
from ove_codec.training.losses import ClusterLoss, ClusterOutput
from ove_codec.training.ranks import Ranks
from ove_codec.training.skips import TrainingError

if TYPE_CHECKING:
    from ove_codec.training.recipe import TrainingRecipe, load_recipe
    from ove_codec.training.trainer import Trainer

__all__ = [
    "CentreAdamW",
    "ClusterLoss",
    "ClusterOutput",
    "Ranks",
    "Trainer",
    "TrainingError",
    "TrainingRecipe",
    "choose_device",
    "load_recipe",
    "process_group",
]

# What needs the extra `train` is imported where it is used: the loss and its optimiser do without.
_OF_THE_EXTRA = {"Trainer": "trainer", "TrainingRecipe": "recipe", "load_recipe": "recipe"}


def __getattr__(name: str) -> Any:
    if name in _OF_THE_EXTRA:
        return getattr(import_module(f"ove_codec.training.{_OF_THE_EXTRA[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
