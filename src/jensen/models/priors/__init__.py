"""Priors over latents, for any model that takes one."""

from jensen.models.priors.base import AbstractPrior
from jensen.models.priors.conditional import ConditionalGaussian
from jensen.models.priors.discrete import Bernoulli, Categorical, OneHot
from jensen.models.priors.gaussian import LearnedGaussian, StandardNormal

__all__ = [
    "AbstractPrior",
    "Bernoulli",
    "Categorical",
    "ConditionalGaussian",
    "LearnedGaussian",
    "OneHot",
    "StandardNormal",
]
