"""Small stand-ins: a conditional model of two ways with known laws, and an environment with a fork."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control import BoxActions
from jensen.core import Datum, HasCondition, HasObservation
from jensen.datasets import Episodes
from jensen.dist import Categorical, DiagGaussian, GaussianRow


def box(width: int = 1, reach: float = 2.0, bounds: Any = "clip") -> BoxActions:
    edge = np.full(width, reach, np.float32)
    return BoxActions(-edge, edge, (width,), np.dtype(np.float32), bounds)


class TwoWays(HasObservation, HasCondition):
    """p(y | x): +1 with probability p, else −1, all columns alike, noise of deviation 0.05 on each."""

    data_dim: int = 1
    cond_dim: int = 2
    p: float = 0.5
    prior_law: ClassVar[type] = Categorical

    def prior_of(self, cond: Any) -> Categorical:
        return Categorical(jnp.log(jnp.array([1 - self.p, self.p])))

    def likelihood(self, z: Any, cond: Any) -> GaussianRow:
        return GaussianRow(jnp.full(self.data_dim, 2.0 * z - 1.0), jnp.full(self.data_dim, 0.05))

    def log_likelihood(self, z: Any, datum: Datum) -> Any:
        return self.likelihood(z, datum.cond).log_prob_entries(datum.x).sum()

    def log_joint(self, z: Any, datum: Datum) -> Any:
        return self.prior_of(datum.cond).log_prob(z) + self.log_likelihood(z, datum)


class SignOfLatent(HasObservation, HasCondition):
    """z ~ N(0, 1); y = sign(z), all columns alike, noise of deviation 0.01."""

    data_dim: int = 1
    cond_dim: int = 2
    prior_law: ClassVar[type] = DiagGaussian

    def prior_of(self, cond: Any) -> DiagGaussian:
        return DiagGaussian(jnp.zeros(1), jnp.ones(1))

    def likelihood(self, z: Any, cond: Any) -> GaussianRow:
        return GaussianRow(jnp.full(self.data_dim, jnp.sign(z[0])), jnp.full(self.data_dim, 0.01))

    def log_likelihood(self, z: Any, datum: Datum) -> Any:
        return self.likelihood(z, datum.cond).log_prob_entries(datum.x).sum()

    def log_joint(self, z: Any, datum: Datum) -> Any:
        return jnp.sum(self.prior_of(datum.cond).log_prob(z)) + self.log_likelihood(z, datum)


class Fork(gymnasium.Env):
    """Walk from (0, 0) up to y = 1; whoever is nearer than 0.25 to (0, ½) has met the tree.

    Args:
        ill_at: Step whose observation is not a number; never by default.
    """

    modes = ("left", "right")

    def __init__(self, ill_at: int = -1):
        self.observation_space = gymnasium.spaces.Box(-5, 5, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.ill_at = ill_at

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = np.array([self.np_random.normal() * 0.01, 0.0])
        self.clock = 0
        return self.at, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.clock += 1
        self.at += np.array([0.1 * action[0], 0.1])  # in place: observations must be copied
        if self.clock == self.ill_at:
            self.at[0] = np.nan
        crashed = bool(np.hypot(self.at[0], self.at[1] - 0.5) < 0.25)
        done = crashed or bool(self.at[1] >= 0.999)
        mode = "left" if self.at[0] < 0 else "right"
        info = {"is_success": not crashed, "mode": "" if crashed else mode} if done else {}
        return self.at, 1.0, done, False, info


def walks(count: int, share: float = 0.5, *, seed: int = 0) -> Episodes:
    """Demonstrate: sideways at full speed to ±0.5, then straight on."""
    rng = np.random.default_rng(seed)
    seen, done, modes = [], [], []
    for i in range(count):
        way = 1.0 if i >= share * count else -1.0
        at, path, acts = np.array([rng.normal() * 0.01, 0.0]), [], []
        path.append(at.copy())
        for _ in range(10):
            action = np.clip(np.clip(way * 0.5 - at[0], -0.1, 0.1) * 10 + rng.normal() * 0.03, -1, 1)
            at += np.array([0.1 * action, 0.1])
            acts.append([action])
            path.append(at.copy())
        seen.append(np.array(path))
        done.append(np.array(acts))
        modes.append("left" if way < 0 else "right")
    return Episodes(tuple(seen), tuple(done), modes=tuple(modes), name="walks")


KEY = jax.random.key(0)
