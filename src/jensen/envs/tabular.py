"""Simulators with countable states, whose tables are exact because both are read off one function."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.mdp import MDP
from jensen.core import Moved
from jensen.envs.simulator import Simulator
from jensen.typing import Array, Float, Int, PRNGKey, Scalar


class Outcomes(NamedTuple):
    """What an action may bring, K cases.

    Attributes:
        probability: Of each case; they sum to 1.
        state: The state after it; any number where the episode has ended.
        reward: Its mean.
        noise: Standard deviation of the Gaussian noise on the reward.
        continues: 0 where the episode ends, else 1.
    """

    probability: Float[Array, "k"]
    state: Int[Array, "k"]
    reward: Float[Array, "k"]
    noise: Float[Array, "k"]
    continues: Float[Array, "k"]


class TabularSimulator(Simulator):
    """States 0 … S − 1 in the cells of a grid; the state is the number itself.

    Attributes:
        num_states: S.
        start: p(s_0), (S,).
        cells: Row and column of each state, (S, 2).
        moves: Rows and columns that each action is meant to move by, (S, A, 2).
    """

    num_states: eqx.AbstractVar[int]
    start: eqx.AbstractVar[Float[Array, "s"]]
    cells: eqx.AbstractVar[Int[np.ndarray, "s 2"]]
    moves: eqx.AbstractVar[Int[np.ndarray, "s a 2"]]

    @abstractmethod
    def outcomes(self, state: Int[Array, ""], action: Int[Array, ""]) -> Outcomes:
        """List what an action may bring in a state."""

    def initial(self, *, key: PRNGKey) -> Int[Array, ""]:
        """Draw a start."""
        return _draw(self.start, key)

    def step(self, state: Int[Array, ""], action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Draw one of the outcomes, and the noise of its reward."""
        to_case, to_noise = jax.random.split(key)
        cases = self.outcomes(state, jnp.argmax(action))
        case = _draw(cases.probability, to_case)
        reward = cases.reward[case] + cases.noise[case] * jax.random.normal(to_noise)
        return Moved(cases.state[case], reward, cases.continues[case])

    def info(self, state: Int[Array, ""]) -> dict[str, Array]:
        """Return the number of the ``state``."""
        return {"state": state}

    def mdp(self) -> MDP:
        """Return the exact tables: transitions that go on, mean rewards, and the law of the start.

        Where an episode ends, a row sums to less than one. Tables of DeepSea(50) take 50 MB.
        """
        return _tables(self)


@eqx.filter_jit
def _tables(world: TabularSimulator) -> MDP:
    states, actions = jnp.arange(world.num_states), jnp.arange(world.action_dim)
    cases = jax.vmap(lambda s: jax.vmap(lambda a: world.outcomes(s, a))(actions))(states)
    rewards = (cases.probability * cases.reward).sum(-1)
    empty = jnp.zeros((*rewards.shape, world.num_states))
    where = states[:, None, None], actions[None, :, None], cases.state
    return MDP(empty.at[where].add(cases.probability * cases.continues, mode="drop"), rewards, world.start)


def _draw(probabilities: Float[Array, "k"], key: PRNGKey) -> Int[Array, ""]:
    """One of K by one uniform number; cheaper than K of them where K is large."""
    below = jnp.cumsum(probabilities)
    case = (below <= jax.random.uniform(key) * below[-1]).sum()
    return jnp.minimum(case, len(probabilities) - 1)


def one_hot(state: Int[Array, ""], num_states: int) -> Float[Array, "s"]:
    """Return the row of a state; zeros where it is none of them."""
    return jax.nn.one_hot(state, num_states, dtype=jnp.float32)


def share(value: Scalar | float) -> Float[Array, "2"]:
    """Return the probabilities that something happens and that it does not."""
    return jnp.stack([jnp.asarray(value, jnp.float32), 1.0 - jnp.asarray(value, jnp.float32)])
