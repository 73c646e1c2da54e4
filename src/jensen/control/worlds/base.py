"""Worlds whose state is believed from observations, and the belief of a posterior that filters."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import AbstractWorld, Carried, Datum, End, Inference
from jensen.dist import draw
from jensen.typing import Array, Bool, Float, PRNGKey, PyTree


class ObservedWorld(AbstractWorld):
    """A world whose state is not given but believed, from observations as they come.

    Attributes:
        observation_dim: Columns of an observation.
    """

    observation_dim: eqx.AbstractVar[int]

    @abstractmethod
    def begin(self) -> PyTree:
        """Return what is believed before the first observation of an episode."""

    @abstractmethod
    def observe(
        self, belief: PyTree, observation: Float[Array, "s"], action: Float[Array, "a"], *, key: PRNGKey
    ) -> PyTree:
        """Return what is believed after an observation and the action before it, ignored at the first."""

    @abstractmethod
    def expected(self, belief: PyTree) -> PyTree:
        """Return the state at the mean of the belief."""

    @abstractmethod
    def drawn(self, belief: PyTree, *, key: PRNGKey) -> PyTree:
        """Draw a state from the belief."""


class Latent(NamedTuple):
    """A state of a learned world.

    Attributes:
        carry: What the model remembers, an RSSM's h_t.
        z: z_t.
    """

    carry: PyTree
    z: Float[Array, "d"]


class Belief(NamedTuple):
    """q(z_t | o_{1:t}, a_{1:t−1}) along one path drawn before t.

    Attributes:
        end: Carry and z of the path at t, and the posterior's own memory.
        law: The law of z_t.
        begun: Whether there was an observation.
    """

    end: End
    law: Any
    begun: Bool[Array, ""]


def nothing_seen(inference: Inference) -> Belief:
    """Return what a posterior that filters believes before an episode's first observation."""
    family = inference.posterior.family
    end = inference.posterior.onset(inference.bound_model())
    return Belief(end, family(family.initial_params()), jnp.asarray(False))


def seen(
    inference: Inference,
    belief: Belief,
    observation: Float[Array, "s"],
    action: Float[Array, "a"],
    *,
    key: PRNGKey,
) -> Belief:
    """Take a posterior that filters one step on; the action is the one before the observation."""
    model = inference.bound_model()
    row = jnp.concatenate([observation, jnp.zeros(model.data_dim - model.seen_dim, observation.dtype)])
    carried = Carried(belief.begun, action, belief.end)
    datum = Datum(row[None], jnp.zeros((1, model.cond_dim)), carried=carried)
    to_q, to_z = jax.random.split(key)
    q = inference.posterior(model, datum, key=to_q)
    drawn = draw(q, key=to_z)
    carry, law, z = jax.tree.map(lambda leaf: leaf[0], (drawn.carry.carries, drawn.carry.laws, drawn.z))
    return Belief(End((carry, z), q.memory), law, jnp.asarray(True))
