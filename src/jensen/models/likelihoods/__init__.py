"""Likelihoods p(x | z), for any model that decodes."""

from __future__ import annotations

from jensen.errors import InputError, nearest
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.bernoulli import Bernoulli
from jensen.models.likelihoods.categorical import Categorical
from jensen.models.likelihoods.gaussian import Gaussian
from jensen.models.likelihoods.joined import Joined

NAMED = {"bernoulli": Bernoulli, "gaussian": Gaussian}


def named(likelihood: str | AbstractLikelihood, data_dim: int) -> AbstractLikelihood:
    """Return a likelihood by name, or the one given.

    Raises:
        InputError: If the name is unknown; the nearest is suggested.
    """
    if isinstance(likelihood, AbstractLikelihood):
        return likelihood
    if likelihood == "categorical":
        raise InputError(
            "likelihood 'categorical' needs its number of classes: "
            "pass models.likelihoods.Categorical(data_dim, num_classes)"
        )
    if likelihood not in NAMED:
        raise InputError(f"unknown likelihood {likelihood!r}{nearest(likelihood, [*NAMED, 'categorical'])}")
    return NAMED[likelihood](data_dim)


__all__ = ["NAMED", "AbstractLikelihood", "Bernoulli", "Categorical", "Gaussian", "Joined", "named"]
