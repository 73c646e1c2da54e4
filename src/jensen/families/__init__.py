"""Variational families: a parameter vector in, a law over latents out."""

from jensen.families.base import AbstractFamily, bounded_exp, check_family
from jensen.families.discrete import Bernoulli, Categorical, OneHot
from jensen.families.embed import embed
from jensen.families.flow import (
    CouplingFlow,
    FlowjaxFlow,
    InverseAutoregressiveFlow,
    PlanarFlow,
    Unshared,
    has_weights,
)
from jensen.families.gamma import Gamma
from jensen.families.gaussian import DiagGaussian, FullGaussian, LowRankGaussian
from jensen.families.mixture import Mixture
from jensen.families.paths import AbstractPathFamily, GaussianMarkov
from jensen.families.placed import Placed

__all__ = [
    "AbstractFamily",
    "AbstractPathFamily",
    "Bernoulli",
    "Categorical",
    "CouplingFlow",
    "DiagGaussian",
    "FlowjaxFlow",
    "FullGaussian",
    "Gamma",
    "GaussianMarkov",
    "InverseAutoregressiveFlow",
    "LowRankGaussian",
    "Mixture",
    "OneHot",
    "Placed",
    "PlanarFlow",
    "Unshared",
    "bounded_exp",
    "check_family",
    "embed",
    "has_weights",
]
