"""Networks on one example, built on equinox, and numbers that are not trained."""

from jensen.nets.fixed import Fixed, Frame, column_means, trainable
from jensen.nets.mlp import MLP, glorot

__all__ = ["MLP", "Fixed", "Frame", "column_means", "glorot", "trainable"]
