"""Networks on one example, built on equinox, and numbers that are not trained."""

from jensen.nets.fixed import Fixed, Frame, trainable
from jensen.nets.mlp import MLP, glorot

__all__ = ["MLP", "Fixed", "Frame", "glorot", "trainable"]
