"""Choice 1: what generated the data."""

from jensen.models import likelihoods, priors
from jensen.models.sequence import RSSM, NeuralStateSpace
from jensen.models.static import (
    Decoder,
    FactorAnalysis,
    Gaussian,
    GaussianMixture,
    ProbabilisticPCA,
)

__all__ = [
    "RSSM",
    "Decoder",
    "FactorAnalysis",
    "Gaussian",
    "GaussianMixture",
    "NeuralStateSpace",
    "ProbabilisticPCA",
    "likelihoods",
    "priors",
]
