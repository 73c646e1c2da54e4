"""Choice 1: what generated the data."""

from jensen.models import likelihoods, priors
from jensen.models.static import (
    Decoder,
    FactorAnalysis,
    Gaussian,
    GaussianMixture,
    ProbabilisticPCA,
)

__all__ = [
    "Decoder",
    "FactorAnalysis",
    "Gaussian",
    "GaussianMixture",
    "ProbabilisticPCA",
    "likelihoods",
    "priors",
]
