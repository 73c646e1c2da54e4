"""The simulators that are registered, by name, and how Gymnasium makes environments of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jensen.envs.cart_pole import CartPoleSwingUp
from jensen.envs.cliff_world import CliffWorld
from jensen.envs.deep_sea import DeepSea
from jensen.envs.mountain_car import SparseMountainCar, SparseMountainCarContinuous
from jensen.envs.noisy_tv import NoisyTV
from jensen.envs.pixel_pendulum import PixelPendulum
from jensen.envs.planar import Planar
from jensen.envs.simulated import SimulatorEnv, SimulatorVectorEnv
from jensen.envs.simulator import Simulator

WORLDS: dict[str, Any] = {
    world.__name__: world
    for world in (
        PixelPendulum,
        Planar,
        DeepSea,
        CliffWorld,
        NoisyTV,
        SparseMountainCar,
        SparseMountainCarContinuous,
        CartPoleSwingUp,
    )
}
"""Name -> class; its id is jensen/NAME-v0."""


def single(world: str, render_mode: str | None = None, **options: Any) -> SimulatorEnv:
    """Build one environment; what ``gymnasium.make`` calls.

    Args:
        world: A name in `WORLDS`.
        render_mode: ``"rgb_array"`` or None.
        **options: The simulator's own.
    """
    return SimulatorEnv(_simulator(world, options), render_mode)


def many(
    world: str,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    **options: Any,
) -> SimulatorVectorEnv:
    """Build copies stepped together; what ``gymnasium.make_vec`` calls."""
    return SimulatorVectorEnv(_simulator(world, options), num_envs, max_episode_steps, render_mode)


def _simulator(world: str, options: dict[str, Any]) -> Simulator:
    make: Callable[..., Simulator] = WORLDS[world]
    return make(**options)
