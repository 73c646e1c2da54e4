"""Learning by table: Q-learning that replays each episode backwards, with a bonus, optimism or neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jensen.algorithms.mdp import MDP, SLACK, checked, exact_rows
from jensen.control.explore.transitions import AbstractBonus, Foresees, Transitions
from jensen.core import AbstractWorld, Moved
from jensen.errors import CombinationError, InputError, at_least
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar, Shaped


class Enumerated(eqx.Module):
    """A world whose states have codes, so that values fit into a table.

    Args:
        world: What steps; actions enter as one-hot rows.
        initial: key to the state in which an episode begins.
        code: A state to its code 0..S−1.
        num_states: S.
        horizon: Most steps of an episode.
        observe: A state to the vector that bonuses see of it, beside one-hot rows of actions; by default they
            see codes of both.

    Raises:
        InputError: A number that is not positive.
    """

    world: AbstractWorld
    initial: Callable[[PRNGKey], PyTree]
    code: Callable[[PyTree], Int[Array, ""]]
    observe: Callable[[PyTree], Array] | None
    num_states: int
    horizon: int

    def __init__(
        self,
        world: AbstractWorld,
        initial: Callable[[PRNGKey], PyTree],
        code: Callable[[PyTree], Int[Array, ""]],
        *,
        num_states: int,
        horizon: int,
        observe: Callable[[PyTree], Array] | None = None,
    ):
        at_least("Enumerated", 1, num_states=num_states, horizon=horizon)
        self.world, self.initial, self.code = world, initial, code
        self.observe = observe
        self.num_states, self.horizon = num_states, horizon

    def seen(self, state: PyTree) -> Array:
        """Return what bonuses see of a state."""
        return self.code(state) if self.observe is None else self.observe(state)

    def acts(self) -> Shaped[Array, "a *r"]:
        """Return what bonuses see of every action."""
        num = self.world.action_dim
        return jnp.arange(num) if self.observe is None else jnp.eye(num)


class TableWorld(AbstractWorld):
    """The world of an MDP, its few successors of each (s, a) listed: thousands of states step fast.

    Attributes:
        successors: States that can follow, (S, A, K).
        cumulative: Their summed probabilities, (S, A, K); what is missing to 1 ends the episode.
        rewards: r(s, a), (S, A).
        start: Summed p(s_0), (S,).
        action_dim: A.
    """

    successors: Int[Array, "s a k"]
    cumulative: Float[Array, "s a k"]
    rewards: Float[Array, "s a"]
    start: Float[Array, "s"]
    action_dim: int

    @classmethod
    def of(cls, mdp: MDP) -> TableWorld:
        """List the successors. Host code.

        Raises:
            InputError: What `algorithms.mdp.checked` refuses, and forbidden actions: who acts may try any.
        """
        transitions, rewards, start = map(np.asarray, exact_rows(checked(mdp)))
        if not np.isfinite(rewards).all():
            state, act = np.argwhere(~np.isfinite(rewards))[0]
            raise InputError(
                f"TableWorld: action {act} is forbidden in state {state} (its reward is −∞), but who acts "
                "there may try it; give it a finite cost"
            )
        most = max(int((transitions > 0).sum(-1).max()), 1)
        order = np.argsort(-transitions, axis=-1, kind="stable")[..., :most]
        summed = np.cumsum(np.take_along_axis(transitions, order, -1), -1)
        # rounding must not end an episode that goes on
        whole = summed[..., -1:]
        summed = summed / np.where(whole > 1 - SLACK, whole, 1.0)
        return cls(
            successors=jnp.asarray(order, jnp.int32),
            cumulative=jnp.asarray(summed, jnp.float32),
            rewards=jnp.asarray(rewards, jnp.float32),
            start=jnp.asarray(np.cumsum(start), jnp.float32),
            action_dim=rewards.shape[1],
        )

    def initial(self, key: PRNGKey) -> Int[Array, ""]:
        """Draw s_0."""
        place = jnp.searchsorted(self.start, jax.random.uniform(key), side="right")
        return jnp.minimum(place, len(self.start) - 1).astype(jnp.int32)

    def step(self, state: PyTree, action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Draw s'; the state stays where the episode ends."""
        act = jnp.argmax(action)
        place = (jax.random.uniform(key) >= self.cumulative[state, act]).sum()
        goes_on = place < self.successors.shape[-1]
        after = self.successors[state, act, jnp.minimum(place, self.successors.shape[-1] - 1)]
        return Moved(jnp.where(goes_on, after, state), self.rewards[state, act], goes_on.astype(jnp.float32))


def enumerated(mdp: MDP, horizon: int) -> Enumerated:
    """Return the world of an MDP.

    Example:
        >>> chain = MDP(jnp.eye(2)[::-1][:, None], jnp.array([[0.0], [1.0]]), jnp.array([1.0, 0.0]))
        >>> world = enumerated(chain, 10)
        >>> moved = world.world.step(jnp.array(1), jnp.ones(1), key=jax.random.key(0))
        >>> int(moved.state), float(moved.reward), float(moved.continues)
        (0, 1.0, 1.0)
    """
    world = TableWorld.of(mdp)
    return Enumerated(world, world.initial, _itself, num_states=mdp.num_states, horizon=horizon)


class QLearner(eqx.Module):
    r"""How to act and what to learn, every number traced: changing one compiles nothing.

    The action is argmax_a Q(s, a) + C·b(s, a), ties at random, or with probability ε a random one. Of each
    transition the target is r + β·bonus + γ max_a' [Q(s', a') + C·b(s', a')].

    Attributes:
        discount: γ.
        learning_rate: Share of the way to each target; 1 in a deterministic world.
        initial: Q before the first visit. Above what can be earned, it draws to what was never tried.
        epsilon: ε.
        repeat: Steps each random choice is held.
        bonus: β, of the bonus inside the reward.
        optimism: C, of the bonus foreseen for each action, tried or not; None never asks for it.
    """

    discount: Scalar = eqx.field(converter=jnp.asarray, default=1.0)
    learning_rate: Scalar = eqx.field(converter=jnp.asarray, default=1.0)
    initial: Scalar = eqx.field(converter=jnp.asarray, default=0.0)
    epsilon: Scalar = eqx.field(converter=jnp.asarray, default=0.0)
    repeat: Int[Array, ""] = eqx.field(converter=jnp.asarray, default=1)
    bonus: Scalar = eqx.field(converter=jnp.asarray, default=0.0)
    optimism: Scalar | None = eqx.field(
        converter=lambda c: None if c is None else jnp.asarray(c), default=None
    )

    def __check_init__(self):
        for name, least, most in (("discount", 0, 1), ("learning_rate", 0, 1), ("epsilon", 0, 1)):
            value = getattr(self, name)
            if not isinstance(value, Tracer) and not least <= float(value) <= most:
                raise InputError(f"QLearner: {name} is {float(value):g}; it must be within {least}..{most}")
        if not isinstance(self.repeat, Tracer):
            at_least("QLearner", 1, repeat=int(self.repeat))


class Learnt(NamedTuple):
    """What came of it.

    Attributes:
        returns: Undiscounted return of each episode without any bonus, (E,).
        covered: How many states were ever visited by its end, (E,).
        bonuses: Sum of the bonus over each, (E,).
        q: (S, A).
        visits: Of each state and action, (S, A).
        bonus: The bonus that has learnt.
    """

    returns: Float[Array, "e"]
    covered: Int[Array, "e"]
    bonuses: Float[Array, "e"]
    q: Float[Array, "s a"]
    visits: Int[Array, "s a"]
    bonus: AbstractBonus | None


class _Path(NamedTuple):
    """One episode; ``alive`` is 1 for its steps and 0 after its end."""

    code: Int[Array, "h"]
    action: Int[Array, "h"]
    reward: Float[Array, "h"]
    after: Int[Array, "h"]
    continues: Float[Array, "h"]
    alive: Float[Array, "h"]
    seen: Array
    seen_after: Array


@eqx.filter_jit
def learn(
    world: Enumerated, learner: QLearner, bonus: AbstractBonus | None, episodes: int, *, key: PRNGKey
) -> Learnt:
    """Learn for some episodes, all of them in one compiled program; ``jax.vmap`` over keys is the caller's.

    The bonus of an episode's steps is taken before the bonus learns from them. Bonuses see codes of actions.

    Args:
        world: Where.
        learner: How.
        bonus: What is new; None for none.
        episodes: E.
        key: Randomness.

    Raises:
        CombinationError: ``learner.optimism`` with a bonus that foresees nothing.

    Example:
        >>> chain = MDP(jnp.eye(2)[::-1][:, None], jnp.array([[0.0], [1.0]]), jnp.array([1.0, 0.0]))
        >>> learn(enumerated(chain, 4), QLearner(), None, 3, key=jax.random.key(0)).returns.tolist()
        [2.0, 2.0, 2.0]
    """
    if learner.optimism is not None and not isinstance(bonus, Foresees):
        name = type(bonus).__name__ if bonus is not None else "no bonus"
        raise CombinationError(
            f"learn: optimism needs a bonus that foresees, not {name}; set initial= instead"
        )
    actions = world.world.action_dim
    q = jnp.full((world.num_states, actions), learner.initial, jnp.float32)
    visits = jnp.zeros((world.num_states, actions), jnp.int32)
    arrays, rest = eqx.partition(bonus, eqx.is_array)

    def episode(state: PyTree, key: PRNGKey) -> tuple[PyTree, tuple[Array, Array, Array]]:
        q, visits, arrays = state
        bonus = eqx.combine(arrays, rest)
        to_path, to_bonus = jax.random.split(key)
        path = _walk(world, learner, bonus, q, to_path)
        earned = jnp.zeros(world.horizon)
        if bonus is not None:
            steps = Transitions(path.seen, world.acts()[path.action], path.seen_after, path.alive)
            earned = bonus.bonus(steps)
            bonus = bonus.update(steps, key=to_bonus)
        q = _replayed(learner, q, path, earned, _drawn_to(learner, bonus, path.seen_after, world.acts()))
        visits = visits.at[path.code, path.action].add(path.alive.astype(jnp.int32))
        covered = (visits.sum(-1) > 0).sum()
        facts = (jnp.where(path.alive > 0, path.reward, 0.0) @ path.alive, covered, earned.sum())
        return (q, visits, eqx.filter(bonus, eqx.is_array)), facts

    (q, visits, arrays), facts = jax.lax.scan(episode, (q, visits, arrays), jax.random.split(key, episodes))
    return Learnt(*facts, q, visits, eqx.combine(arrays, rest))


def _walk(
    world: Enumerated, learner: QLearner, bonus: AbstractBonus | None, q: Float[Array, "s a"], key: PRNGKey
) -> _Path:
    """Act for one episode."""
    to_start, to_random, to_steps = jax.random.split(key, 3)
    num = q.shape[1]
    chance = jax.random.uniform(to_random, (world.horizon, num + 2))
    held = chance[(jnp.arange(world.horizon) // learner.repeat) * learner.repeat]

    def step(carry: PyTree, given: PyTree) -> tuple[PyTree, _Path]:
        state, alive = carry
        chance, held, key = given
        code, seen = world.code(state), world.seen(state)
        worth = q[code] + _drawn_to(learner, bonus, seen[None], world.acts())[0]
        best = jnp.argmax(jnp.where(worth >= worth.max(), chance[:num], -1.0))
        random = jnp.minimum((held[num + 1] * num).astype(jnp.int32), num - 1)
        action = jnp.where(held[num] < learner.epsilon, random, best)
        moved = world.world.step(state, jax.nn.one_hot(action, num), key=key)
        after = moved.state
        row = _Path(
            code, action, moved.reward, world.code(after), moved.continues, alive, seen, world.seen(after)
        )
        return (after, alive * (moved.continues > 0)), row

    keys = jax.random.split(to_steps, world.horizon)
    return jax.lax.scan(step, (world.initial(to_start), jnp.ones(())), (chance, held, keys))[1]


def _drawn_to(learner: QLearner, bonus: Any, seen: Array, acts: Array) -> Float[Array, "n a"]:
    """Return C·b of every action at each observation, zeros where optimism is not asked for."""
    if learner.optimism is None:
        return jnp.zeros((len(seen), len(acts)))
    ahead = jax.vmap(jax.vmap(bonus.ahead, in_axes=(None, 0)), in_axes=(0, None))
    return learner.optimism * ahead(seen, acts)


def _replayed(
    learner: QLearner,
    q: Float[Array, "s a"],
    path: _Path,
    earned: Float[Array, "h"],
    drawn: Float[Array, "h a"],
) -> Float[Array, "s a"]:
    """Move Q towards the targets of an episode, the last step first: news travels all the way at once."""

    def step(q: Array, given: tuple[_Path, Array, Array]) -> tuple[Array, None]:
        row, earned, drawn = given
        # what is seen at an end or behind it may be anything
        follows = jnp.where(row.continues > 0, (q[row.after] + drawn).max(), 0.0)
        target = row.reward + learner.bonus * earned + learner.discount * row.continues * follows
        gap = jnp.where(row.alive > 0, target - q[row.code, row.action], 0.0)
        return q.at[row.code, row.action].add(row.alive * learner.learning_rate * gap), None

    return jax.lax.scan(step, q, (path, earned, drawn), reverse=True)[0]


def _itself(state: Int[Array, ""]) -> Int[Array, ""]:
    return state
