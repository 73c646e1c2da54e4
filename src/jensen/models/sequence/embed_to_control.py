"""Embed to Control: a state-space model whose dynamics are linear around every point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.core import Datum
from jensen.errors import at_least, check_key
from jensen.models import likelihoods
from jensen.models.sequence.recurrent import decoder_with_heads, started
from jensen.models.sequence.state_space import AbstractStateSpace
from jensen.models.sequence.transitions import LocallyLinear
from jensen.typing import Array, Float, PRNGKey


class EmbedToControl(AbstractStateSpace):
    r"""z_1 ~ N(0, I), z_{t+1} ~ N(A(z_t) z_t + B(z_t) a_t + o(z_t), diag(s²)), x_t ~ p(x_t | z_t).

    A = I + v rᵀ, so that a controller for linear dynamics (``algorithms.ilqr``) can plan in z. Posteriors
    are not shown z_{t−1}: ``posteriors.Filtering(..., memory=0)`` is then q(z_t | x_t), an encoder of one
    observation, which a picture of the goal can be given to as well; ``memory=n`` adds a recurrent network
    over those before, for observations that do not show all of the state.

    Args:
        obs_dim: Number of columns of one observation.
        action_dim: Length of an action; 0 for none.
        latent_dim: Length of z_t.
        likelihood: Of an observation: ``"gaussian"`` (learned scale), ``"bernoulli"`` or a member of
            ``models.likelihoods``.
        heads: Likelihoods of further columns of x that z predicts and posteriors do not see: a reward,
            whether the episode continues.
        decoder: Hidden widths of the perceptron from z_t to the likelihood's parameters, or any equinox
            module in its place.
        widths: Hidden widths of the network from z to v, r, B and o.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is out of range.

    References:
        Watter, Springenberg, Boedecker & Riedmiller 2015.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> e2c = EmbedToControl(9, 2, 2, likelihood="bernoulli", decoder=(8,), widths=(8,),
        ...                      key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(jn.families.DiagGaussian(2), like=e2c, memory=0, widths=(8,),
        ...                             key=jax.random.key(1))
        >>> z, x = e2c.simulate(jn.Datum(jnp.zeros((5, 9)), cond=jnp.ones((4, 2))), key=jax.random.key(2))
        >>> z.shape, x.shape
        ((5, 2), (5, 9))
    """

    net: Any
    transition_net: LocallyLinear
    family: families.DiagGaussian
    likelihood_family: likelihoods.AbstractLikelihood
    seen_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        latent_dim: int,
        *,
        likelihood: str | likelihoods.AbstractLikelihood = "gaussian",
        heads: Sequence[likelihoods.AbstractLikelihood] = (),
        decoder: Sequence[int] | eqx.Module = (200,),
        widths: Sequence[int] = (100, 100),
        key: PRNGKey,
    ):
        check_key(key)
        at_least("EmbedToControl", 1, obs_dim=obs_dim)
        at_least("EmbedToControl", 0, action_dim=action_dim)
        to_net, to_transition = jax.random.split(key)
        own = likelihoods.named(likelihood, obs_dim)
        self.family = families.DiagGaussian(latent_dim)
        self.likelihood_family = likelihoods.Joined((own, *heads)) if heads else own
        self.net = decoder_with_heads(decoder, own, heads, latent_dim, key=to_net)
        self.transition_net = LocallyLinear(latent_dim, action_dim, widths, key=to_transition)
        self.seen_dim, self.cond_dim = obs_dim, action_dim
        self.initialized = False

    @property
    def data_dim(self) -> int:
        """Columns of an observation and of what the heads predict."""
        return self.likelihood_family.data_dim

    @property
    def first(self) -> Float[Array, "d"]:
        """Return zeros, which are not looked at."""
        return jnp.zeros(self.latent_dim)

    @property
    def carry_dim(self) -> int:
        """Length of what posteriors are shown in the place of z_{t−1}."""
        return self.latent_dim

    def features(self, carry: Float[Array, "dub"]) -> Float[Array, "d"]:
        """Return zeros: what is inferred of z_t is not to depend on z_{t−1}."""
        return jnp.zeros(self.latent_dim)

    def entry(self, actions: Float[Array, "t u"], begins: Float[Array, "t"]) -> Float[Array, "t ub"]:
        """Return the actions, each followed by 1 where a sequence begins."""
        return jnp.concatenate([actions, begins[:, None]], -1)

    def prior_from(self, carry: Float[Array, "dub"]) -> dist.DiagGaussian:
        """Return p(z_t | z_{t−1}, a_{t−1}), and N(0, I) for the first step."""
        begins, law = carry[-1] > 0.5, self.family(self.transition_net(carry[:-1]))
        return dist.DiagGaussian(jnp.where(begins, 0.0, law.loc), jnp.where(begins, 1.0, law.scale))

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> EmbedToControl:
        """Start at the column means; a decoder of the user's own keeps its bias."""
        return eqx.tree_at(lambda m: m.initialized, started(self, rows), True)
