"""A point under PD control goes to one goal, then to another, in N dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from jaxtyping import Float

from jensen.envs.base import Demonstrator, Env
from jensen.envs.canvas import Circle, Rectangle
from jensen.envs.scene import Scene
from jensen.errors import InputError

STIFFNESS, DAMPING = 10.0, 5.0
TIME_STEP, SUBSTEPS = 0.005, 10
REACHED, TURNS = 0.05, 0.01  # within what distance a goal counts, and the demonstrator turns
_MARGIN, _FASTEST = 0.1, 5.0  # no set points in the cube, however chosen, drive it past these
_EULER = np.array([[1.0, TIME_STEP], [-TIME_STEP * STIFFNESS, 1.0 - TIME_STEP * DAMPING]])
_HELD = np.linalg.matrix_power(_EULER, SUBSTEPS)  # of (x − g, ẋ), with g held


class Particle(Env):
    """Go to the first goal, then to the second, after the particle task of implicit behaviour cloning.

    The observation (4N,) is position, velocity, first goal and second goal; the action (N,) in [0, 1]^N is
    a set point g, clipped to the box and held for 10 sub-steps of 0.005 s of ẍ = 10 (g − x) − 5 ẋ (Euler).
    Start and goals are uniform in [0, 1]^N. A goal is reached within 0.05, looked at once a step. Whether
    the first one has been reached is not in the observation; velocity tells it mostly. There is one way
    only, so ``modes`` is empty and ``info["mode"]`` is "".

    As in the original: gains, times, distances, the set point, 50 steps, sparse reward, the order of
    sampling, and the demonstrator, which heads for the first goal until it is within 0.01, then for the
    second. Different: the observation is one vector, not a dictionary; the goals count in their order
    (there, in any) and the episode ends once the second is reached (there it lasts 50 steps and the point
    must end at the second).

    Args:
        num_dims: N.
        render_mode: ``"rgb_array"`` or None; pictures show the first two dimensions.

    Source: Florence et al. 2021, "Implicit behavioral cloning", https://arxiv.org/abs/2109.00137.
    """

    modes: ClassVar[tuple[str, ...]] = ()
    agent_radius = 0.015
    demonstration_noise: ClassVar[float] = 0.0

    def __init__(self, num_dims: int = 2, render_mode: str | None = None):
        super().__init__(render_mode)
        if num_dims < 1:
            raise InputError(f"Particle: num_dims must be at least 1, not {num_dims}")
        self.num_dims = num_dims
        n = np.ones(num_dims, np.float32)
        self.observation_space = gymnasium.spaces.Box(
            np.concatenate([-_MARGIN * n, -_FASTEST * n, 0 * n, 0 * n]),
            np.concatenate([(1 + _MARGIN) * n, _FASTEST * n, n, n]),
            dtype=np.float32,
        )
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (num_dims,), np.float32)
        self._position, self._velocity = np.full((2, num_dims), 0.5) * [[1], [0]]
        self._first, self._second = self._position, self._position
        self._reached_first = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode: a start at rest and two goals, all uniform in the cube."""
        super().reset(seed=seed)
        self._position, self._first, self._second = self.np_random.uniform(size=(3, self.num_dims))
        self._velocity = np.zeros(self.num_dims)
        self._reached_first = self._within(self._first)
        self.path = [self.xy()]
        return self._observation(), {"is_success": False, "mode": ""}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold a set point for 0.05 s.

        Raises:
            InputError: The action is not N finite numbers.
        """
        target = self.clipped(action)
        offset, self._velocity = _HELD @ np.stack([self._position - target, self._velocity])
        self._position = target + offset
        success = self._reached_first and self._within(self._second)
        self._reached_first |= self._within(self._first)
        self.path.append(self.xy())
        return self._observation(), float(success), success, False, {"is_success": success, "mode": ""}

    def scene(self) -> Scene:
        """Return this episode's start and goals, in the first two dimensions."""
        start = self.path[0] if self.path else self.xy()
        goals = [self._flat(goal) for goal in (self._first, self._second)]
        return Scene(
            circles=[],
            rectangles=[],
            start=Circle(float(start[0]), float(start[1]), self.agent_radius),
            goals=[Circle(float(g[0]), float(g[1]), REACHED) for g in goals],
            bounds=Rectangle(-_MARGIN, -_MARGIN, 1 + _MARGIN, 1 + _MARGIN),
        )

    def demonstrator(self, mode: str, noise: float | None, rng: np.random.Generator) -> Demonstrator:
        """Return one that sets its point at the first goal until it is there, then at the second."""
        n, scale = self.num_dims, self.demonstration_noise if noise is None else noise
        reached = False

        def act(observation: np.ndarray) -> np.ndarray:
            nonlocal reached
            position, first, second = observation[:n], observation[2 * n : 3 * n], observation[3 * n :]
            reached = reached or float(np.linalg.norm(position - first)) < TURNS
            wanted = (second if reached else first) + scale * rng.standard_normal(n)
            return np.clip(wanted, 0, 1).astype(np.float32)

        return act

    def xy(self) -> Float[np.ndarray, "2"]:
        """Return the first two coordinates of the position; the second is ½ if there is one only."""
        return self._flat(self._position)

    def _flat(self, point: np.ndarray) -> np.ndarray:
        return np.array([point[0], point[1] if self.num_dims > 1 else 0.5])

    def _within(self, goal: np.ndarray) -> bool:
        return float(np.linalg.norm(self._position - goal)) < REACHED

    def _observation(self) -> np.ndarray:
        return np.concatenate([self._position, self._velocity, self._first, self._second]).astype(np.float32)
