"""Importance-weighted bounds that give the posterior a stronger signal: MIWAE, PIWAE, CIWAE."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jensen.core import AbstractInference, Losses, Terms, Verdict
from jensen.errors import InputError, at_least
from jensen.objectives.schedules import at
from jensen.objectives.together import DrawsIndependently, adds_over_data
from jensen.typing import Array, Float, Int, Scalar, Schedule


class MIWAE(DrawsIndependently):
    """log p(x) ≥ E (1/M) Σₘ log (M/K) Σ_{k in group m} wₖ, in nats: a mean of M bounds on K/M draws each.

    One group is ``IWAE(K)``, groups of one are the ELBO. With more groups the posterior's gradient is less
    noisy, and the bound looser.

    Args:
        num_samples: K, draws per datum in all.
        groups: M, which divides K.

    Raises:
        InputError: If K is not positive, or M does not divide it.

    References:
        Rainforth et al. 2018.

    Example:
        >>> MIWAE(64, groups=8).groups
        8
    """

    num_samples: int
    groups: int

    def __init__(self, num_samples: int, *, groups: int):
        self.num_samples, self.groups = _checked("MIWAE", num_samples, groups)

    def bound(self, terms: Terms) -> Scalar:
        """Return the mean of the groups' log-means of weights, in nats."""
        return mean_of_groups(terms.log_w, self.groups)

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative bound, plus mean penalties."""
        return Losses.both(terms.penalty.mean() - self.bound(terms))

    def rule(self, inference: AbstractInference) -> Verdict:
        """No objection but to one z behind all data."""
        return adds_over_data(self, inference) or Verdict("exact")


class PIWAE(DrawsIndependently):
    """The model climbs ``IWAE(K)``, the posterior ``MIWAE(K, groups=M)``, at the same K draws.

    The model has the tight bound, the posterior the strong signal. IWAE's bound is reported.

    Args:
        num_samples: K, draws per datum in all.
        groups: M, which divides K.

    Raises:
        InputError: If K is not positive, or M does not divide it.

    References:
        Rainforth et al. 2018.

    Example:
        >>> PIWAE(64, groups=8).num_samples
        64
    """

    num_samples: int
    groups: int

    def __init__(self, num_samples: int, *, groups: int):
        self.num_samples, self.groups = _checked("PIWAE", num_samples, groups)

    def bound(self, terms: Terms) -> Scalar:
        """Return log (1/K) Σ wₖ, in nats."""
        return mean_of_groups(terms.log_w, 1)

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the two negative bounds, plus mean penalties."""
        penalty = terms.penalty.mean()
        return Losses(penalty - self.bound(terms), penalty - mean_of_groups(terms.log_w, self.groups))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Say that there are two losses."""
        refusal = adds_over_data(self, inference)
        return refusal or Verdict("biased", "PIWAE follows two losses, the gradient of no one bound")


class CIWAE(DrawsIndependently):
    """β·ELBO + (1 − β)·IWAE(K), both at the same K draws, in nats. IWAE's bound is reported.

    Args:
        num_samples: K, draws per datum.
        beta: β between 0 and 1, a number or a function of the step.

    Raises:
        InputError: If K is not positive or β out of range.

    References:
        Rainforth et al. 2018.

    Example:
        >>> CIWAE(64, beta=0.05).beta
        0.05
    """

    num_samples: int
    beta: float | Schedule

    def __init__(self, num_samples: int, *, beta: float | Schedule):
        self.num_samples, _ = _checked("CIWAE", num_samples, 1)
        if isinstance(beta, int | float) and not 0 <= beta <= 1:
            raise InputError(f"CIWAE: beta is {beta}; it must lie between 0 and 1")
        self.beta = beta

    def bound(self, terms: Terms) -> Scalar:
        """Return log (1/K) Σ wₖ, in nats."""
        return mean_of_groups(terms.log_w, 1)

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative mixture of bounds, plus mean penalties."""
        beta = at(self.beta, step)
        mixed = beta * terms.log_w.mean() + (1 - beta) * self.bound(terms)
        return Losses.both(terms.penalty.mean() - mixed)

    def rule(self, inference: AbstractInference) -> Verdict:
        """No objection but to one z behind all data."""
        return adds_over_data(self, inference) or Verdict("exact")


def mean_of_groups(log_w: Float[Array, "k"], groups: int) -> Scalar:
    """Return the mean over groups of draws of the log of each group's mean weight, in nats."""
    each = log_w.reshape(groups, -1)
    return (logsumexp(each, axis=1) - jnp.log(float(each.shape[1]))).mean()


def _checked(name: str, num_samples: int, groups: int) -> tuple[int, int]:
    at_least(name, 1, num_samples=num_samples)
    if groups < 1 or num_samples % groups:
        raise InputError(f"{name}: groups is {groups}; it must divide the {num_samples} draws")
    return num_samples, groups
