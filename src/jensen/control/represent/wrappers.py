"""Gymnasium wrappers that show a learner codes in place of observations; whoever learns need not know."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jensen.control.collect.envs import Taken, Vector
from jensen.control.replay.data import width_of
from jensen.control.replay.episode import Track
from jensen.control.replay.layout import Layout
from jensen.control.represent.encoders import (
    AbstractEncoder,
    Refresh,
    Shown,
    actions_read,
    encoder_of,
    refreshed,
)
from jensen.control.spaces import action_space
from jensen.errors import InputError, MissingExtraError

try:
    import gymnasium
except ImportError:
    raise MissingExtraError("EncodedObservation needs Gymnasium: pip install 'jensen[rl]'") from None


class Representation:
    """An encoder that several environments share, and refresh together.

    Args:
        env: One of the environments, for its spaces.
        source: What ``fit.*`` returned, an ``Inference``, or a function from rows (N, D) to codes (N, L). A
            posterior that filters carries its belief along each episode: codes are then (carry, E[z_t]).
        refresh: When it is fitted anew; never by default.
        seed: Randomness of beliefs.

    Raises:
        InputError: Observations of another width than what was fitted, a posterior that cannot speak of
            observations as they come, a space that is not supported.
    """

    def __init__(self, env: Any, source: Any, *, refresh: Refresh | None = None, seed: int = 0):
        vector = isinstance(env, gymnasium.vector.VectorEnv)
        self.space = action_space(env.single_action_space if vector else env.action_space)
        self.layout = Layout.of(env.single_observation_space if vector else env.observation_space)
        self.encoder: AbstractEncoder = encoder_of(source, self.layout, self.space)
        self.refresh, self.source, self.seed = refresh, source, seed
        self.refits = 0
        if refresh is not None:
            refresh.replay.expect(self.space, self.layout)
            self._due = refresh.replay.added + refresh.every

    def codes(self, num: int | None = None) -> Any:
        """Return Gymnasium's space of codes, of N environments where a number is given."""
        shape = (self.encoder.dim,) if num is None else (num, self.encoder.dim)
        return gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def see(
        self,
        memory: Any,
        observations: np.ndarray,
        acts: np.ndarray | None,
        *,
        fresh: Any = None,
        live: Any = None,
    ) -> tuple[Any, np.ndarray]:
        """Encode what N environments show after actions as models read them; None where episodes begin."""
        every = np.ones(len(observations), bool)
        if acts is None:
            acts = np.zeros((len(observations), width_of(self.space)), np.float32)
            fresh = every if fresh is None else fresh
        fresh = ~every if fresh is None else fresh
        shown = Shown(self.layout.rows(observations), acts, fresh, every if live is None else live)
        return self.encoder.see(memory, shown)

    def keep(self, track: Track, *, terminated: bool) -> None:
        """Put an episode into the replay, and fit anew where that is due."""
        if self.refresh is None or not track.steps:
            return
        replay = self.refresh.replay
        replay.append(track.end(terminated=terminated, truncated=not terminated))
        if replay.added >= self._due:
            self.source = self.refresh.refit(self.source, replay)
            self.encoder = refreshed(self.encoder, self.source, self.layout, self.space)
            self._due = replay.added + self.refresh.every
            self.refits += 1


class EncodedObservation(gymnasium.Wrapper):
    """An environment that shows codes; rewards, actions and ends are its own.

    Observations enter as ``Replay.to_rows`` and ``to_data`` lay them out: flattened, bytes divided by 255. A
    belief begins anew with every episode. After ``reset(seed=)`` codes repeat.

    Args:
        env: With Box or Discrete actions.
        source: As of ``Representation``; or one, to share it with other environments.
        refresh: When it is fitted anew; never by default.

    Raises:
        InputError: As ``Representation``.

    Example:
        >>> import gymnasium, numpy as np
        >>> env = EncodedObservation(gymnasium.make("CartPole-v1"), lambda rows: rows[:, :2] ** 2)
        >>> env.reset(seed=0)[0].shape, env.observation_space.shape
        ((2,), (2,))
    """

    def __init__(self, env: Any, source: Any, *, refresh: Refresh | None = None):
        super().__init__(env)
        self.shared = (
            source if isinstance(source, Representation) else Representation(env, source, refresh=refresh)
        )
        self.observation_space = self.shared.codes()
        self._memory: Any = None
        self._begun = False
        self._track: Track | None = None
        self._resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, and a belief."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._resets = 0 if seed is not None else self._resets + 1
        key = jax.random.fold_in(jax.random.key(self.shared.seed), self._resets)
        key = key if seed is None else jax.random.fold_in(key, seed % 2**31)
        self._memory, self._begun = self.shared.encoder.begin(1, key=key), True
        self._track = self._tracked(observation)
        return self._code(observation, None), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Step, and encode what is seen.

        Raises:
            InputError: ``step`` before ``reset``.
        """
        if not self._begun:
            raise InputError("EncodedObservation: step() before reset(); there is no belief to go on from")
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._track is not None:
            self._track.take(np.array(action), float(reward), np.array(observation))
            if terminated or truncated:
                self.shared.keep(self._track, terminated=bool(terminated))
                self._track = None
        acts = actions_read(self.shared.space, np.asarray(action)[None])
        return self._code(observation, acts), reward, terminated, truncated, info

    def _code(self, observation: Any, acts: np.ndarray | None) -> np.ndarray:
        self._memory, codes = self.shared.see(self._memory, np.asarray(observation)[None], acts)
        return codes[0]

    def _tracked(self, observation: Any) -> Track | None:
        return None if self.shared.refresh is None else Track(0, None, np.array(observation), wanted=True)


class EncodedVectorObservation(gymnasium.vector.VectorWrapper):
    """A vector environment that shows codes: one belief each, begun anew wherever an episode begins.

    All autoreset modes are understood; under SAME_STEP ``info["final_obs"]`` holds codes too.

    Args:
        env: With Box or Discrete actions.
        source: As of ``Representation``; or one, to share it with other environments.
        refresh: When it is fitted anew; never by default.

    Raises:
        InputError: As ``Representation``; a vector environment that does not say how it resets.

    Example:
        >>> import gymnasium
        >>> env = gymnasium.make_vec("CartPole-v1", 3)
        >>> env = EncodedVectorObservation(env, lambda rows: rows[:, :2] ** 2)
        >>> env.reset(seed=0)[0].shape
        (3, 2)
    """

    def __init__(self, env: Any, source: Any, *, refresh: Refresh | None = None):
        super().__init__(env)
        self.shared = (
            source if isinstance(source, Representation) else Representation(env, source, refresh=refresh)
        )
        self.single_observation_space = self.shared.codes()
        self.observation_space = self.shared.codes(self.num_envs)
        self._reader = Vector(env)
        self._memory: Any = None
        self._begun = False
        self._tracks: list[Track | None] = [None] * self.num_envs
        self._codes = np.zeros((self.num_envs, self.shared.encoder.dim), np.float32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes, everywhere or where ``options["reset_mask"]`` says so."""
        again = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            again = np.array(options["reset_mask"], bool)
        seen, info = self.env.reset(seed=seed, options=options)
        self._reader.forget()
        if not self._begun or again.all():
            first = 0 if seed is None else int(np.ravel(seed)[0] or 0)
            key = jax.random.fold_in(jax.random.key(self.shared.seed), first % 2**31)
            self._memory, self._begun = self.shared.encoder.begin(self.num_envs, key=key), True
        seen = np.array(seen)
        for i in np.flatnonzero(again).tolist():
            self._begin(i, seen[i])
        return self._see(seen, None, live=again), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and encode what is seen.

        Raises:
            InputError: ``step`` before ``reset``.
        """
        if not self._begun:
            raise InputError(
                "EncodedVectorObservation: step() before reset(); there is no belief to go on from"
            )
        got = self.env.step(actions)
        taken = self._reader.read(*got)
        self._note(taken, np.array(actions))
        acts = actions_read(self.shared.space, actions)
        codes, info = self._see(taken.observations, acts, live=taken.real), dict(got[4])
        if taken.begun.any():
            if "final_obs" in info:
                info["final_obs"] = np.full(self.num_envs, None)
                for i in np.flatnonzero(taken.begun).tolist():
                    info["final_obs"][i] = codes[i]
            codes = self._see(taken.seen, None, live=taken.begun)
        return codes, *got[1:4], info

    def _see(self, observations: np.ndarray, acts: np.ndarray | None, *, live: np.ndarray) -> np.ndarray:
        """Return codes of all, new ones where something is shown."""
        fresh = live if acts is None else None
        self._memory, codes = self.shared.see(self._memory, observations, acts, fresh=fresh, live=live)
        self._codes = np.where(live[:, None], codes, self._codes)
        return self._codes.copy()

    def _note(self, taken: Taken, actions: np.ndarray) -> None:
        """Keep what happened, where an encoder is to be refreshed."""
        over = taken.terminated | taken.truncated
        for i, track in enumerate(self._tracks):
            if track is not None and taken.real[i]:
                track.take(actions[i], float(taken.rewards[i]), taken.observations[i])
                if over[i]:
                    self.shared.keep(track, terminated=bool(taken.terminated[i]))
                    self._tracks[i] = None
            if taken.begun[i]:
                self._begin(i, taken.seen[i])

    def _begin(self, i: int, first: Any) -> None:
        if self.shared.refresh is not None:
            self._tracks[i] = Track(0, None, np.array(first), wanted=True)
