"""Attentive probes of frozen backbones (Tables 4 and 5 of the OneVision-Encoder page).

``AttentiveHead`` is the probe, ``train_heads`` trains several at once on features (``TensorFeatures`` in memory,
``CachedFeatures`` on disk), ``evaluate`` counts what they classify right.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ove_codec._renames import renamed

if TYPE_CHECKING:
    from ove_codec.probes.accuracy import Accuracy, evaluate
    from ove_codec.probes.features import FeatureBatch, FeatureSet, TensorFeatures
    from ove_codec.probes.head import AttentiveHead, HeadStack
    from ove_codec.probes.train import ProbeRecipe, Setting, Trained, load_heads, sweep, train_heads

_HOMES = {
    "accuracy": ("Accuracy", "evaluate"),
    "features": ("FeatureBatch", "FeatureSet", "TensorFeatures"),
    "head": ("AttentiveHead", "HeadStack"),
    "train": ("ProbeRecipe", "Setting", "Trained", "load_heads", "sweep", "train_heads"),
}

__all__ = [
    "Accuracy",
    "AttentiveHead",
    "FeatureBatch",
    "FeatureSet",
    "HeadStack",
    "ProbeRecipe",
    "Setting",
    "TensorFeatures",
    "Trained",
    "evaluate",
    "load_heads",
    "sweep",
    "train_heads",
]


def _lazy(name: str) -> Any:
    # PyTorch is imported only by those who use it.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"ove_codec.probes.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__getattr__ = renamed(__name__, _lazy, Recipe="ProbeRecipe")
