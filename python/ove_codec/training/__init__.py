"""Training of the encoder by cluster discrimination: the loss, its optimiser, and the loop of `ove-codec train`."""

from ove_codec.training.centre_optimizer import CentreAdamW
from ove_codec.training.losses import ClusterLoss, ClusterOutput
from ove_codec.training.ranks import Ranks

__all__ = ["CentreAdamW", "ClusterLoss", "ClusterOutput", "Ranks"]
