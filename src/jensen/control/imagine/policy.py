"""A policy whose actor reads the state of a world, believed from observations as they come."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jensen.control.imagine.actors import acted
from jensen.control.policies.base import renewed
from jensen.control.policies.engine import ModelPolicy
from jensen.control.policies.heads import MixtureHead, check_choice
from jensen.control.spaces import ActionSpace
from jensen.control.worlds.base import ObservedWorld
from jensen.control.worlds.model import ModelWorld
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree


class Believed(NamedTuple):
    """Where each of N environments is in its episode.

    Attributes:
        bits: Random bits to go on from, (N, 2).
        belief: Of the world.
        action: The last one, as the world reads it, (N, A).
        age: Steps since the episode began, (N,).
    """

    bits: Array
    belief: PyTree
    action: Float[Array, "*n a"]
    age: Int[Array, "*n"]


class BeliefEngine(NamedTuple):
    """Acts by an actor on what a world lets one believe.

    Attributes:
        head: The actor, and how it chooses.
        world: Whose state is believed.
        features: State to what the actor reads.
        space: Of actions.
        width: Columns of an observation.
        horizon: 1.
    """

    head: MixtureHead
    world: ObservedWorld
    features: Callable[[Any], Any]
    space: ActionSpace
    width: int
    horizon: int = 1

    def begin(self, key: PRNGKey) -> Believed:
        """Return the course of an episode that has not begun."""
        still = jnp.zeros(self.world.action_dim)
        return Believed(jax.random.key_data(key), self.world.begin(), still, jnp.zeros((), jnp.int32))

    def begun(self, key: PRNGKey, states: Float[Array, "n s"]) -> Believed:
        """Begin one episode a row."""
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(states)))
        return jax.vmap(self.begin)(keys)

    def restarted(self, key: PRNGKey, courses: Believed, mask: Bool[Array, "n"]) -> Believed:
        """Begin new episodes where the mask says so."""
        return renewed(mask, self.begun(key, jnp.zeros((len(mask), self.width))), courses)

    def act(self, course: Believed, observation: Float[Array, "s"]) -> tuple[Believed, Array]:
        """Look, and act."""
        key = jax.random.wrap_key_data(course.bits)
        key, to_belief, to_state, to_z, to_y = jax.random.split(key, 5)
        belief = self.world.observe(course.belief, observation, course.action, key=to_belief)
        if self.head.choose == "sample":
            state = self.world.drawn(belief, key=to_state)
        else:
            state = self.world.expected(belief)
        features = self.features(state)
        y = self.head.propose(self.head.begin(features, key=to_z), features, key=to_y)
        after = Believed(jax.random.key_data(key), belief, acted(self.space, y), course.age + 1)
        return after, self.space.to_action(y)

    def step(self, courses: Believed, states: Float[Array, "n s"]) -> tuple[Believed, Array]:
        """Take one step in every environment."""
        return jax.vmap(self.act)(courses, states)

    def foresee(self, courses: Believed, states: Float[Array, "n s"]) -> Array:
        """Return the next action, (N, 1, A)."""
        return self.step(courses, states)[1][:, None]


@final
class ActorPolicy(ModelPolicy):
    """Acts by an actor trained on a world's states: observations are filtered as they come.

    Args:
        actor: p(y | features), a conditional model.
        world: Says what to believe: ``control.ModelWorld``, or ``SeenWorld`` over a simulator.
        space: Of actions.
        features: State to what the actor reads; a ModelWorld has its own.
        choose: ``"likeliest"`` at the mean of the belief, or ``"sample"`` of belief and actor.
        key: Randomness, advanced by every call.

    Raises:
        InputError: A way to choose that the actor does not have.
    """

    def __init__(
        self,
        actor: Any,
        world: ObservedWorld,
        space: ActionSpace,
        *,
        features: Callable[[Any], Any] | None = None,
        choose: str = "likeliest",
        key: PRNGKey,
    ):
        check_choice(choose, actor, "ActorPolicy")
        if features is None and isinstance(world, ModelWorld):
            features = world.features
        assert features is not None
        self.choose, self._name = choose, f"{type(actor).__name__} on beliefs of {type(world).__name__}"
        engine = BeliefEngine(MixtureHead(actor, choose), world, features, space, world.observation_dim)
        super().__init__(engine, key=key)

    def __repr__(self) -> str:
        return f"ActorPolicy({self._name}, choose {self.choose!r}, actions {self.space})"
