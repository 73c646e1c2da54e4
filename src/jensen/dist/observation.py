"""Laws of one observed row: independent entries, so that missing ones drop out exactly."""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.typing import Array, Bool, Float, PRNGKey, Scalar


class AbstractObservation(eqx.Module):
    """A law of x with independent entries given the latents."""

    @abstractmethod
    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the log-density of every entry, in nats."""

    @property
    @abstractmethod
    def mean(self) -> Float[Array, "..."]:
        """E[x], entry by entry; for categories, the probabilities."""

    @property
    @abstractmethod
    def mode(self) -> Float[Array, "d"]:
        """The most probable value of every entry, in the data's own coding."""

    @abstractmethod
    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw one row."""


def log_prob_observed(
    law: AbstractObservation, x: Float[Array, "d"], mask: Bool[Array, "d"] | None
) -> Scalar:
    """Sum the log-density over observed entries, in nats.

    Args:
        law: The law of the row.
        x: The row; unobserved entries may hold anything, NaN too.
        mask: True where observed; ``None`` means everywhere.
    """
    if mask is None:
        return law.log_prob_entries(x).sum()
    # filled before as well as after: a NaN in x would reach the gradient as 0 · NaN
    entries = law.log_prob_entries(jnp.where(mask, x, 0.0))
    return jnp.where(mask, entries, 0.0).sum()


class BernoulliRow(AbstractObservation):
    """Binary entries with the given logits."""

    logits: Float[Array, "*b d"]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return x·logit − softplus(logit)."""
        return x * self.logits - jax.nn.softplus(self.logits)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The probabilities of one."""
        return jax.nn.sigmoid(self.logits)

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """One where its probability exceeds a half."""
        return (self.logits > 0).astype(self.logits.dtype)

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw zeros and ones."""
        return (jax.random.uniform(key, self.logits.shape) < self.mean).astype(self.logits.dtype)


class GaussianRow(AbstractObservation):
    """Entries N(origin + loc, scale²).

    Attributes:
        loc: The location, counted from the origin.
        scale: The standard deviation.
        origin: Far from zero, a point near the data: x − origin is exact in float32 where origin + loc would
            be rounded. ``None`` for zero.
    """

    loc: Float[Array, "*b d"]
    scale: Float[Array, "*b d"]
    origin: Float[Array, "d"] | None = None

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return −½((x − origin − loc)/scale)² − log scale − ½ log 2π."""
        about = x if self.origin is None else x - self.origin
        standard = (about - self.loc) / self.scale
        return -0.5 * standard**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The location, counted from zero."""
        return self.loc if self.origin is None else self.origin + self.loc

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The mean."""
        return self.mean

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw a row."""
        return self.mean + self.scale * jax.random.normal(key, self.loc.shape, self.loc.dtype)


class CategoricalRow(AbstractObservation):
    """Entries in 0..K−1, stored as floats, with logits of shape (d, K)."""

    logits: Float[Array, "*b d k"]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the log-probability of each entry's category."""
        codes = x.astype(jnp.int32)[:, None]
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), codes, axis=-1)[:, 0]

    @property
    def mean(self) -> Float[Array, "*b d k"]:
        """The probabilities."""
        return jax.nn.softmax(self.logits)

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The most probable category."""
        return jnp.argmax(self.logits, -1).astype(self.logits.dtype)

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw categories."""
        return jax.random.categorical(key, self.logits).astype(self.logits.dtype)
