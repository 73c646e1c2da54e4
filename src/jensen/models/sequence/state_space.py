"""What neural state-space models share: a latent whose next law depends on it and on the action alone."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from jensen import dist, families
from jensen.core import Datum, HasMarkovLatents, inputs_of, state_before
from jensen.models.sequence.recurrent import AbstractRecurrentModel, previous
from jensen.typing import Array, Float, Int, PyTree, Scalar


class AbstractStateSpace(AbstractRecurrentModel, HasMarkovLatents):
    """p(x, z) = ∏ p(z_t | z_{t−1}, a_{t−1}) p(x_t | z_t), the carry being z_{t−1} and what enters after it.

    Attributes:
        transition_net: From z_{t−1} and a_{t−1}, joined, to the d means and d log-scales of z_t.
        first: The z before the first step.
        family: From these numbers to p(z_t | z_{t−1}, a_{t−1}).
        initialized: Whether a start was chosen from data.
    """

    prior_law: ClassVar[type[dist.AbstractDistribution]] = dist.StepwisePrior
    step_law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    remembers: ClassVar[bool] = False
    extra_cond: ClassVar[tuple[str, ...]] = ()
    transition_net: eqx.AbstractVar[Any]
    first: eqx.AbstractVar[Float[Array, "d"]]
    family: eqx.AbstractVar[families.DiagGaussian]
    initialized: eqx.AbstractVar[bool]

    @abstractmethod
    def entry(self, actions: Float[Array, "t u"], begins: Float[Array, "t"]) -> Float[Array, "t e"]:
        """Return what enters steps before which these actions were taken, or which begin a sequence (1)."""

    @property
    def latent_dim(self) -> int:
        """Length of z_t."""
        return self.family.latent_dim

    def start(self) -> tuple[Float[Array, "de"], Float[Array, "d"]]:
        """Return a carry that is not looked at, and the z before the first step."""
        entered = self.entry(jnp.zeros((1, self.cond_dim)), jnp.ones(1))[0]
        return jnp.zeros(self.latent_dim + len(entered)), self.first

    def inputs(self, cond: Any, length: int) -> Float[Array, "t e"]:
        """Return what enters each step, a_{t−1} above all."""
        begins = (jnp.arange(length) == 0).astype(jnp.float32)
        return self.entry(previous(cond, length, self.cond_dim), begins)

    def advance(self, carry: PyTree, z: Float[Array, "d"], inputs: Float[Array, "e"]) -> Float[Array, "de"]:
        """Return z_{t−1} and what enters, joined: nothing older is needed."""
        return jnp.concatenate([z, inputs])

    def observation_from(self, z: Float[Array, "d"], carry: PyTree) -> dist.AbstractObservation:
        """Return p(x_t | z_t)."""
        return self.likelihood_family(self.net(z))

    def carries_given(self, draw: dist.Draw, datum: Datum) -> Float[Array, "t de"]:
        """Return the carries along the drawn path: its own z, moved by one step."""
        return self.carries(draw.z, datum)

    def carries(self, z: Float[Array, "t d"], datum: Datum) -> Float[Array, "t de"]:
        """Return z_{t−1} and what enters every step."""
        onset = state_before(self, datum)
        first = self.first if onset is None else onset[1]
        before = jnp.concatenate([first[None], z[:-1]])
        return jnp.concatenate([before, inputs_of(self, datum)], -1)

    def initial(self, datum: Datum) -> dist.AbstractDensity:
        """Return p(z_1)."""
        entered = self.entry(jnp.zeros((1, self.cond_dim)), jnp.ones(1))[0]
        return self.prior_from(jnp.concatenate([self.first, entered]))

    def transition(self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum) -> dist.AbstractDensity:
        """Return p(z_{t+1} | z_t, a_t)."""
        action = jnp.zeros(0) if not self.cond_dim else jnp.asarray(datum.cond)[t, : self.cond_dim]
        return self.prior_from(jnp.concatenate([z, self.entry(action[None], jnp.zeros(1))[0]]))

    def log_likelihood_at(self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x_t | z_t) over the observed entries, in nats; zero for a padded step."""
        real = True if datum.steps is None else t < datum.steps
        x = jnp.where(real, jnp.asarray(datum.x)[t], 0.0)
        mask = None if datum.mask is None else jnp.asarray(datum.mask)[t]
        return jnp.where(real, dist.log_prob_observed(self.observation_at(z, t, datum), x, mask), 0.0)

    def observation_at(
        self, z: Float[Array, "d"], t: Int[Array, ""], datum: Datum
    ) -> dist.AbstractObservation:
        """Return p(x_t | z_t)."""
        return self.likelihood_family(self.net(z))
