"""A deep decoder p(x | z) under any prior p(z): the generative half of a variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.dist import AbstractDensity, AbstractObservation, log_prob_observed
from jensen.errors import InputError, check_key
from jensen.models import likelihoods, priors
from jensen.models.static.decoding import AbstractDecoder, checked_parts, started_prior
from jensen.nets import net_or_mlp
from jensen.typing import Array, Float, PRNGKey, Scalar


class Decoder(AbstractDecoder):
    r"""p(x, z) = p(z) p(x | net(z)), with a neural network between latents and likelihood.

    Unobserved entries drop out of the likelihood exactly, its entries being independent given z. At the
    first fit the output bias is set so that the decoder starts at the column means.

    Args:
        data_dim: Number of columns of x.
        latent_dim: Length of z; may be left out when ``prior`` is given.
        likelihood: ``"bernoulli"``, ``"gaussian"`` (learned scale), ``"student_t"``, ``"poisson"``,
            ``"negative_binomial"``, ``"beta_binomial"`` or ``"discretized_logistic"`` (both of 0..255), or a
            member of ``models.likelihoods``.
        widths: Hidden widths of the default perceptron.
        prior: A member of ``models.priors``; the standard normal by default.
        net: Any equinox module from z to the likelihood's parameters, instead of the perceptron.
        activation: Activation of the default perceptron.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, names contradict each other, or ``net`` reads or makes
            vectors of other lengths.

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
        prior, family = checked_parts("Decoder", data_dim, latent_dim, likelihood, prior)
        if isinstance(prior, priors.ConditionalGaussian):
            raise InputError("Decoder: its prior reads a condition; use models.ConditionalDecoder")
        if isinstance(prior, priors.VampPrior) and prior.data_dim != data_dim:
            raise InputError(
                f"Decoder: data_dim={data_dim}, but the prior's pseudo-inputs have {prior.data_dim} columns"
            )
        self.net = net_or_mlp(
            "Decoder",
            net,
            priors.features_dim(prior),
            family.num_params,
            widths,
            activation=activation,
            key=key,
        )
        self.prior = prior
        self.likelihood_family = family
        self.data_dim = data_dim
        self.initialized = False

    def inputs(self, z: Any, cond: Any) -> Float[Array, "i"]:
        """Return z as a vector."""
        return self.prior.features(z)

    def prior_of(self, cond: Any) -> AbstractDensity:
        """Return p(z)."""
        return self.prior(cond)

    def likelihood(self, z: Any, cond: Any) -> AbstractObservation:
        """Return p(x | z)."""
        return self.likelihood_family(self.net(self.inputs(z, cond)))

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        return log_prob_observed(self.likelihood(z, datum.cond), datum.x, datum.mask)

    def check_data(self, rows: Datum) -> None:
        """Refuse rows outside the likelihood's support."""
        self.likelihood_family.check(np.asarray(rows.x), rows.mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Decoder:
        """Start at the column means; a net of the user's own keeps its bias."""
        family, net = self.decoding(np.asarray(rows.x), rows.mask, rows.weight)
        return eqx.tree_at(
            lambda m: (m.likelihood_family, m.net, m.prior, m.initialized),
            self,
            (family, net, started_prior(self.prior, rows, key=key), True),
        )
