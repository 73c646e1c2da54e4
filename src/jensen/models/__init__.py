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
from jensen.models.sequence import HMM, RSSM, BayesianHMM, EmbedToControl, LinearGaussianSSM, NeuralStateSpace
from jensen.models.static import (
    LDA,
    BayesianGaussianMixture,
    BernoulliMixture,
    Decoder,
    FactorAnalysis,
    Gaussian,
    GaussianMixture,
    LogDensity,
    ProbabilisticPCA,
    StudentMixture,
)

__all__ = [
    "HMM",
    "LDA",
    "RSSM",
    "BayesianGaussianMixture",
    "BayesianHMM",
    "BernoulliMixture",
    "CategoricalNet",
    "ConditionalDecoder",
    "Decoder",
    "EmbedToControl",
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
    "StudentMixture",
    "chunk_decoder",
    "likelihoods",
    "priors",
]
