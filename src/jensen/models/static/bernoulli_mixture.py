"""Mixtures of independent Bernoulli columns."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    ChecksData,
    Datum,
    HasExactConditional,
    HasExactPosterior,
    HasExpectationMaximization,
    HasLatentDim,
    HasObservation,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDistribution, BernoulliRow, Categorical
from jensen.errors import InputError, at_least, check_key
from jensen.models.likelihoods import Bernoulli
from jensen.models.static.components import EMPTY
from jensen.models.static.start import check_rows, k_means, weights_of
from jensen.models.static.weights import checked_weights, shares
from jensen.nets import column_means
from jensen.nets import trainable as all_trainable
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class BernoulliMixture(
    HasExpectationMaximization,
    HasExactConditional,
    HasObservation,
    HasLatentDim,
    HasExactPosterior,
    ChecksData,
    InitializesFromData,
    Simulates,
):
    r"""p(x) = Σ_k w_k Π_d p_kd^x_d (1 − p_kd)^(1 − x_d) for columns of 0 and 1; z is the component, 0..K−1.

    Missing entries drop out of the sums exactly. The M-step keeps probabilities within
    [min_prob, 1 − min_prob], so that an entry never seen in training costs a new row at most −log min_prob
    nats.

    Args:
        num_components: Number K of components.
        data_dim: Number D of columns.
        min_prob: Least probability of a 1, and of a 0, that the M-step returns.
        key: Randomness of the probabilities before any data is seen.

    Raises:
        InputError: If a number is not positive, or ``min_prob`` not within (0, 1/2).

    References:
        Bishop (2006), Pattern Recognition and Machine Learning, section 9.3.3.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> x = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]] * 20)
        >>> fitted = fit.em(BernoulliMixture(2, 3, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> np.sort(fitted.model.probs[:, 0]).round(3).tolist()
        [0.001, 0.999]
    """

    prior_law: ClassVar[type[AbstractDistribution]] = Categorical
    posterior_law: ClassVar[type[AbstractDistribution]] = Categorical
    logits: Float[Array, "k"]
    log_odds: Float[Array, "k d"]
    num_components: int
    data_dim: int
    min_prob: float
    initialized: bool

    def __init__(self, num_components: int, data_dim: int, *, min_prob: float = 1e-3, key: PRNGKey):
        check_key(key)
        at_least("BernoulliMixture", 1, num_components=num_components, data_dim=data_dim)
        if not 0 < min_prob < 0.5:
            raise InputError(f"BernoulliMixture: min_prob is {min_prob}; it must lie between 0 and 1/2")
        self.logits = jnp.zeros(num_components)
        self.log_odds = jax.random.normal(key, (num_components, data_dim))
        self.num_components = num_components
        self.data_dim = data_dim
        self.min_prob = min_prob
        self.initialized = False

    @classmethod
    def with_parameters(cls, weights: Any, probs: Any, *, min_prob: float = 1e-3) -> BernoulliMixture:
        """Return the mixture of these parameters; fits start from it.

        Args:
            weights: (K,), positive; scaled to sum to one.
            probs: Probabilities of a 1, (K, D), strictly between 0 and 1.
            min_prob: Least probability that the M-step returns.

        Raises:
            InputError: If shapes disagree or a number is out of range.
        """
        weights, probs = checked_weights(weights, probs, "probs")
        if not ((probs > 0) & (probs < 1)).all():
            raise InputError("probs must lie strictly between 0 and 1")
        new = cls(*probs.shape, min_prob=min_prob, key=jax.random.key(0))
        return new._started(weights, np.log(probs) - np.log1p(-probs))

    @property
    def weights(self) -> np.ndarray:
        """Probabilities of the components, (K,), float64."""
        return shares(self.logits)

    @property
    def probs(self) -> np.ndarray:
        """Probabilities of a 1, (K, D), float64."""
        return 1 / (1 + np.exp(-np.asarray(self.log_odds, np.float64)))

    @property
    def log_weights(self) -> Float[Array, "k"]:
        """Log-probabilities of the components."""
        return jax.nn.log_softmax(self.logits)

    @property
    def latent_dim(self) -> int:
        """K: the length of z once written one-hot."""
        return self.num_components

    def prior_of(self, cond: Any) -> Categorical:
        """Return p(z)."""
        return Categorical(self.logits)

    def likelihood(self, z: Int[Array, ""], cond: Any) -> BernoulliRow:
        """Return p(x | z)."""
        return BernoulliRow(self.log_odds[z])

    def component_log_prob(self, datum: Datum) -> Float[Array, "k"]:
        """Return log p(x | k) of the observed entries under every component, in nats."""
        ones, seen = _seen(datum)
        return self.log_odds @ ones - jax.nn.softplus(self.log_odds) @ seen

    def log_likelihood(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        return self.component_log_prob(datum)[z]

    def log_joint(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log w_z + log p(x | z), in nats."""
        return self.log_weights[z] + self.log_likelihood(z, datum)

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(x) over the observed entries, in nats."""
        return jax.nn.logsumexp(self.log_weights + self.component_log_prob(datum))

    def posterior(self, datum: Datum) -> Categorical:
        """Return the responsibilities p(z | x)."""
        return Categorical(self.log_weights + self.component_log_prob(datum))

    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return E[x | observed entries], the observed ones unchanged."""
        x = jnp.asarray(datum.x, self.log_odds.dtype)
        if datum.mask is None:
            return x
        return jnp.where(datum.mask, x, self.posterior(datum).probs @ jax.nn.sigmoid(self.log_odds))

    def expectation(self, rows: Datum) -> dict[str, Array]:
        """Sum responsibilities, and with them the ones and the zeros seen in every column.

        Args:
            rows: Stacked rows, x of shape (N, D).

        Returns:
            ``log_evidence`` (nats) and ``weight``; ``count`` (K,), ``ones`` and ``zeros`` (K, D).
        """
        ones, seen = _seen(rows)
        weight = jnp.ones(len(ones)) if rows.weight is None else jnp.asarray(rows.weight)
        joint = self.log_weights + ones @ self.log_odds.T - seen @ jax.nn.softplus(self.log_odds).T
        log_p = jax.nn.logsumexp(joint, axis=1)
        r = weight[:, None] * jnp.exp(joint - log_p[:, None])
        return {
            "log_evidence": weight @ log_p,
            "weight": weight.sum(),
            "count": r.sum(0),
            "ones": r.T @ ones,
            "zeros": r.T @ (seen - ones),
        }

    def maximization(self, statistics: PyTree, trainable: Any = None) -> BernoulliMixture:
        """Return the weights and, within their bounds, the probabilities that maximize.

        A component with next to no data, and a column it never saw, keep what they have.

        Args:
            statistics: The sums from ``expectation`` of this very model.
            trainable: A tree like the model of booleans; what is False is held. All free by default.
        """
        free = all_trainable(self) if trainable is None else trainable
        count, ones, zeros = (statistics[name] for name in ("count", "ones", "zeros"))
        tiny, least = jnp.finfo(count.dtype).tiny, EMPTY * statistics["weight"]
        logits, log_odds = self.logits, self.log_odds
        if free.logits:
            logits = jnp.log(jnp.maximum(count / count.sum(), tiny))
        if free.log_odds:
            bound = np.log1p(-self.min_prob) - np.log(self.min_prob)
            best = jnp.log(jnp.maximum(ones, tiny)) - jnp.log(jnp.maximum(zeros, tiny))
            log_odds = jnp.where(ones + zeros > least, jnp.clip(best, -bound, bound), log_odds)
        return eqx.tree_at(lambda m: (m.logits, m.log_odds), self, (logits, log_odds))

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Int[Array, ""], Float[Array, "d"]]:
        """Draw z and x."""
        to_z, to_x = jax.random.split(key)
        z = jax.random.categorical(to_z, self.logits)
        return z, self.likelihood(z, None).sample(key=to_x)

    def check_data(self, rows: Datum) -> None:
        """Refuse anything but 0 and 1."""
        Bernoulli(self.data_dim).check(np.asarray(rows.x), rows.mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> BernoulliMixture:
        """Start at k-means centres, each with one row's worth of the column means, and their shares.

        Raises:
            InputError: If there are fewer rows than components.
        """
        k = self.num_components
        check_rows(self, rows, max(k, 2))
        mean, weight = column_means(np.asarray(rows.x), rows.mask, rows.weight), weights_of(rows)
        x = np.asarray(rows.x, np.float64)
        x = x if rows.mask is None else np.where(rows.mask, x, mean)
        _, label = k_means(x, weight, k, np.random.default_rng(np.asarray(jax.random.key_data(key))))
        total = np.bincount(label, weight, k)
        sums = np.stack([np.bincount(label, weight * column, k) for column in x.T], 1)
        mean = np.clip(mean, 0.01, 0.99)
        probs = (sums + mean) / (total[:, None] + 1)
        return self._started(np.maximum(total, 1.0), np.log(probs) - np.log1p(-probs))

    def _started(self, weights: np.ndarray, log_odds: np.ndarray) -> BernoulliMixture:
        real = jnp.result_type(float)
        return eqx.tree_at(
            lambda m: (m.logits, m.log_odds, m.initialized),
            self,
            (jnp.asarray(np.log(weights / weights.sum()), real), jnp.asarray(log_odds, real), True),
        )


def _seen(rows: Datum) -> tuple[Float[Array, "*n d"], Float[Array, "*n d"]]:
    """Return the ones, and which entries were observed, as numbers."""
    x = jnp.asarray(rows.x, jnp.result_type(float))
    if rows.mask is None:
        return x, jnp.ones_like(x)
    return jnp.where(rows.mask, x, 0.0), jnp.asarray(rows.mask, x.dtype)
