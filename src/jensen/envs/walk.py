"""A point that walks in the plane between obstacles to a goal."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import gymnasium
import numpy as np
from jaxtyping import Float

from jensen.envs.base import Demonstrator, Env
from jensen.envs.canvas import Circle, Rectangle
from jensen.envs.scene import Scene

Point = tuple[float, float]


class Walk(Env):
    """A point walks from a start to a goal; touching an obstacle ends the episode as a failure.

    The observation is its position (2,), which is the whole state. The action (2,) in [−1, 1]² is the step in
    units of ``step_length``, clipped to the box. The world's edge stops the point. The whole stretch of a
    step is tested against the obstacles, not its end alone. ``info["mode"]`` is the way by which the point
    last came past y = 0 from below.

    Args:
        render_mode: ``"rgb_array"`` or None.
    """

    step_length: ClassVar[float]
    start: ClassVar[Point]
    start_noise: ClassVar[float]
    goal: ClassVar[Circle]
    bounds: ClassVar[Rectangle]
    circles: ClassVar[tuple[Circle, ...]] = ()
    rectangles: ClassVar[tuple[Rectangle, ...]] = ()
    demonstration_noise: ClassVar[float]

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode)
        b = self.bounds
        low, high = np.array([b.left, b.bottom], np.float32), np.array([b.right, b.top], np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._low, self._high = low.astype(np.float64), high.astype(np.float64)
        self._position = np.zeros(2)
        self._mode = ""

    @abc.abstractmethod
    def passed(self, x: float) -> str:
        """Return the mode of a point that crosses y = 0 at x."""

    @abc.abstractmethod
    def heading(self, mode: str, position: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """Return the demonstrator's direction, of length one at most, before noise."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode at the start, shifted by Gaussian noise."""
        super().reset(seed=seed)
        shift = self.start_noise * np.clip(self.np_random.standard_normal(2), -3, 3)
        self._position = np.asarray(self.start) + shift
        self._mode = ""
        self.path = [self._position]
        return self._observation(), self._info(False)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Walk one step.

        Raises:
            InputError: The action is not two finite numbers.
        """
        before = self._position
        after = np.clip(before + self.step_length * self.clipped(action), self._low, self._high)
        self._position = after
        self.path.append(after)
        if before[1] < 0 <= after[1]:
            share = -before[1] / (after[1] - before[1])
            self._mode = self.passed(float(before[0] + share * (after[0] - before[0])))
        crashed = any(_meets_circle(before, after, c) for c in self.circles)
        crashed |= any(_meets_rectangle(before, after, r) for r in self.rectangles)
        arrived = not crashed and float(np.hypot(*(after - self._goal()))) < self.goal.radius
        return self._observation(), float(arrived), crashed or arrived, False, self._info(arrived)

    def scene(self) -> Scene:
        """Return the obstacles, the region of starts, the goal and the world's edge."""
        start = Circle(*self.start, max(3 * self.start_noise, self.agent_radius))
        return Scene(
            circles=list(self.circles),
            rectangles=list(self.rectangles),
            start=start,
            goals=[self.goal],
            bounds=self.bounds,
        )

    def demonstrator(self, mode: str, noise: float | None, rng: np.random.Generator) -> Demonstrator:
        """Return one that takes the way ``mode``, with independent noise on every step."""
        scale = self.demonstration_noise if noise is None else noise

        def act(observation: np.ndarray) -> np.ndarray:
            wanted = self.heading(mode, observation.astype(np.float64)) + scale * rng.standard_normal(2)
            return np.clip(wanted, -1, 1).astype(np.float32)

        return act

    def to_goal(self, position: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """Return the direction of the goal, shorter than one where a whole step would pass it."""
        return self.toward(position, (self.goal.x, self.goal.y))

    def toward(self, position: Float[np.ndarray, "2"], target: Point) -> Float[np.ndarray, "2"]:
        """Return the direction of a target, shorter than one where a whole step would pass it."""
        way = np.asarray(target) - position
        return way / max(float(np.hypot(*way)), self.step_length)

    def xy(self) -> Float[np.ndarray, "2"]:
        """Return the position."""
        return self._position

    def _goal(self) -> np.ndarray:
        return np.asarray((self.goal.x, self.goal.y))

    def _observation(self) -> np.ndarray:
        return self._position.astype(np.float32)

    def _info(self, success: bool) -> dict[str, Any]:
        return {"is_success": success, "mode": self._mode}


def _meets_circle(p: np.ndarray, q: np.ndarray, circle: Circle) -> bool:
    """Whether the stretch from p to q touches a disc."""
    way, centre = q - p, np.asarray((circle.x, circle.y))
    along = np.clip((centre - p) @ way / max(float(way @ way), 1e-12), 0, 1)
    return float(np.hypot(*(p + along * way - centre))) < circle.radius


def _meets_rectangle(p: np.ndarray, q: np.ndarray, r: Rectangle) -> bool:
    """Whether the stretch from p to q touches a rectangle: the slabs' intervals overlap within [0, 1].

    Its sides belong to it: a point at the world's edge stands on the side of a wall that ends there.
    """
    enter, leave = 0.0, 1.0
    for a, b, low, high in ((p[0], q[0], r.left, r.right), (p[1], q[1], r.bottom, r.top)):
        if a == b:
            if not low <= a <= high:
                return False
            continue
        first, last = sorted(((low - a) / (b - a), (high - a) / (b - a)))
        enter, leave = max(enter, first), min(leave, last)
    return bool(enter <= leave)
