"""Any simulator as a Gymnasium environment: one of it, or many copies stepped in one call."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector.utils import batch_space

from jensen.envs.actions import rows
from jensen.envs.simulator import Simulator
from jensen.errors import InputError, nearest
from jensen.typing import Array, Bool, Int, PRNGKey, PRNGKeys, PyTree

_NEVER = np.iinfo(np.int32).max


class SimulatorEnv(gymnasium.Env[np.ndarray, Any]):
    """A simulator as a Gymnasium environment; its step limit is the registration's affair.

    Actions outside a box are clipped to it; one that is not finite, or no choice of the space, is refused.

    Args:
        simulator: The world.
        render_mode: ``"rgb_array"`` or None.

    Example:
        >>> from jensen.envs import DeepSea
        >>> env = SimulatorEnv(DeepSea(4))
        >>> observation, info = env.reset(seed=0)
        >>> int(observation.argmax())
        0
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  Gymnasium's

    def __init__(self, simulator: Simulator, render_mode: str | None = None):
        _check_mode(render_mode, self.metadata)
        self.simulator = simulator
        self.render_mode = render_mode
        self.action_space = simulator.action_space
        self.observation_space = simulator.observation_space
        self._key: PRNGKey | None = None
        self._state: PyTree = None

    @property
    def state(self) -> PyTree:
        """The simulator's state, as numpy arrays."""
        return jax.tree.map(np.asarray, self._begun())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        if self._key is None or seed is not None:
            self._key = jax.random.key(_bits(self.np_random))
        self._key, self._state, seen, info = _begin(self.simulator, self._key)
        return np.array(seen), jax.tree.map(np.array, info)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act.

        Raises:
            InputError: No episode has begun, or the action cannot be taken.
        """
        key, state = self._key, self._begun()
        row = rows(action, self.action_space, type(self.simulator).__name__)
        self._key, moved, seen, info = _move(self.simulator, key, state, row)
        self._state = moved.state
        ended = float(moved.continues) < 0.5
        return np.array(seen), float(moved.reward), ended, False, jax.tree.map(np.array, info)

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw the state; None unless made for ``"rgb_array"``."""
        return None if self.render_mode is None else self.simulator.picture(self.state)

    def _begun(self) -> PyTree:
        if self._state is None:
            raise InputError(f"{type(self.simulator).__name__}: no episode has begun; call reset() first")
        return self._state


class Copies(NamedTuple):
    """Where the copies of a vector environment are, each array with a leading axis N.

    Attributes:
        key: Randomness to come.
        state: The simulator's states.
        steps: Steps since each episode began.
        over: Whether the episode has ended, so that the next step begins another.
    """

    key: PRNGKeys
    state: PyTree
    steps: Int[Array, "n"]
    over: Bool[Array, "n"]


class SimulatorVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, Any, np.ndarray]):
    """N copies of a simulator, stepped in one compiled call; what ``gymnasium.make_vec`` makes.

    An episode that has ended begins anew in the *next* step, which ignores its action and pays nothing
    (``AutoresetMode.NEXT_STEP``). Copy i seeded with s is `SimulatorEnv` seeded with s + i, number for
    number, as in ``gymnasium.vector.SyncVectorEnv``.

    Args:
        simulator: The world.
        num_envs: N.
        max_episode_steps: When to cut an episode off; the simulator's own limit where None.
        render_mode: ``"rgb_array"`` or None.
    """

    metadata: ClassVar[dict[str, Any]] = {
        **SimulatorEnv.metadata,
        "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        simulator: Simulator,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        _check_mode(render_mode, self.metadata)
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}; it must be at least 1")
        self.simulator = simulator
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_action_space = simulator.action_space
        self.single_observation_space = simulator.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._limit = jnp.int32(max_episode_steps or simulator.max_steps or _NEVER)
        self._copies: Copies | None = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every copy."""
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in self._each()]
        if len(seeds) != self.num_envs:
            raise InputError(f"reset: {len(seeds)} seeds for {self.num_envs} copies")
        old = None if self._copies is None else self._copies.key
        if old is None or any(s is not None for s in seeds):
            fresh = [_bits(seeding.np_random(s)[0]) if old is None or s is not None else 0 for s in seeds]
            key = jax.vmap(jax.random.key)(jnp.asarray(fresh, jnp.uint32))
            kept = np.array([old is not None and s is None for s in seeds])
            old = key if old is None else jnp.where(kept, old, key)
        self._copies, seen, info = _begin_all(self.simulator, old)
        return np.array(seen), self._infos(info)

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act in every copy.

        Raises:
            InputError: No episode has begun, or an action cannot be taken.
        """
        copies = self._begun()
        row = rows(actions, self.single_action_space, type(self.simulator).__name__, (self.num_envs,))
        copies, seen, reward, ended, info = _move_all(self.simulator, copies, row, self._limit)
        self._copies = copies
        cut = np.array(copies.steps >= self._limit)
        return np.array(seen), np.array(reward, np.float64), np.array(ended), cut, self._infos(info)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draw every copy; None unless made for ``"rgb_array"``."""
        if self.render_mode is None:
            return None
        state = jax.tree.map(np.asarray, self._begun().state)
        one = [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in self._each()]
        return tuple(self.simulator.picture(each) for each in one)

    def _each(self) -> range:
        return range(self.num_envs)

    def _begun(self) -> Copies:
        if self._copies is None:
            raise InputError(f"{type(self.simulator).__name__}: no episode has begun; call reset() first")
        return self._copies

    def _infos(self, info: dict[str, Array]) -> dict[str, Any]:
        """Gymnasium's layout: arrays over copies, each with whose entries are meant."""
        told: dict[str, Any] = {name: np.array(value) for name, value in info.items()}
        return told | {f"_{name}": np.ones(self.num_envs, bool) for name in told}


@eqx.filter_jit
def _begin(simulator: Simulator, key: PRNGKey) -> tuple[PRNGKey, PyTree, Array, dict[str, Array]]:
    key, now = jax.random.split(key)
    state = simulator.initial(key=now)
    return key, state, simulator.observe(state), simulator.info(state)


@eqx.filter_jit
def _move(simulator: Simulator, key: Any, state: PyTree, action: Any) -> tuple[Any, ...]:
    key, now = jax.random.split(key)
    moved = simulator.step(state, action, key=now)
    return key, moved, simulator.observe(moved.state), simulator.info(moved.state)


@eqx.filter_jit
def _begin_all(simulator: Simulator, keys: PRNGKeys) -> tuple[Copies, Array, dict[str, Array]]:
    keys, now = _split(keys)
    state = jax.vmap(lambda key: simulator.initial(key=key))(now)
    copies = Copies(keys, state, jnp.zeros(len(keys), jnp.int32), jnp.zeros(len(keys), bool))
    return copies, jax.vmap(simulator.observe)(state), jax.vmap(simulator.info)(state)


@eqx.filter_jit
def _move_all(simulator: Simulator, copies: Copies, actions: Any, limit: Int[Array, ""]) -> tuple[Any, ...]:
    keys, now = _split(copies.key)
    over = copies.over
    moved = jax.vmap(lambda s, a, k: simulator.step(s, a, key=k))(copies.state, actions, now)

    def renewed(_: None) -> PyTree:
        begun = jax.vmap(lambda key: simulator.initial(key=key))(now)
        return jax.tree.map(
            lambda new, old: jnp.where(over.reshape(-1, *[1] * (old.ndim - 1)), new, old), begun, moved.state
        )

    # the condition lies outside vmap, so that starts are drawn only where a copy needs one
    state = jax.lax.cond(over.any(), renewed, lambda _: moved.state, None)
    steps = jnp.where(over, 0, copies.steps + 1)
    ended = ~over & (moved.continues < 0.5)
    reward = jnp.where(over, 0.0, moved.reward)
    copies = Copies(keys, state, steps, ended | (steps >= limit))
    return copies, jax.vmap(simulator.observe)(state), reward, ended, jax.vmap(simulator.info)(state)


def _split(keys: PRNGKeys) -> tuple[PRNGKeys, PRNGKeys]:
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


def _bits(rng: np.random.Generator) -> np.uint32:
    """A seed for jax from Gymnasium's own."""
    return np.uint32(rng.integers(2**32))


def _check_mode(mode: str | None, metadata: dict[str, Any]) -> None:
    if mode is not None and mode not in metadata["render_modes"]:
        raise InputError(f"render_mode {mode!r} is unknown{nearest(mode, metadata['render_modes'])}")
