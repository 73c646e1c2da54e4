"""One latent behind a whole unit of steps: which way this demonstrator goes, decided once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HoldsLatent, real_steps_of
from jensen.dist import AbstractDensity, AbstractObservation, log_prob_observed, real_steps
from jensen.errors import InputError, check_key
from jensen.models import likelihoods, priors
from jensen.models.conditional.condition import HasCondFrame, check_cond, cond_frame_of
from jensen.models.conditional.conditional_decoder import conditional_parts
from jensen.models.static.decoding import AbstractDecoder, started_prior
from jensen.nets import MLP, Frame
from jensen.typing import Array, Float, PRNGKey, Scalar


class EpisodeDecoder(AbstractDecoder, HoldsLatent, HasCondFrame):
    r"""p(a_{1:T} | s_{1:T}) = ∫ p(z | s_1) ∏_t p(a_t | s_t, z) dz: one z for a whole unit of steps.

    Data are ``fit.Data(actions, cond=states, lengths=)`` with shapes (N, T, A) and (N, T, S); padded steps
    drop out, so that padding changes nothing. It is a model of actions given the states that were met, not
    of the states. Its posterior must see the unit: ``posteriors.Pooled``.

    Args:
        data_dim: Length A of one row of y (an action).
        cond_dim: Length S of one row of x (a state).
        latent_dim: Length of z; may be left out when ``prior`` is given.
        likelihood: Of one row, as in ``ConditionalDecoder``.
        widths: Hidden widths of the perceptrons.
        prior: A member of ``models.priors``; by default ``priors.ConditionalGaussian``, which reads s_1.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or names contradict each other.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = EpisodeDecoder(1, 3, 2, widths=(8,), key=jax.random.key(0))
        >>> model.likelihood(jnp.zeros(2), jnp.ones((5, 3))).mean.shape
        (5, 1)
    """

    net: Any
    prior: priors.AbstractPrior
    likelihood_family: likelihoods.AbstractLikelihood
    cond_frame: Frame
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        cond_dim: int,
        latent_dim: int | None = None,
        *,
        likelihood: str | likelihoods.AbstractLikelihood = "gaussian",
        widths: Sequence[int] = (64, 64),
        prior: priors.AbstractPrior | None = None,
        key: PRNGKey,
    ):
        check_key(key)
        to_net, to_prior = jax.random.split(key)
        prior, family = conditional_parts(
            "EpisodeDecoder", (data_dim, cond_dim, latent_dim), likelihood, prior, widths, key=to_prior
        )
        self.net = MLP(priors.features_dim(prior) + cond_dim, family.num_params, widths, key=to_net)
        self.prior = prior
        self.likelihood_family = family
        self.cond_frame = Frame.identity(cond_dim)
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    def inputs(self, z: Any, cond: Any) -> Float[Array, "t i"]:
        """Return z as a vector, joined to every state in standard coordinates."""
        states, features = self.entered(cond), self.prior.features(z)
        return jnp.concatenate([jnp.broadcast_to(features, (len(states), len(features))), states], -1)

    def step(self, z: Any, state: Any) -> AbstractObservation:
        """Return p(a_t | s_t, z), the law of one row."""
        joined = jnp.concatenate([self.prior.features(z), self.entered(state)])
        return self.likelihood_family(self.net(joined))

    def prior_of(self, cond: Any) -> AbstractDensity:
        """Return p(z | s_1)."""
        return self.prior(None if cond is None else cond[0])

    def likelihood(self, z: Any, cond: Any) -> Steps:
        """Return the law of all rows, padded ones too."""
        return Steps(jax.vmap(self.net)(self.inputs(z, cond)), self.likelihood_family)

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return Σ_t log p(a_t | s_t, z) over the observed entries of real steps, in nats."""
        laws, x = self.likelihood(z, datum.cond), jnp.asarray(datum.x)
        real, mask = real_steps(len(x), datum.steps), datum.mask
        if real is not None:
            mask = jnp.broadcast_to(real[:, None], x.shape) if mask is None else real[:, None] & mask
        return laws.log_prob_observed(x, mask)

    def check_data(self, rows: Datum) -> None:
        """Refuse other shapes, a unit without a real step, and rows outside the likelihood's support."""
        check_cond(self, rows, axes=2)
        if rows.steps is not None and (empty := np.flatnonzero(np.asarray(rows.steps) < 1)).size:
            raise InputError(f"EpisodeDecoder: unit {empty[0]} has no real step: drop it")
        x, mask, _ = _as_rows(rows)
        self.likelihood_family.check(x, mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> EpisodeDecoder:
        """Standardize the states of real steps, and start at the actions' column means over them."""
        family, net = self.decoding(*_as_rows(rows))
        first = Datum(rows.x, np.asarray(rows.cond)[:, 0], weight=rows.weight)
        return eqx.tree_at(
            lambda m: (m.likelihood_family, m.net, m.prior, m.cond_frame, m.initialized),
            self,
            (family, net, started_prior(self.prior, first, key=key), cond_frame_of(rows), True),
        )


class Steps(AbstractObservation):
    """Rows of many steps, independent given the latent.

    Attributes:
        params: The likelihood's parameters of every step.
        family: The likelihood of one row.
    """

    params: Float[Array, "*b t p"]
    family: likelihoods.AbstractLikelihood

    def log_prob_entries(self, x: Float[Array, "t d"]) -> Float[Array, "t d"]:
        """Return the log-density of every entry, in nats."""
        return jax.vmap(lambda p, row: self.family(p).log_prob_entries(row))(self.params, x)

    def log_prob_observed(self, x: Float[Array, "t d"], mask: Any) -> Scalar:
        """Sum over observed entries, in nats."""
        if mask is None:
            return self.log_prob_entries(x).sum()
        return jax.vmap(lambda p, row, seen: log_prob_observed(self.family(p), row, seen))(
            self.params, x, mask
        ).sum()

    @property
    def mean(self) -> Float[Array, "..."]:
        """E[x], entry by entry; for categories, the probabilities."""
        return jax.vmap(lambda p: self.family(p).mean)(self.params)

    @property
    def mode(self) -> Float[Array, "t d"]:
        """The most probable value of every entry."""
        return jax.vmap(lambda p: self.family(p).mode)(self.params)

    def sample(self, *, key: PRNGKey) -> Float[Array, "t d"]:
        """Draw all rows."""
        keys = jax.random.split(key, len(self.params))
        return jax.vmap(lambda p, k: self.family(p).sample(key=k))(self.params, keys)


def _as_rows(rows: Datum) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the real steps as rows (M, A), with their mask and weights."""
    x, real = np.asarray(rows.x), real_steps_of(rows)
    mask = None if rows.mask is None else np.asarray(rows.mask)[real]
    weight = None
    if rows.weight is not None:
        weight = np.broadcast_to(np.asarray(rows.weight)[:, None], real.shape)[real]
    return x[real], mask, weight
