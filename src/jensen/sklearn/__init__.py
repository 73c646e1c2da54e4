"""The scikit-learn face: estimators with scikit-learn's parameters, attributes and wording."""

from jensen.sklearn.bernoulli_mixture import BernoulliMixture
from jensen.sklearn.factor_analysis import FactorAnalysis
from jensen.sklearn.gaussian_mixture import GaussianMixture
from jensen.sklearn.mixture_density import MixtureDensityRegressor
from jensen.sklearn.vae import VAE

__all__ = ["VAE", "BernoulliMixture", "FactorAnalysis", "GaussianMixture", "MixtureDensityRegressor"]


def __dir__() -> list[str]:
    return __all__
