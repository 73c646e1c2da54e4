"""Choice 1: what generated the data."""

from jensen.models import likelihoods, priors
from jensen.models.conditional import (
    CategoricalNet,
    ConditionalDecoder,
    EpisodeDecoder,
    HeteroscedasticNet,
    LinearGaussian,
    MixtureDensity,
    chunk_decoder,
)
from jensen.models.sequence import HMM, RSSM, LinearGaussianSSM, NeuralStateSpace
from jensen.models.static import (
    Decoder,
    FactorAnalysis,
    Gaussian,
    GaussianMixture,
    LogDensity,
    ProbabilisticPCA,
)

__all__ = [
    "HMM",
    "RSSM",
    "CategoricalNet",
    "ConditionalDecoder",
    "Decoder",
    "EpisodeDecoder",
    "FactorAnalysis",
    "Gaussian",
    "GaussianMixture",
    "HeteroscedasticNet",
    "LinearGaussian",
    "LinearGaussianSSM",
    "LogDensity",
    "MixtureDensity",
    "NeuralStateSpace",
    "ProbabilisticPCA",
    "chunk_decoder",
    "likelihoods",
    "priors",
]
