"""Priors over latents, for any model that takes one."""

from jensen.models.priors.base import AbstractLivePrior, AbstractPrior
from jensen.models.priors.codebook import Codebook
from jensen.models.priors.conditional import ConditionalGaussian
from jensen.models.priors.discrete import Bernoulli, Categorical, OneHot
from jensen.models.priors.gamma import Gamma
from jensen.models.priors.gaussian import LearnedGaussian, StandardNormal
from jensen.models.priors.hierarchical import AbstractHierarchy, Hierarchical, Ladder, features_dim
from jensen.models.priors.learned import Learned
from jensen.models.priors.mixture import MixtureOfGaussians
from jensen.models.priors.vamp import VampPrior

__all__ = [
    "AbstractHierarchy",
    "AbstractLivePrior",
    "AbstractPrior",
    "Bernoulli",
    "Categorical",
    "Codebook",
    "ConditionalGaussian",
    "Gamma",
    "Hierarchical",
    "Ladder",
    "Learned",
    "LearnedGaussian",
    "MixtureOfGaussians",
    "OneHot",
    "StandardNormal",
    "VampPrior",
    "features_dim",
]
