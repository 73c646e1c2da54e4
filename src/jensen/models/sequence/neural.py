"""Deep Markov models: state-space models whose transition and emission are networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.core import Datum, HasMarkovLatents, inputs_of, state_before
from jensen.errors import InputError, check_key, nearest
from jensen.models import likelihoods
from jensen.models.sequence.recurrent import AbstractRecurrentModel, decoder_net, previous, started
from jensen.models.sequence.transitions import TRANSITIONS, transition_net
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class NeuralStateSpace(AbstractRecurrentModel, HasMarkovLatents):
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

    prior_law: ClassVar[type[dist.AbstractDistribution]] = dist.StepwisePrior
    step_law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    remembers: ClassVar[bool] = False
    extra_cond: ClassVar[tuple[str, ...]] = ()
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
        if data_dim < 1 or cond_dim < 0:
            raise InputError(f"NeuralStateSpace: data_dim={data_dim}, cond_dim={cond_dim}; at least 1 and 0")
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
    def latent_dim(self) -> int:
        """Length of z_t."""
        return self.family.latent_dim

    @property
    def carry_dim(self) -> int:
        """Length of z_{t−1}."""
        return self.latent_dim

    @property
    def seen_dim(self) -> int:
        """Posteriors see all columns."""
        return self.data_dim

    def start(self) -> tuple[Float[Array, "du"], Float[Array, "d"]]:
        """Return z_0, and a carry that is not looked at."""
        return jnp.zeros(self.latent_dim + self.cond_dim), self.first

    def inputs(self, cond: Any, length: int) -> Float[Array, "t u"]:
        """Return a_{t−1} of every step."""
        return previous(cond, length, self.cond_dim)

    def advance(self, carry: PyTree, z: Float[Array, "d"], inputs: Float[Array, "u"]) -> Float[Array, "du"]:
        """Return z_{t−1} and a_{t−1} joined: nothing older is needed."""
        return jnp.concatenate([z, inputs])

    def features(self, carry: Float[Array, "du"]) -> Float[Array, "d"]:
        """Return z_{t−1}."""
        return carry[: self.latent_dim]

    def prior_from(self, carry: Float[Array, "du"]) -> dist.DiagGaussian:
        """Return p(z_t | z_{t−1}, a_{t−1})."""
        return self.family(self.transition_net(carry))

    def observation_from(self, z: Float[Array, "d"], carry: PyTree) -> dist.AbstractObservation:
        """Return p(x_t | z_t)."""
        return self.likelihood_family(self.net(z))

    def carries_given(self, draw: dist.Draw, datum: Datum) -> Float[Array, "t du"]:
        """Return the carries along the drawn path: its own z, moved by one step."""
        return self.carries(draw.z, datum)

    def carries(self, z: Float[Array, "t d"], datum: Datum) -> Float[Array, "t du"]:
        """Return z_{t−1} and a_{t−1} of every step."""
        onset = state_before(self, datum)
        first = self.first if onset is None else onset[1]
        before = jnp.concatenate([first[None], z[:-1]])
        return jnp.concatenate([before, inputs_of(self, datum)], -1)

    def initial(self, datum: Datum) -> dist.DiagGaussian:
        """Return p(z_1) = p(z_1 | z_0)."""
        return self.prior_from(jnp.concatenate([self.first, jnp.zeros(self.cond_dim)]))

    def transition(self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum) -> dist.DiagGaussian:
        """Return p(z_{t+1} | z_t, a_t)."""
        action = jnp.zeros(0) if not self.cond_dim else jnp.asarray(datum.cond)[t, : self.cond_dim]
        return self.prior_from(jnp.concatenate([z, action]))

    def log_likelihood_at(self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x_t | z_t) over the observed entries, in nats; zero for a padded step."""
        real = True if datum.steps is None else t < datum.steps
        x = jnp.where(real, jnp.asarray(datum.x)[t], 0.0)
        mask = None if datum.mask is None else jnp.asarray(datum.mask)[t]
        law = self.likelihood_family(self.net(z))
        return jnp.where(real, dist.log_prob_observed(law, x, mask), 0.0)

    def observation_at(
        self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum
    ) -> dist.AbstractObservation:
        """Return p(x_t | z_t)."""
        return self.likelihood_family(self.net(z))

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> NeuralStateSpace:
        """Start at the column means; a decoder of the user's own keeps its bias."""
        return eqx.tree_at(lambda m: m.initialized, started(self, rows), True)
