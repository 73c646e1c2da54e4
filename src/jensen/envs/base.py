"""What jensen's environments share: clipped actions, the end of an episode, pictures."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import gymnasium
import numpy as np
from jaxtyping import Float, UInt8

from jensen.envs.actions import clipped
from jensen.envs.scene import Scene, draw
from jensen.errors import InputError, nearest

Demonstrator: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""One episode's demonstrator: an observation (S,) -> an action (A,)."""


class Env(gymnasium.Env[np.ndarray, np.ndarray], abc.ABC):
    """An environment with several right ways, which can say which one was taken.

    Actions outside the box are clipped to it. The reward is 1 on success and 0 else. The info that ends an
    episode by itself or, at any later time, by a step limit holds ``is_success`` (bool) and ``mode`` (the way
    taken, "" for none); it holds them at every step, so that a limit imposed from outside finds them too.

    Attributes:
        modes: Names of the ways, left to right; empty where there is only one.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  Gymnasium's
    modes: ClassVar[tuple[str, ...]] = ()
    agent_radius: ClassVar[float] = 0.03

    action_space: gymnasium.spaces.Box
    observation_space: gymnasium.spaces.Box

    def __init__(self, render_mode: str | None = None):
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InputError(
                f"render_mode {render_mode!r} is unknown{nearest(render_mode, self.metadata['render_modes'])}"
            )
        self.render_mode = render_mode
        self.path: list[np.ndarray] = []

    @abc.abstractmethod
    def scene(self) -> Scene:
        """Return the shapes to draw beneath paths."""

    @abc.abstractmethod
    def demonstrator(self, mode: str, noise: float | None, rng: np.random.Generator) -> Demonstrator:
        """Return the demonstrator of one episode.

        Args:
            mode: The way it takes, one of ``modes``; "" where there are none.
            noise: Standard deviation of the Gaussian noise on every entry of its actions, in the action's
                units; None for the environment's own choice.
            rng: Randomness of the noise.
        """

    @abc.abstractmethod
    def xy(self) -> Float[np.ndarray, "2"]:
        """Return where the agent is in a picture."""

    def clipped(self, action: Any) -> np.ndarray:
        """Return the action in the box, double precision.

        Raises:
            InputError: It has another shape, or entries that are not finite numbers.
        """
        return clipped(action, self.action_space, type(self).__name__)

    def render(self) -> UInt8[np.ndarray, "H W 3"] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the world from above with the path so far; None unless made for ``"rgb_array"``.

        Returns:
            Red, green and blue; the longer side has 192 pixels. Worlds of more dimensions show the first two.
        """
        if self.render_mode is None:
            return None
        if not self.path:
            raise InputError(f"{type(self).__name__}: render() before reset(); there is no episode to show")
        return draw(self.scene(), np.stack(self.path), self.agent_radius)
