"""The scikit-learn face: estimators with scikit-learn's parameters, attributes and wording."""

from jensen.sklearn.gaussian_mixture import GaussianMixture

__all__ = ["GaussianMixture"]


def __dir__() -> list[str]:
    return __all__
