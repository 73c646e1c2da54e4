"""The obstacle plane of Embed to Control: a disc among six, seen as one small picture."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.envs.canvas import AGENT, GOALS, Canvas, Circle, Rectangle
from jensen.envs.frames import enlarged, frame_space, framed
from jensen.envs.simulator import Simulator
from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, PRNGKey

SIDE = 40
STEP = 3.0
AGENT_RADIUS, OBSTACLE_RADIUS = 2.0, 2.5
OBSTACLES = ((5.5, 20.5), (12.5, 20.5), (27.5, 20.5), (35.5, 20.5), (20.5, 10.5), (20.5, 30.5))
"""Centres: a wall across the middle with a gap, and one obstacle before and one behind it."""
REACHED = 2.0
_GAP, _TRIES, _REFUGE = 1e-2, 64, (5.0, 5.0)


class Planar(Simulator):
    """Bring a disc to a place in a plane of 40 × 40 pixels with six round obstacles.

    The state is its centre (x, y) in pixels, x to the right and y *down* as in the picture, (2,); the action
    the displacement, ±3 pixels each way, (2,). Obstacles and edge stop it: it goes as far as it can straight
    ahead. r = −(‖p' − goal‖ / 40)², with p' the place after the step. Starts are uniform over the free
    plane. Nothing ends an episode but its 40 steps; ``info["is_success"]`` says whether the centre is within
    2 pixels of the goal. The picture shows disc and obstacles, white on black, not the goal.

    As in Watter et al. (2015): size, picture, bounded displacements, six obstacles. Theirs are not given in
    numbers; these are common ones.

    Args:
        goal: Its place, x and y in pixels.
        noise: Standard deviation of Gaussian noise on each displacement, in pixels.
        observations: ``"vector"`` for a row of 1600 floats from 0 to 1, as models read it; ``"image"`` for
            bytes (40, 40, 1).

    References:
        Watter et al. 2015, "Embed to control", https://arxiv.org/abs/1506.07365.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> world = Planar()
        >>> world.step(jnp.array([5.0, 5.0]), jnp.array([3.0, 0.0]), key=jax.random.key(0)).state.tolist()
        [8.0, 5.0]
    """

    action_dim: ClassVar[int] = 2
    max_steps: ClassVar[int | None] = 40
    image_shape: ClassVar[tuple[int, int]] = (SIDE, SIDE)
    goal: Float[Array, "2"]
    noise: float = eqx.field(static=True)
    observations: str = eqx.field(static=True)

    def __init__(
        self, goal: tuple[float, float] = (35.0, 35.0), noise: float = 0.0, observations: str = "vector"
    ):
        frame_space(observations, SIDE, "Planar")
        place = np.asarray(goal, np.float32)
        if place.shape != (2,) or not bool(free(jnp.asarray(place))):
            raise InputError(f"Planar: goal {goal} is no free place (x, y) of the plane, in pixels")
        if not 0 <= noise < np.inf:
            raise InputError(f"Planar: noise is {noise}; it must be at least 0")
        self.goal = jnp.asarray(place)
        self.noise, self.observations = float(noise), observations

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Displacements."""
        return gymnasium.spaces.Box(-STEP, STEP, (2,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Pictures."""
        return frame_space(self.observations, SIDE, "Planar")

    def initial(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """Draw a free place."""
        edge = AGENT_RADIUS
        tries = jax.random.uniform(key, (_TRIES, 2), minval=edge, maxval=SIDE - edge)
        fit = jax.vmap(free)(tries)
        # none of 64 is free once in 1e34 times; then it starts where there is room
        return jnp.where(fit.any(), tries[jnp.argmax(fit)], jnp.array(_REFUGE))

    def step(self, state: Float[Array, "2"], action: Float[Array, "2"], *, key: PRNGKey) -> Moved:
        """Move as far as there is room."""
        state = advanced(state, action + self.noise * jax.random.normal(key, (2,)))
        return Moved(state, -(((state - self.goal) / SIDE) ** 2).sum(), jnp.ones(()))

    def observe(self, state: Float[Array, "2"]) -> Array:
        """Draw disc and obstacles."""
        return framed(drawn(state), self.observations, SIDE)

    def info(self, state: Float[Array, "2"]) -> dict[str, Array]:
        """Return the true ``state`` and ``is_success``."""
        return {"state": state, "is_success": jnp.hypot(*(state - self.goal)) < REACHED}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the observation larger, the goal, and the disc red."""
        image = enlarged(np.asarray(drawn(jnp.asarray(state))), SIDE)
        canvas = Canvas(Rectangle(0.0, 0.0, float(SIDE), float(SIDE)), size=len(image))
        canvas.cells(image)
        for (x, y), radius, colour in ((self.goal, REACHED, GOALS[0]), (state, AGENT_RADIUS, AGENT)):
            canvas.disc(Circle(float(x), float(SIDE - y), radius), colour)
        return canvas.array()


def free(place: Float[Array, "2"]) -> Bool[Array, ""]:
    """Return whether the disc fits in there."""
    away = jnp.hypot(*(place - jnp.array(OBSTACLES)).T) > AGENT_RADIUS + OBSTACLE_RADIUS
    return away.all() & ((place >= AGENT_RADIUS) & (place <= SIDE - AGENT_RADIUS)).all()


def advanced(place: Float[Array, "2"], way: Float[Array, "2"]) -> Float[Array, "2"]:
    """Return where a displacement leads: straight on, up to the first obstacle, within the plane.

    It touches a circle about c of the sum R of the radii where ‖p + t d − c‖ = R, the smaller root in t.
    """
    way = jnp.clip(place + way, AGENT_RADIUS, SIDE - AGENT_RADIUS) - place
    length = jnp.sqrt((way**2).sum() + 1e-12)
    off = place - jnp.array(OBSTACLES)
    heading, reach = off @ way / length, AGENT_RADIUS + OBSTACLE_RADIUS
    inside = heading**2 - (off**2).sum(-1) + reach**2
    meets = (heading < 0) & (inside > 0)
    distance = -heading - jnp.sqrt(jnp.where(meets, inside, 1.0)) - _GAP
    # farther than any step, and finite: infinite room has no derivative
    room = jnp.where(meets, jnp.maximum(distance, 0.0), 4.0 * SIDE).min()
    return place + way * jnp.minimum(1.0, room / length)


def drawn(place: Float[Array, "2"]) -> Float[Array, "p"]:
    """Draw the disc white among the obstacles, edges smoothed over one pixel, line by line from the top."""
    away = jnp.sqrt((_ACROSS - place[0]) ** 2 + (_DOWN - place[1]) ** 2)
    return jnp.maximum(_BLANK, jnp.clip(0.5 + AGENT_RADIUS - away, 0.0, 1.0))


def _blank() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns and rows of the pixels' centres, and the picture of the obstacles alone."""
    line = np.arange(SIDE, dtype=np.float32) + 0.5
    x, y = (grid.reshape(-1) for grid in np.meshgrid(line, line))
    away = np.min([np.hypot(x - cx, y - cy) for cx, cy in OBSTACLES], axis=0)
    return x, y, np.clip(0.5 + OBSTACLE_RADIUS - away, 0.0, 1.0).astype(np.float32)


_ACROSS, _DOWN, _BLANK = _blank()
