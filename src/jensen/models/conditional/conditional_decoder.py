"""A decoder that reads a condition beside the latents: a conditional variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.dist import AbstractDensity, AbstractObservation, log_prob_observed
from jensen.errors import InputError, at_least, check_key
from jensen.models import likelihoods, priors
from jensen.models.conditional.condition import HasCondFrame, check_cond, cond_frame_of
from jensen.models.static.decoding import AbstractDecoder, Parts, checked_parts, started_prior
from jensen.nets import Frame, net_or_mlp
from jensen.typing import Array, Float, PRNGKey, Scalar


class ConditionalDecoder(AbstractDecoder, HasCondFrame):
    r"""p(y | x) = ∫ p(y | x, z) p(z | x) dz, with networks for both (Sohn, Lee & Yan 2015).

    Hidden entries of y drop out of the likelihood exactly, its entries being independent given z: so do the
    padded steps of a chunk of actions, marked by ``fit.Data(y, cond=x, mask=)``.

    Args:
        data_dim: Number D of columns of y.
        cond_dim: Number C of columns of x.
        latent_dim: Length of z; may be left out when ``prior`` is given.
        likelihood: ``"gaussian"`` (learned scale), ``"bernoulli"``, or a member of ``models.likelihoods``.
        widths: Hidden widths of the default perceptrons.
        prior: A member of ``models.priors``; by default ``priors.ConditionalGaussian``, a learned p(z | x).
            ``priors.StandardNormal(d)`` for one that does not depend on x.
        net: Any equinox module from z joined to x, standardized, to the likelihood's parameters, instead of
            the perceptron.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or names contradict each other.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jensen.core import Datum
        >>> cvae = ConditionalDecoder(2, 3, latent_dim=1, widths=(8,), key=jax.random.key(0))
        >>> z, y = cvae.simulate(Datum(jnp.zeros(2), jnp.ones(3)), key=jax.random.key(1))
        >>> z.shape, y.shape
        ((1,), (2,))
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
        net: Any = None,
        key: PRNGKey,
    ):
        check_key(key)
        to_net, to_prior = jax.random.split(key)
        prior, family = conditional_parts(
            "ConditionalDecoder", (data_dim, cond_dim, latent_dim), likelihood, prior, widths, key=to_prior
        )
        seen = priors.features_dim(prior) + cond_dim
        self.net = net_or_mlp("ConditionalDecoder", net, seen, family.num_params, widths, key=to_net)
        self.prior = prior
        self.likelihood_family = family
        self.cond_frame = Frame.identity(cond_dim)
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    def inputs(self, z: Any, cond: Any) -> Float[Array, "i"]:
        """Return z as a vector, joined to x in standard coordinates."""
        return jnp.concatenate([self.prior.features(z), self.entered(cond)])

    def prior_of(self, cond: Any) -> AbstractDensity:
        """Return p(z | x)."""
        return self.prior(cond)

    def likelihood(self, z: Any, cond: Any) -> AbstractObservation:
        """Return p(y | x, z)."""
        return self.likelihood_family(self.net(self.inputs(z, cond)))

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(y | x, z) over the observed entries, in nats."""
        return log_prob_observed(self.likelihood(z, datum.cond), datum.x, datum.mask)

    def check_data(self, rows: Datum) -> None:
        """Refuse conditions of another shape, and rows outside the likelihood's support."""
        check_cond(self, rows)
        self.likelihood_family.check(np.asarray(rows.x), rows.mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> ConditionalDecoder:
        """Standardize x, and start at the column means of y; a net of the user's own keeps its bias."""
        family, net = self.decoding(np.asarray(rows.x), rows.mask, rows.weight)
        return eqx.tree_at(
            lambda m: (m.likelihood_family, m.net, m.prior, m.cond_frame, m.initialized),
            self,
            (family, net, started_prior(self.prior, rows, key=key), cond_frame_of(rows), True),
        )


def chunk_decoder(
    horizon: int,
    action_dim: int,
    cond_dim: int,
    latent_dim: int,
    *,
    likelihood: str | likelihoods.AbstractLikelihood = "gaussian",
    widths: Sequence[int] = (64, 64),
    prior: priors.AbstractPrior | None = None,
    key: PRNGKey,
) -> ConditionalDecoder:
    """Return the decoder of the next ``horizon`` actions, joined to one row (horizon · action_dim,).

    Steps past the end of an episode are masked, ``fit.Data(chunks, cond=states, mask=)``, and then have no
    part in the loss or its gradient.

    Args:
        horizon: Number H of actions.
        action_dim: Length A of one action.
        cond_dim: Length of the state.
        latent_dim: Length of z, one for the whole chunk.
        likelihood: Of the H·A entries.
        widths: Hidden widths.
        prior: As in ``ConditionalDecoder``.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a number is not positive.
    """
    at_least("chunk_decoder", 1, horizon=horizon, action_dim=action_dim)
    return ConditionalDecoder(
        horizon * action_dim, cond_dim, latent_dim, likelihood=likelihood, widths=widths, prior=prior, key=key
    )


def conditional_parts(
    name: str,
    dims: tuple[int, int, int | None],
    likelihood: str | likelihoods.AbstractLikelihood,
    prior: priors.AbstractPrior | None,
    widths: Sequence[int],
    *,
    key: PRNGKey,
) -> Parts:
    """Return prior and likelihood, a learned p(z | x) where no prior is given.

    Args:
        name: Who asks, for messages.
        dims: Lengths of y, x and z.
        likelihood: A name or a member.
        prior: A member, or ``None``.
        widths: Hidden widths of the default prior.
        key: Randomness of its weights.

    Raises:
        InputError: If a dimension is not positive, or names contradict each other.
    """
    data_dim, cond_dim, latent_dim = dims
    at_least(name, 1, cond_dim=cond_dim)
    if prior is None and latent_dim is not None:
        at_least(name, 1, latent_dim=latent_dim)
        prior = priors.ConditionalGaussian(latent_dim, cond_dim, widths=widths, key=key)
    if isinstance(prior, priors.ConditionalGaussian) and prior.cond_dim != cond_dim:
        raise InputError(f"{name}: cond_dim={cond_dim}, but the prior reads {prior.cond_dim} columns")
    return checked_parts(name, data_dim, latent_dim, likelihood, prior)
