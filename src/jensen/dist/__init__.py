"""Distributions over one event: capabilities as types, closed-form divergences by pair."""

from jensen.dist.balance import balanced_kl
from jensen.dist.bijections import (
    AbstractBijection,
    Affine,
    Autoregressive,
    Chain,
    Coupling,
    Foreign,
    Planar,
    Reverse,
)
from jensen.dist.codes import Codes, NearestCode, NearestCodeThrough
from jensen.dist.conjugate import Dirichlet, Factors, NormalWishart
from jensen.dist.counts import (
    BetaBinomialRow,
    NegativeBinomialRow,
    beta_binomial_log_prob,
    negative_binomial_log_prob,
)
from jensen.dist.discrete import Bernoulli, Categorical, OneHot, OneHotThrough
from jensen.dist.flow import Flow, scored_in_one_pass
from jensen.dist.gamma import Gamma
from jensen.dist.gaussian import AbstractGaussian, DiagGaussian, FullGaussian, LowRankGaussian
from jensen.dist.gaussian_mixture import GaussianMixture
from jensen.dist.hamiltonian import AbstractAugmented, Hamiltonian
from jensen.dist.joined import JoinedRow, means_by_kind, row_of_means
from jensen.dist.kl import has_kl, kl_divergence, kl_per_dimension, register_kl
from jensen.dist.layers import (
    AbstractLayered,
    AbstractLink,
    AbstractRung,
    BottomUpGaussian,
    TopDownGaussian,
    precision_weighted,
    split_layers,
)
from jensen.dist.levels import DiscretizedLogisticRow
from jensen.dist.mixture import Mixture
from jensen.dist.observation import (
    AbstractObservation,
    BernoulliRow,
    CategoricalRow,
    GaussianRow,
    log_prob_observed,
)
from jensen.dist.path import (
    AbstractRecurrence,
    AbstractRecurrentPath,
    AncestralPath,
    RelaxablePath,
    ReparameterizedPath,
    StepwisePrior,
    Walk,
    real_steps,
    scored_steps,
    unroll,
)
from jensen.dist.path_gaussian import GaussianMarkov
from jensen.dist.path_markov import MarkovPath
from jensen.dist.protocol import (
    AbstractCarrying,
    AbstractDensity,
    AbstractDistribution,
    AbstractEnumerable,
    AbstractMoments,
    AbstractRelaxable,
    AbstractTransport,
    Draw,
    Empty,
    Reparameterized,
    draw,
)
from jensen.dist.rows import JointGaussianRow, PoissonRow, poisson_log_prob
from jensen.dist.stopped import StoppedSample, StoppedScore, rescored, stop
from jensen.dist.student import StudentTRow
from jensen.dist.triangular import Triangular

__all__ = [
    "AbstractAugmented",
    "AbstractBijection",
    "AbstractCarrying",
    "AbstractDensity",
    "AbstractDistribution",
    "AbstractEnumerable",
    "AbstractGaussian",
    "AbstractLayered",
    "AbstractLink",
    "AbstractMoments",
    "AbstractObservation",
    "AbstractRecurrence",
    "AbstractRecurrentPath",
    "AbstractRelaxable",
    "AbstractRung",
    "AbstractTransport",
    "Affine",
    "AncestralPath",
    "Autoregressive",
    "Bernoulli",
    "BernoulliRow",
    "BetaBinomialRow",
    "BottomUpGaussian",
    "Categorical",
    "CategoricalRow",
    "Chain",
    "Codes",
    "Coupling",
    "DiagGaussian",
    "Dirichlet",
    "DiscretizedLogisticRow",
    "Draw",
    "Empty",
    "Factors",
    "Flow",
    "Foreign",
    "FullGaussian",
    "Gamma",
    "GaussianMarkov",
    "GaussianMixture",
    "GaussianRow",
    "Hamiltonian",
    "JoinedRow",
    "JointGaussianRow",
    "LowRankGaussian",
    "MarkovPath",
    "Mixture",
    "NearestCode",
    "NearestCodeThrough",
    "NegativeBinomialRow",
    "NormalWishart",
    "OneHot",
    "OneHotThrough",
    "Planar",
    "PoissonRow",
    "RelaxablePath",
    "Reparameterized",
    "ReparameterizedPath",
    "Reverse",
    "StepwisePrior",
    "StoppedSample",
    "StoppedScore",
    "StudentTRow",
    "TopDownGaussian",
    "Triangular",
    "Walk",
    "balanced_kl",
    "beta_binomial_log_prob",
    "draw",
    "has_kl",
    "kl_divergence",
    "kl_per_dimension",
    "log_prob_observed",
    "means_by_kind",
    "negative_binomial_log_prob",
    "poisson_log_prob",
    "precision_weighted",
    "real_steps",
    "register_kl",
    "rescored",
    "row_of_means",
    "scored_in_one_pass",
    "scored_steps",
    "split_layers",
    "stop",
    "unroll",
]
