"""Draws of the latent behind all the data, in the parameters' own space, and what they say of q."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import psis as pareto
from jensen.algorithms.weights import log_mean_exp, log_mean_exp_error
from jensen.core import AbstractLatentModel, Datum, HoldsData, HoldsFactors, SharesLatent
from jensen.diagnose.estimate import Estimate
from jensen.dist import AbstractDistribution
from jensen.errors import InputError, JensenWarning, check_key
from jensen.fit import Data
from jensen.fit.enter import check_support, to_device
from jensen.models import LogDensity
from jensen.posteriors.together import Together
from jensen.typing import Array, Float, PRNGKey, PRNGKeys, Scalar
from jensen.use.rows import inference_of

TRUSTED = 0.7
"""Up to this k̂ averages over importance weights can be trusted."""

_AT_ONCE = 64


class Moments(NamedTuple):
    """Mean and standard deviation of one parameter, with the Monte-Carlo standard errors of both.

    Attributes:
        mean: The shape of the parameter.
        mean_se: Its standard error.
        sd: Standard deviation.
        sd_se: Its standard error.
    """

    mean: np.ndarray
    mean_se: np.ndarray
    sd: np.ndarray
    sd_se: np.ndarray


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws from q, and how they are weighed to stand for the posterior.

    Attributes:
        values: Name to draws, (S, *shape), each where its parameter lives.
        log_w: log p(x, z) − log q(z) of every draw, (S,), nats.
        pareto_k: k̂ of the weights: up to 0.5 good, up to 0.7 usable, above that q misses part of the mass.
        weights: Pareto-smoothed importance weights, (S,), which sum to one.
    """

    values: dict[str, np.ndarray]
    log_w: np.ndarray
    pareto_k: float
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.log_w)

    @cached_property
    def elbo(self) -> Estimate:
        """The bound E_q[log p(x, z) − log q(z)] with its standard error, in nats."""
        return Estimate.mean(self.log_w)

    @cached_property
    def log_evidence(self) -> Estimate:
        """The importance-weighted estimate of log p(x), nats; its expectation is a lower bound."""
        log_w = jnp.asarray(self.log_w - self.log_w.max())
        value = float(log_mean_exp(log_w)) + float(self.log_w.max())
        return Estimate(value, float(log_mean_exp_error(log_w)))

    def moments(self) -> dict[str, Moments]:
        """Return the moments of q itself."""
        return self._moments(np.full(len(self), 1 / len(self)))

    def weighted_moments(self) -> dict[str, Moments]:
        """Return the moments of the posterior, by the smoothed weights: better than q's while k̂ ≤ 0.7."""
        return self._moments(self.weights)

    def resampled(self, num_draws: int, *, key: PRNGKey) -> dict[str, np.ndarray]:
        """Draw from the draws, each with its weight: nearly draws from the posterior while k̂ ≤ 0.7."""
        check_key(key)
        if num_draws < 1:
            raise InputError(f"resampled: num_draws is {num_draws}; it must be at least 1")
        # one uniform and even steps from it: less noise than independent choices
        at = (float(jax.random.uniform(key)) + np.arange(num_draws)) / num_draws
        index = np.minimum(np.searchsorted(np.cumsum(self.weights), at), len(self) - 1)
        index = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), index))
        return {name: value[index] for name, value in self.values.items()}

    def to_datatree(self) -> Any:
        """Return an ``xarray.DataTree`` as ArviZ reads it; needs the extra ``jensen[arviz]``."""
        from jensen.use.tree import datatree

        return datatree(self)

    def __repr__(self) -> str:
        """Print a table: q's moments, and the posterior's by importance weights, for at most 20 numbers."""
        heads = f"{'':<16}{'mean (q)':>20}{'sd (q)':>12}{'mean (weighted)':>20}{'sd (weighted)':>16}"
        plain, weighted = self.moments(), self.weighted_moments()
        lines, more = [heads], 0
        for name, own in plain.items():
            better = weighted[name]
            for at in np.ndindex(own.mean.shape):
                if len(lines) > 20:
                    more += 1
                    continue
                label = name + (f"[{', '.join(map(str, at))}]" if at else "")
                lines.append(
                    f"{label:<16}{_pm(own, at):>20}{own.sd[at]:>12.4g}"
                    f"{_pm(better, at):>20}{better.sd[at]:>16.4g}"
                )
        tail = [f"and {more} more"] if more else []
        head = f"{len(self):,} draws, k̂ = {self.pareto_k:.2f}"
        bounds = f"ELBO {self.elbo} nats, log evidence {self.log_evidence} nats"
        return "\n".join([head, *lines, *tail, bounds])

    def _moments(self, weights: np.ndarray) -> dict[str, Moments]:
        return {name: _moments(np.asarray(value, np.float64), weights) for name, value in self.values.items()}


def draws(fitted: Any, x: Any = None, *, key: PRNGKey, num_draws: int = 4_000) -> Draws:
    """Draw the parameters of a density, or the latent that a whole data set shares, from q.

    Every draw comes with its importance weight, so that the result says how far q may be trusted.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: The data q was fitted to, where it is rows; left out for models that hold their own.
        key: Randomness.
        num_draws: S.

    Returns:
        The draws; ``print`` shows a table.

    Raises:
        InputError: If every datum has a latent of its own, the latent is a conjugate model's parameters, or x
            does not fit the model.

    Warns:
        JensenWarning: If k̂ > 0.7.

    References:
        Yao, Vehtari, Simpson & Gelman 2018, Yes, but did it work? Evaluating variational inference.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> model = jn.models.LogDensity(lambda p: -2 * jnp.sum((p["mu"] - 1) ** 2), {"mu": (2,)})
        >>> exact = jn.Inference(
        ...     model, jn.posteriors.Laplace(), jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> found = draws(exact, key=jax.random.key(0), num_draws=500)
        >>> found.values["mu"].shape, round(found.log_evidence.value, 3)
        ((500, 2), 0.452)
    """
    check_key(key)
    if num_draws < 2:
        raise InputError(f"draws: num_draws is {num_draws}; it must be at least 2")
    inference = inference_of(fitted)
    if isinstance(inference.posterior, HoldsFactors):
        raise InputError(
            f"draws: q of {type(inference.model).__name__} is a closed form over several parameters, "
            "posterior.factors; use model.expected(q), or use.score"
        )
    rows = Data.of(x).rows()
    check_support(inference.model, rows)
    model = inference.bound_model()
    to_q, to_draws = jax.random.split(key)
    datum = to_device(rows)
    if not isinstance(model, HoldsData):
        if not isinstance(inference.posterior, SharesLatent) or not isinstance(model, AbstractLatentModel):
            raise InputError(
                f"draws: {type(inference.posterior).__name__} gives every datum a latent of its own; use "
                "use.encode"
            )
        model = Together(model, 0)
    else:
        datum = jax.tree.map(lambda leaf: leaf[0], datum)
    z, log_w, blur = _drawn(inference.posterior, model, datum, to_q, jax.random.split(to_draws, num_draws))
    log_w = np.asarray(log_w, np.float64)
    smoothed, k = pareto.psis(jnp.asarray(log_w - log_w.max()), resolution=float(blur))
    weights = np.exp(np.asarray(smoothed, np.float64))
    if not float(k) <= TRUSTED:
        warnings.warn(
            f"k̂ = {float(k):.2f} > {TRUSTED}: q misses part of the posterior; trust its moments little, the "
            "weighted ones less, and try a richer family (FullGaussian, a flow) or another parameterization",
            JensenWarning,
            stacklevel=2,
        )
    return Draws(_named(z), log_w, float(k), weights / weights.sum())


@eqx.filter_jit
def _drawn(
    posterior: Any, model: Any, datum: Datum, to_q: PRNGKey, keys: PRNGKeys
) -> tuple[Any, Array, Scalar]:
    """Return the draws, their log-weights, and what rounding may have made of those."""
    q: AbstractDistribution = posterior(model, datum, key=to_q)

    def one(key: PRNGKey) -> tuple[Any, Array, Array]:
        z, log_q = q.sample_and_log_prob(key=key)
        log_p = model.log_joint(z, datum)
        return (model.constrain(z) if isinstance(model, LogDensity) else z), log_p - jnp.sum(log_q), log_p

    z, log_w, log_p = jax.lax.map(one, keys, batch_size=min(_AT_ONCE, len(keys)))
    return z, log_w, pareto.rounding(log_p)


def _named(values: Any) -> dict[str, np.ndarray]:
    values = values if isinstance(values, dict) else {"z": values}
    return {name: np.asarray(value) for name, value in values.items()}


def _moments(values: Float[np.ndarray, "s ..."], weights: Float[np.ndarray, "s"]) -> Moments:
    w = weights.reshape(-1, *[1] * (values.ndim - 1))
    mean = (w * values).sum(0)
    off = (values - mean) ** 2
    variance = (w * off).sum(0)
    sd = np.sqrt(variance)
    mean_se = np.sqrt((w**2 * off).sum(0))
    spread = np.sqrt((w**2 * (off - variance) ** 2).sum(0))
    return Moments(mean, mean_se, sd, np.divide(spread, 2 * sd, out=np.zeros_like(sd), where=sd > 0))


def _pm(moments: Moments, at: tuple[int, ...]) -> str:
    return f"{moments.mean[at]:.4g} ± {moments.mean_se[at]:.2g}"
