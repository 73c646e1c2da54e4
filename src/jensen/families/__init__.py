"""Variational families: a parameter vector in, a law over latents out."""

from jensen.families.base import AbstractFamily, bounded_exp
from jensen.families.discrete import Bernoulli, Categorical, OneHot
from jensen.families.gaussian import DiagGaussian, FullGaussian, LowRankGaussian
from jensen.families.paths import AbstractPathFamily, GaussianMarkov

__all__ = [
    "AbstractFamily",
    "AbstractPathFamily",
    "Bernoulli",
    "Categorical",
    "DiagGaussian",
    "FullGaussian",
    "GaussianMarkov",
    "LowRankGaussian",
    "OneHot",
    "bounded_exp",
]
