"""Likelihoods p(x | z), for any model that decodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from jensen.errors import InputError, check_made, nearest
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.bernoulli import Bernoulli
from jensen.models.likelihoods.beta_binomial import BetaBinomial
from jensen.models.likelihoods.categorical import Categorical
from jensen.models.likelihoods.discretized_logistic import DiscretizedLogistic
from jensen.models.likelihoods.gaussian import Gaussian
from jensen.models.likelihoods.joined import Joined
from jensen.models.likelihoods.negative_binomial import NegativeBinomial
from jensen.models.likelihoods.open_categorical import OpenCategorical
from jensen.models.likelihoods.poisson import Poisson
from jensen.models.likelihoods.student_t import StudentT

NAMED = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "student_t": StudentT,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "beta_binomial": BetaBinomial,
    "discretized_logistic": DiscretizedLogistic,
}


def named(likelihood: str | AbstractLikelihood, data_dim: int) -> AbstractLikelihood:
    """Return a likelihood by name, or the one given.

    Raises:
        InputError: If the name is unknown; the nearest is suggested.
    """
    if isinstance(likelihood, AbstractLikelihood):
        return likelihood
    if not isinstance(likelihood, str):
        check_made("model", "likelihood", likelihood, AbstractLikelihood, "'gaussian'")
    if likelihood == "categorical":
        raise InputError(
            "likelihood 'categorical' needs its number of classes: "
            "pass models.likelihoods.Categorical(data_dim, num_classes)"
        )
    if likelihood not in NAMED:
        raise InputError(f"unknown likelihood {likelihood!r}{nearest(likelihood, [*NAMED, 'categorical'])}")
    return NAMED[likelihood](data_dim)


def for_columns(laws: Sequence[str | AbstractLikelihood]) -> AbstractLikelihood:
    """Return the likelihood of a table whose columns are of several kinds.

    Args:
        laws: One entry a column, in order: a name, or a likelihood, which may span several columns.
            Neighbours of one name are computed together: sort the columns by kind where there are many.

    Raises:
        InputError: If there are no columns, or a name is unknown.

    Example:
        >>> table = for_columns(["gaussian", "gaussian", "poisson", Categorical(1, 3), OpenCategorical(1, 9)])
        >>> table.data_dim, table.num_params
        (5, 15)
    """
    if isinstance(laws, str) or not laws:
        raise InputError("for_columns: give a list with one likelihood a column")
    parts: list[AbstractLikelihood] = []
    for name, group in groupby(laws, key=lambda law: law if isinstance(law, str) else None):
        together = list(group)
        if name is None:
            parts += [law for law in together if isinstance(law, AbstractLikelihood)]
        else:
            parts.append(named(name, len(together)))
    return parts[0] if len(parts) == 1 else Joined(tuple(parts))


__all__ = [
    "NAMED",
    "AbstractLikelihood",
    "Bernoulli",
    "BetaBinomial",
    "Categorical",
    "DiscretizedLogistic",
    "Gaussian",
    "Joined",
    "NegativeBinomial",
    "OpenCategorical",
    "Poisson",
    "StudentT",
    "for_columns",
    "named",
]
