"""Models of one row given another, p(y | x); data are ``fit.Data(y, cond=x)``."""

from jensen.models.conditional.categorical import CategoricalNet
from jensen.models.conditional.condition import HasCondFrame
from jensen.models.conditional.conditional_decoder import ConditionalDecoder, chunk_decoder
from jensen.models.conditional.episode_decoder import EpisodeDecoder
from jensen.models.conditional.heteroscedastic import HeteroscedasticNet
from jensen.models.conditional.linear_gaussian import LinearGaussian
from jensen.models.conditional.mixture_density import MixtureDensity

__all__ = [
    "CategoricalNet",
    "ConditionalDecoder",
    "EpisodeDecoder",
    "HasCondFrame",
    "HeteroscedasticNet",
    "LinearGaussian",
    "MixtureDensity",
    "chunk_decoder",
]
