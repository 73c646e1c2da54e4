"""Choice 1: what generated the data."""

from jensen.models import likelihoods, priors
from jensen.models.static import Decoder

__all__ = ["Decoder", "likelihoods", "priors"]
