"""The recurrent state-space model: a world model with a deterministic and a stochastic state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.core import Datum, inputs_of, state_before
from jensen.errors import InputError, at_least, check_key
from jensen.models import likelihoods
from jensen.models.sequence.recurrent import (
    AbstractRecurrentModel,
    decoder_with_heads,
    previous,
    started,
)
from jensen.nets import GRU, MLP
from jensen.typing import Array, Float, PRNGKey, PyTree


class Entry(NamedTuple):
    """What enters one step: the action before it, as the core reads it, and whether an episode begins."""

    action: Float[Array, "*t g"]
    is_first: Float[Array, "*t"]


class RSSM(AbstractRecurrentModel):
    r"""h_t = GRU(h_{t−1}, z_{t−1}, a_{t−1}), z_t ~ p(z_t | h_t), x_t ~ p(x_t | h_t, z_t).

    ``cond`` holds the actions, (T, U) or (T − 1, U), a_t following observation o_t. With one column more,
    (T, U + 1), the last says where an episode begins (1 at its first observation): there the state starts
    anew and the action before is forgotten.

    Args:
        obs_dim: Number of columns of one observation.
        action_dim: Length U of an action; 0 for none.
        deter_dim: Length of h.
        latent: Family of z_t: ``families.DiagGaussian(30)`` (the default), or
            ``families.OneHot(classes, variables, unimix=0.01)`` for categorical states.
        likelihood: Of an observation: ``"gaussian"`` (learned scale), ``"bernoulli"`` or a member of
            ``models.likelihoods``.
        heads: Likelihoods of further columns of x, after those of the observation, that the state predicts
            and posteriors do not see: ``models.likelihoods.Gaussian(1)`` for a reward,
            ``models.likelihoods.Bernoulli(1)`` for whether the episode continues.
        decoder: Hidden widths of the perceptron from (h, z) to an observation, of the prior's and of the
            heads'; or any equinox module in the decoder's place.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is out of range, or the latents are not ones a gradient passes through.

    References:
        Hafner et al. 2019 (RSSM), 2021 (categorical states).

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> world = RSSM(3, 1, deter_dim=8, latent=jn.families.DiagGaussian(2), key=jax.random.key(0))
        >>> like = jn.Datum(jnp.zeros((5, 3)), cond=jnp.ones((4, 1)))
        >>> z, x = world.simulate(like, key=jax.random.key(1))
        >>> z.shape, x.shape
        ((5, 2), (5, 3))
    """

    prior_law: ClassVar[type[dist.AbstractDistribution]] = dist.StepwisePrior
    remembers: ClassVar[bool] = True
    extra_cond: ClassVar[tuple[str, ...]] = ("is_first",)
    core: GRU
    prior_net: MLP
    net: Any
    family: families.AbstractFamily
    likelihood_family: likelihoods.AbstractLikelihood
    deter_dim: int
    seen_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        deter_dim: int = 200,
        latent: families.AbstractFamily | None = None,
        likelihood: str | likelihoods.AbstractLikelihood = "gaussian",
        heads: Sequence[likelihoods.AbstractLikelihood] = (),
        decoder: Sequence[int] | eqx.Module = (200,),
        key: PRNGKey,
    ):
        check_key(key)
        at_least("RSSM", 1, obs_dim=obs_dim, deter_dim=deter_dim)
        at_least("RSSM", 0, action_dim=action_dim)
        self.family = families.DiagGaussian(30) if latent is None else latent
        if not issubclass(self.family.law, dist.AbstractTransport):
            raise InputError(
                f"RSSM: {type(self.family).__name__} latents cannot be passed through the core; "
                "use families.OneHot or families.DiagGaussian"
            )
        keys = jax.random.split(key, 3)
        state = deter_dim + self.family.latent_dim
        widths = () if isinstance(decoder, eqx.Module) else tuple(decoder)
        own = likelihoods.named(likelihood, obs_dim)
        self.likelihood_family = likelihoods.Joined((own, *heads)) if heads else own
        self.core = GRU(self.family.latent_dim + action_dim, deter_dim, key=keys[0])
        self.prior_net = MLP(
            deter_dim, self.family.num_params, widths[-1:], activation=jax.nn.relu, key=keys[1]
        )
        self.net = decoder_with_heads(decoder, own, heads, state, key=keys[2])
        self.deter_dim, self.seen_dim, self.cond_dim = deter_dim, obs_dim, action_dim
        self.initialized = False

    @property
    def data_dim(self) -> int:
        """Columns of an observation and of what the heads predict."""
        return self.likelihood_family.data_dim

    @property
    def latent_dim(self) -> int:
        """Length of z_t."""
        return self.family.latent_dim

    @property
    def carry_dim(self) -> int:
        """Length of h_t."""
        return self.deter_dim

    @property
    def step_law(self) -> type[dist.AbstractDensity]:
        """Type of p(z_t | h_t)."""
        return self.family.law

    def start(self) -> tuple[Float[Array, "h"], Float[Array, "d"]]:
        """Return zeros: nothing has been seen."""
        return jnp.zeros(self.deter_dim), jnp.zeros(self.latent_dim)

    def inputs(self, cond: Any, length: int) -> Entry:
        """Return the share of the action before each step in the core's gates, for all steps at once."""
        actions = previous(cond, length, self.cond_dim)
        first = jnp.arange(length) == 0
        if cond is not None and cond.shape[-1] > self.cond_dim:
            begins = jnp.asarray(cond)[:length, -1] > 0.5
            first = first.at[: len(begins)].max(begins)
        actions = jnp.where(first[:, None], 0.0, actions)
        weight, bias = self.core.entry.weight, jnp.asarray(self.core.entry.bias)
        return Entry(actions @ weight[:, self.latent_dim :].T + bias, first)

    def advance(self, carry: Float[Array, "h"], z: Float[Array, "d"], inputs: Entry) -> Float[Array, "h"]:
        """Return h_t; at the first step of an episode, what h and z were before does not count."""
        keep = jnp.where(inputs.is_first, 0.0, 1.0)
        projected = self.core.entry.weight[:, : self.latent_dim] @ (keep * z) + inputs.action
        return self.core(keep * carry, projected)

    def features(self, carry: Float[Array, "h"]) -> Float[Array, "h"]:
        """Return h_t."""
        return carry

    def prior_from(self, carry: Float[Array, "h"]) -> dist.AbstractDensity:
        """Return p(z_t | h_t)."""
        return self.family(self.prior_net(carry))

    def observation_from(self, z: Float[Array, "d"], carry: Float[Array, "h"]) -> dist.AbstractObservation:
        """Return p(x_t | h_t, z_t)."""
        return self.likelihood_family(self.net(jnp.concatenate([carry, z])))

    def carries_given(self, draw: dist.Draw, datum: Datum) -> PyTree:
        """Return the recurrent states the posterior has computed."""
        return draw.carry.carries

    def carries(self, z: Float[Array, "t d"], datum: Datum) -> Float[Array, "t h"]:
        """Return the recurrent states along any path."""
        return dist.unroll(self, inputs_of(self, datum), z, state_before(self, datum))

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> RSSM:
        """Start at the column means; a decoder of the user's own keeps its bias."""
        return eqx.tree_at(lambda m: m.initialized, started(self, rows), True)
