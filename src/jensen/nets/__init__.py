"""Networks on one example, built on equinox."""

from jensen.nets.mlp import MLP, glorot

__all__ = ["MLP", "glorot"]
