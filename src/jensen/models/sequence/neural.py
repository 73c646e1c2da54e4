"""Deep Markov models: state-space models whose transition and emission are networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.core import Datum
from jensen.errors import InputError, at_least, check_key, nearest
from jensen.models import likelihoods
from jensen.models.sequence.recurrent import decoder_net, started
from jensen.models.sequence.state_space import AbstractStateSpace
from jensen.models.sequence.transitions import TRANSITIONS, transition_net
from jensen.typing import Array, Float, PRNGKey


class NeuralStateSpace(AbstractStateSpace):
    r"""p(x, z) = ∏ p(z_t | z_{t−1}, a_{t−1}) p(x_t | z_t), both neural; z_0 is learned.

    The carry of the contract is z_{t−1} with the action after it, so everything but the sample is computed
    for all steps at once.

    Args:
        data_dim: Number D of columns of x (T, D).
        latent_dim: Length of z_t.
        likelihood: ``"bernoulli"``, ``"gaussian"`` (learned scale), or a member of ``models.likelihoods``.
        decoder: Hidden widths of the perceptron from z_t to the likelihood's parameters, or any equinox
            module in its place.
        transition: ``"gated"`` (Krishnan et al. 2017), ``"linear"`` with constant noise, or any equinox
            module from z (and a joined to it) to d means and d log-scales.
        width: Hidden width of the gated transition.
        cond_dim: Length of an action; 0 for none.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or a name is unknown.

    References:
        Krishnan, Shalit & Sontag 2017.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> dmm = NeuralStateSpace(3, 2, decoder=(8,), width=8, key=jax.random.key(0))
        >>> z, x = dmm.simulate(jn.Datum(jnp.zeros((5, 3))), key=jax.random.key(1))
        >>> z.shape, x.shape
        ((5, 2), (5, 3))
    """

    net: Any
    transition_net: Any
    first: Float[Array, "d"]
    family: families.DiagGaussian
    likelihood_family: likelihoods.AbstractLikelihood
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        likelihood: str | likelihoods.AbstractLikelihood = "gaussian",
        decoder: Sequence[int] | eqx.Module = (100, 100),
        transition: str | eqx.Module = "gated",
        width: int = 100,
        cond_dim: int = 0,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("NeuralStateSpace", 1, data_dim=data_dim)
        at_least("NeuralStateSpace", 0, cond_dim=cond_dim)
        if isinstance(transition, str) and transition not in TRANSITIONS:
            raise InputError(
                f"NeuralStateSpace: transition {transition!r} is unknown{nearest(transition, TRANSITIONS)}"
            )
        to_net, to_transition = jax.random.split(key)
        self.family = families.DiagGaussian(latent_dim)
        self.likelihood_family = likelihoods.named(likelihood, data_dim)
        self.net = decoder_net(decoder, latent_dim, self.likelihood_family.num_params, key=to_net)
        self.transition_net = transition_net(transition, latent_dim, cond_dim, width, key=to_transition)
        self.first = jnp.zeros(latent_dim)
        self.data_dim, self.cond_dim = data_dim, cond_dim
        self.initialized = False

    @property
    def carry_dim(self) -> int:
        """Length of z_{t−1}."""
        return self.latent_dim

    @property
    def seen_dim(self) -> int:
        """Posteriors see all columns."""
        return self.data_dim

    def features(self, carry: Float[Array, "du"]) -> Float[Array, "d"]:
        """Return z_{t−1}."""
        return carry[: self.latent_dim]

    def entry(self, actions: Float[Array, "t u"], begins: Float[Array, "t"]) -> Float[Array, "t u"]:
        """Return the actions: a sequence begins as if z_0 had been before it."""
        return actions

    def prior_from(self, carry: Float[Array, "du"]) -> dist.DiagGaussian:
        """Return p(z_t | z_{t−1}, a_{t−1})."""
        return self.family(self.transition_net(carry))

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> NeuralStateSpace:
        """Start at the column means; a decoder of the user's own keeps its bias."""
        return eqx.tree_at(lambda m: m.initialized, started(self, rows), True)
