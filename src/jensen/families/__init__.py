"""Variational families: a parameter vector in, a law over latents out."""

from jensen.families.base import AbstractFamily, bounded_exp
from jensen.families.discrete import Bernoulli, Categorical, OneHot
from jensen.families.gaussian import DiagGaussian, FullGaussian, LowRankGaussian

__all__ = [
    "AbstractFamily",
    "Bernoulli",
    "Categorical",
    "DiagGaussian",
    "FullGaussian",
    "LowRankGaussian",
    "OneHot",
    "bounded_exp",
]
