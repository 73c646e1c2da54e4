"""Networks on one example, built on equinox, and numbers that are not trained."""

from jensen.nets.fixed import Fixed, Frame, column_means, trainable
from jensen.nets.mlp import MLP, glorot
from jensen.nets.recurrent import GRU, Bidirectional, Merge

__all__ = [
    "GRU",
    "MLP",
    "Bidirectional",
    "Fixed",
    "Frame",
    "Merge",
    "column_means",
    "glorot",
    "trainable",
]
