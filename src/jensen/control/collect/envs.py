"""Many environments behind one face: copies stepped here, or a Gymnasium vector environment of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from jensen.errors import InputError

_FLATTEN = "wrap the environment in gymnasium.wrappers.FlattenObservation"


class Taken(NamedTuple):
    """What one step in N environments brought.

    Attributes:
        observations: What followed each action, (N, ...); of an episode that ended, its last observation.
        rewards: (N,).
        terminated: (N,).
        truncated: (N,).
        real: False where nothing was done: an environment that waits, or only was reset.
        begun: True where an environment began an episode by itself.
        seen: What each policy sees next, (N, ...): where one has begun, its first observation.
        infos: What is known of each, (N,).
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    real: np.ndarray
    begun: np.ndarray
    seen: np.ndarray
    infos: list[dict[str, Any]]


class EnvFailedError(Exception):
    """An environment that cannot go on.

    Attributes:
        index: Which one; None where a vector environment does not say.
        what: What it did.
    """

    def __init__(self, index: int | None, what: str):
        super().__init__(what)
        self.index, self.what = index, what


class AbstractEnvs(ABC):
    """N environments.

    Attributes:
        num: N.
        name: What they are called.
        actions: Gymnasium's space of one environment's actions.
        observations: Gymnasium's space of one environment's observations.
        restarts: Whether ``restart`` begins episodes; if not, environments do so by themselves.
        waits: Whether an environment may be left alone.
    """

    num: int
    name: str
    actions: Any
    observations: Any
    restarts: bool
    waits: bool

    @abstractmethod
    def begin(self, seed: int) -> np.ndarray:
        """Reset all, environment i with ``seed + i``; return what each shows, (N, ...)."""

    @abstractmethod
    def restart(self, seeds: dict[int, int]) -> np.ndarray:
        """Reset some, by place; return what all show, (N, ...)."""

    @abstractmethod
    def step(self, actions: np.ndarray, live: np.ndarray) -> Taken:
        """Step those that are live.

        Raises:
            EnvFailedError: One raised, or showed something of another shape.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what was made here."""


class Copies(AbstractEnvs):
    """Environments stepped one after another, so that each error has an address.

    Args:
        envs: One or more.
        name: What they are called.
        owned: Whether they were made here, and are closed here.
        vectors: Whether observations must be vectors.
    """

    def __init__(self, envs: list[Any], name: str, *, owned: bool, vectors: bool = False):
        self.num, self.name, self.owned, self.vectors = len(envs), name, owned, vectors
        self.actions, self.observations = envs[0].action_space, envs[0].observation_space
        self.restarts = self.waits = True
        self._envs = envs
        self._seen: list[np.ndarray] = []

    def begin(self, seed: int) -> np.ndarray:
        """Reset all."""
        self._seen = []
        for i, env in enumerate(self._envs):
            self._seen.append(self._checked(self._reset(env, i, seed + i), i))
        return np.stack(self._seen)

    def restart(self, seeds: dict[int, int]) -> np.ndarray:
        """Reset some."""
        for i, seed in seeds.items():
            self._seen[i] = self._checked(self._reset(self._envs[i], i, seed), i)
        return np.stack(self._seen)

    def step(self, actions: np.ndarray, live: np.ndarray) -> Taken:
        """Step those that are live, in order."""
        rewards, (terminated, truncated) = np.zeros(self.num), np.zeros((2, self.num), bool)
        infos: list[dict[str, Any]] = [{}] * self.num
        for i in np.flatnonzero(live).tolist():
            try:
                seen, reward, over, cut, infos[i] = self._envs[i].step(actions[i])
                rewards[i], terminated[i], truncated[i] = float(reward), bool(over), bool(cut)
            except Exception as error:  # whatever a user's environment may raise
                raise EnvFailedError(i, _raised(error)) from error
            self._seen[i] = self._checked(seen, i)
        seen = np.stack(self._seen)
        return Taken(seen, rewards, terminated, truncated, live.copy(), np.zeros(self.num, bool), seen, infos)

    def close(self) -> None:
        """Close them, if they were made here."""
        for env in self._envs if self.owned else ():
            env.close()

    def _reset(self, env: Any, i: int, seed: int) -> Any:
        try:
            return env.reset(seed=seed)[0]
        except Exception as error:
            raise EnvFailedError(i, f"{_raised(error)} when it was reset with seed {seed}") from error

    def _checked(self, observation: Any, i: int) -> np.ndarray:
        _check_plain(observation, self.name)
        values = np.array(observation)  # a copy: some environments hand out the array they go on writing to
        if values.dtype.kind not in "buif":
            raise InputError(f"{self.name}: observations are {values.dtype}, not numbers")
        if self.vectors and values.ndim != 1:
            raise InputError(
                f"{self.name}: an observation has shape {values.shape}, vectors are expected; {_FLATTEN}"
            )
        if self._seen and values.shape != self._seen[0].shape:
            raise EnvFailedError(
                i, f"showed an observation of shape {values.shape} after ones of {self._seen[0].shape}"
            )
        return values


class Vector(AbstractEnvs):
    """A ``gymnasium.vector.VectorEnv`` in whichever of the autoreset modes it says it has.

    Args:
        env: The user's; it is not closed.

    Raises:
        InputError: It does not say which mode, or its observations are dictionaries or tuples.
    """

    def __init__(self, env: Any):
        mode = env.metadata.get("autoreset_mode")
        self.mode = str(getattr(mode, "name", mode)).upper()
        self.num, self.name = int(env.num_envs), env.spec.id if env.spec else type(env.unwrapped).__name__
        if self.mode not in ("NEXT_STEP", "SAME_STEP", "DISABLED"):
            raise InputError(
                f"{self.name}: metadata['autoreset_mode'] is {mode!r}, so that nobody knows which steps are "
                "resets; set it to a gymnasium.vector.AutoresetMode"
            )
        self.actions, self.observations = env.single_action_space, env.single_observation_space
        if type(self.observations).__name__ in ("Dict", "Tuple", "Sequence", "Graph", "Text", "OneOf"):
            raise InputError(
                f"{self.name}: observations are a {type(self.observations).__name__}; {_FLATTEN}"
            )
        self.restarts, self.waits = self.mode == "DISABLED", False
        self._env = env
        self._ended = np.zeros(self.num, bool)

    def begin(self, seed: int) -> np.ndarray:
        """Reset all."""
        self.forget()
        return self._called(lambda: self._env.reset(seed=seed))[0]

    def restart(self, seeds: dict[int, int]) -> np.ndarray:
        """Reset some, which only DISABLED knows how to."""
        mask = np.isin(np.arange(self.num), list(seeds))
        each = [seeds.get(i) for i in range(self.num)]
        return self._called(lambda: self._env.reset(seed=each, options={"reset_mask": mask}))[0]

    def step(self, actions: np.ndarray, live: np.ndarray) -> Taken:
        """Step all."""
        return self.read(*self._called(lambda: self._env.step(actions)))

    def forget(self) -> None:
        """Take it that all were reset."""
        self._ended[:] = False

    def read(self, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: dict[str, Any]) -> Taken:
        """Say what a step brought: which are only resets, and what was seen last, depends on the mode."""
        over = terminated | truncated
        none, each = np.zeros(self.num, bool), [_of_one(infos, i) for i in range(self.num)]
        if self.mode == "DISABLED":
            return Taken(seen, rewards, terminated, truncated, ~none, none, seen, each)
        if self.mode == "NEXT_STEP":
            reset, self._ended = self._ended, over
            return Taken(seen, rewards, terminated & ~reset, truncated & ~reset, ~reset, reset, seen, each)
        last = seen
        if over.any():
            last, final = seen.copy(), infos.get("final_info", {})
            for i in np.flatnonzero(over).tolist():
                last[i], each[i] = infos["final_obs"][i], _of_one(final, i)
        return Taken(last, rewards, terminated, truncated, ~none, over, seen, each)

    def close(self) -> None:
        """Leave it open: it is the user's."""

    def _called(self, call: Any) -> Any:
        try:
            seen, *rest = call()
        except Exception as error:
            raise EnvFailedError(None, _raised(error)) from error
        _check_plain(seen, self.name)
        return np.array(seen), *rest


def _of_one(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """Return what a vector environment says of one episode's end."""
    known = (name for name in ("is_success", "mode") if name in infos)
    return {name: infos[name][i] for name in known if infos.get(f"_{name}", [True] * (i + 1))[i]}


def _check_plain(observation: Any, name: str) -> None:
    if isinstance(observation, dict | tuple):
        raise InputError(f"{name}: observations are a {type(observation).__name__}; {_FLATTEN}")


def _raised(error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), "")
    return f"raised {type(error).__name__}" + (f" ({reason})" if reason else "")
