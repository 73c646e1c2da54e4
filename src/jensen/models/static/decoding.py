"""What models that decode share: a prior, a network, and a likelihood of rows."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from jensen.core import (
    AbstractInference,
    ChecksData,
    Datum,
    HasLatentDim,
    HasObservation,
    InitializesFromData,
    LooksAtPosterior,
    Simulates,
    Verdict,
)
from jensen.dist import AbstractDensity
from jensen.errors import InputError, at_least, check_made
from jensen.models import likelihoods, priors
from jensen.nets import StartsAt
from jensen.typing import Array, Float, PRNGKey, Scalar


class AbstractDecoder(
    HasObservation, HasLatentDim, Simulates, ChecksData, InitializesFromData, LooksAtPosterior
):
    """p(x, z | c) = p(z | c) p(x | net(z, c))."""

    net: eqx.AbstractVar[Any]
    prior: eqx.AbstractVar[priors.AbstractPrior]
    likelihood_family: eqx.AbstractVar[likelihoods.AbstractLikelihood]

    @abstractmethod
    def inputs(self, z: Any, cond: Any) -> Float[Array, "*t i"]:
        """Return what the network reads."""

    @property
    def latent_dim(self) -> int:
        """Length of z as the network reads it."""
        return self.prior.latent_dim

    @property
    def prior_law(self) -> type[AbstractDensity]:
        """Type of the prior."""
        return self.prior.law

    def looking_at(self, posterior: Any) -> Any:
        """Return the model with a prior that the posterior makes, where it has such a one."""
        if not isinstance(self.prior, priors.AbstractLivePrior):
            return self
        return eqx.tree_at(lambda m: m.prior, self, self.prior.looking_at(posterior))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Let a prior that the posterior makes judge it."""
        if isinstance(self.prior, priors.AbstractLivePrior):
            return self.prior.rule(inference)
        return Verdict("exact")

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(z | c) + log p(x | z, c), in nats."""
        return self.prior_of(datum.cond).log_prob(z).sum() + self.log_likelihood(z, datum)

    def simulate(self, like: Datum | None = None, *, key: PRNGKey) -> tuple[Any, Float[Array, "*t d"]]:
        """Draw z from the prior and x from the likelihood, given the condition that ``like`` lends."""
        cond = None if like is None else like.cond
        to_z, to_x = jax.random.split(key)
        z, _ = self.prior_of(cond).sample_and_log_prob(key=to_z)
        return z, self.likelihood(z, cond).sample(key=to_x)

    def decoding(self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None) -> tuple[Any, Any]:
        """Return the likelihood and the network started at the column means of rows. Host code.

        Args:
            x: Rows, (N, D).
            mask: True where observed.
            weight: Row weights.
        """
        family, bias = self.likelihood_family.start(x, mask, weight)
        if not isinstance(self.net, StartsAt):  # a net of the user's own keeps its bias
            return family, self.net
        return family, self.net.starting_at(bias)


class Parts(NamedTuple):
    """What a decoder is made of, checked."""

    prior: priors.AbstractPrior
    likelihood: likelihoods.AbstractLikelihood


def started_prior(prior: priors.AbstractPrior, rows: Datum, *, key: PRNGKey) -> Any:
    """Return the prior, started from the data if it can be and was not yet."""
    if isinstance(prior, InitializesFromData) and not prior.initialized:
        return prior.initialize_from(rows, key=key)
    return prior


def checked_parts(
    name: str,
    data_dim: int,
    latent_dim: int | None,
    likelihood: str | likelihoods.AbstractLikelihood,
    prior: priors.AbstractPrior | None,
) -> Parts:
    """Return prior and likelihood, the standard normal where none is given.

    Raises:
        InputError: If a dimension is not positive, or names contradict each other.
    """
    at_least(name, 1, data_dim=data_dim)
    if prior is not None:
        check_made(name, "prior", prior, priors.AbstractPrior, "models.priors.StandardNormal(2)")
    if prior is None:
        if latent_dim is None:
            raise InputError(f"{name}: latent_dim is {latent_dim}; give a positive one, or a prior")
        at_least(name, 1, latent_dim=latent_dim)
        prior = priors.StandardNormal(latent_dim)
    elif latent_dim is not None and latent_dim != prior.latent_dim:
        raise InputError(
            f"{name}: latent_dim={latent_dim}, but the prior's latents have length {prior.latent_dim}; "
            "leave latent_dim out"
        )
    family = likelihoods.named(likelihood, data_dim)
    if family.data_dim != data_dim:
        raise InputError(f"{name}: data_dim={data_dim}, but the likelihood has {family.data_dim} columns")
    return Parts(prior, family)
