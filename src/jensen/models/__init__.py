"""Choice 1: what generated the data."""

from jensen.models import likelihoods, priors
from jensen.models.sequence import HMM, RSSM, LinearGaussianSSM, NeuralStateSpace
from jensen.models.static import (
    Decoder,
    FactorAnalysis,
    Gaussian,
    GaussianMixture,
    ProbabilisticPCA,
)

__all__ = [
    "HMM",
    "RSSM",
    "Decoder",
    "FactorAnalysis",
    "Gaussian",
    "GaussianMixture",
    "LinearGaussianSSM",
    "NeuralStateSpace",
    "ProbabilisticPCA",
    "likelihoods",
    "priors",
]
