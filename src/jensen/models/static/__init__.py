"""Models of single rows."""

from jensen.models.static.bayesian_mixture import BayesianGaussianMixture
from jensen.models.static.bernoulli_mixture import BernoulliMixture
from jensen.models.static.decoder import Decoder
from jensen.models.static.factor_analysis import FactorAnalysis
from jensen.models.static.framed import HasFloor, HasFrame
from jensen.models.static.gaussian import Gaussian
from jensen.models.static.log_density import LogDensity
from jensen.models.static.mixture import GaussianMixture
from jensen.models.static.ppca import ProbabilisticPCA
from jensen.models.static.student_mixture import StudentMixture
from jensen.models.static.topics import LDA

__all__ = [
    "LDA",
    "BayesianGaussianMixture",
    "BernoulliMixture",
    "Decoder",
    "FactorAnalysis",
    "Gaussian",
    "GaussianMixture",
    "HasFloor",
    "HasFrame",
    "LogDensity",
    "ProbabilisticPCA",
    "StudentMixture",
]
