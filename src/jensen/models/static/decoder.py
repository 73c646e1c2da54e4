"""A deep decoder p(x | z) under any prior p(z): the generative half of a variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    ChecksData,
    Datum,
    HasLatentDim,
    HasObservation,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDensity, AbstractObservation, log_prob_observed
from jensen.errors import InputError, check_key
from jensen.models import likelihoods, priors
from jensen.nets import MLP
from jensen.typing import Array, Float, PRNGKey, Scalar


class Decoder(HasObservation, HasLatentDim, Simulates, ChecksData, InitializesFromData):
    r"""p(x, z) = p(z) p(x | net(z)), with a neural network between latents and likelihood.

    Unobserved entries drop out of the likelihood exactly, its entries being independent given z. At the
    first fit the output bias is set so that the decoder starts at the column means.

    Args:
        data_dim: Number of columns of x.
        latent_dim: Length of z; may be left out when ``prior`` is given.
        likelihood: ``"bernoulli"``, ``"gaussian"`` (learned scale), or a member of ``models.likelihoods``.
        widths: Hidden widths of the default perceptron.
        prior: A member of ``models.priors``; the standard normal by default.
        net: Any equinox module from z to the likelihood's parameters, instead of the perceptron.
        activation: Activation of the default perceptron.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or names contradict each other.

    Example:
        >>> import jax
        >>> vae = Decoder(6, 2, likelihood="bernoulli", widths=(8,), key=jax.random.key(0))
        >>> z, x = vae.simulate(key=jax.random.key(1))
        >>> z.shape, x.shape
        ((2,), (6,))
    """

    net: Any
    prior: priors.AbstractPrior
    likelihood_family: likelihoods.AbstractLikelihood
    data_dim: int
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        latent_dim: int | None = None,
        *,
        likelihood: str | likelihoods.AbstractLikelihood = "bernoulli",
        widths: Sequence[int] = (256, 256),
        prior: priors.AbstractPrior | None = None,
        net: Any = None,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKey,
    ):
        check_key(key)
        if data_dim < 1:
            raise InputError(f"Decoder: data_dim is {data_dim}; it must be the number of columns of x")
        if prior is None:
            if latent_dim is None or latent_dim < 1:
                raise InputError(f"Decoder: latent_dim is {latent_dim}; give a positive one, or a prior")
            prior = priors.StandardNormal(latent_dim)
        elif latent_dim is not None and latent_dim != prior.latent_dim:
            raise InputError(
                f"Decoder: latent_dim={latent_dim}, but the prior's latents have length {prior.latent_dim}; "
                "leave latent_dim out"
            )
        family = likelihoods.named(likelihood, data_dim)
        if family.data_dim != data_dim:
            raise InputError(
                f"Decoder: data_dim={data_dim}, but the likelihood has {family.data_dim} columns"
            )
        if net is None:
            net = MLP(prior.latent_dim, family.num_params, widths, activation=activation, key=key)
        self.net = net
        self.prior = prior
        self.likelihood_family = family
        self.data_dim = data_dim
        self.initialized = False

    @property
    def latent_dim(self) -> int:
        """Length of z as the network reads it."""
        return self.prior.latent_dim

    @property
    def prior_law(self) -> type[AbstractDensity]:
        """Type of the prior."""
        return self.prior.law

    def prior_of(self, cond: Any) -> AbstractDensity:
        """Return p(z)."""
        return self.prior(cond)

    def likelihood(self, z: Any, cond: Any) -> AbstractObservation:
        """Return p(x | z)."""
        return self.likelihood_family(self.net(self.prior.features(z)))

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        return log_prob_observed(self.likelihood(z, datum.cond), datum.x, datum.mask)

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(z) + log p(x | z), in nats."""
        return self.prior(datum.cond).log_prob(z).sum() + self.log_likelihood(z, datum)

    def simulate(self, like: Datum | None = None, *, key: PRNGKey) -> tuple[Any, Float[Array, "d"]]:
        """Draw z from the prior and x from the likelihood."""
        cond = None if like is None else like.cond
        to_z, to_x = jax.random.split(key)
        z, _ = self.prior(cond).sample_and_log_prob(key=to_z)
        return z, self.likelihood(z, cond).sample(key=to_x)

    def check_data(self, rows: Datum) -> None:
        """Refuse rows outside the likelihood's support."""
        self.likelihood_family.check(np.asarray(rows.x), rows.mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Decoder:
        """Start at the column means; a net of the user's own keeps its bias."""
        family, bias = self.likelihood_family.start(np.asarray(rows.x), rows.mask, rows.weight)
        model = eqx.tree_at(lambda m: (m.likelihood_family, m.initialized), self, (family, True))
        if isinstance(self.net, MLP):
            model = eqx.tree_at(lambda m: m.net.layers[-1].bias, model, bias)
        return model
