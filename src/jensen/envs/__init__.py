"""Small Gymnasium environments with known answers: import it and they are registered.

Worlds simulated in JAX, one state at a time and as many as ``vmap`` can hold: `PixelPendulum`, `Planar`,
`DeepSea`, `CliffWorld`, `NoisyTV`, the sparse mountain cars, `CartPoleSwingUp`. `SimulatorEnv` and
`SimulatorVectorEnv` make Gymnasium environments of any `Simulator`.

And tasks whose demonstrations have several modes: ``jensen/Tree-v0``, ``jensen/ThreeRoute-v0`` and
``jensen/Particle-v0``. `demonstrate` records their own demonstrators; they say at the end of an episode
``info["is_success"]`` and ``info["mode"]``, list their ``modes``, and can be drawn from ``scene()``.

`make` builds any by its id, ``jensen/NAME-v0``.
"""

from __future__ import annotations

from jensen.errors import MissingExtraError

try:
    import gymnasium as _gymnasium
except ImportError:
    raise MissingExtraError("jensen.envs needs Gymnasium: pip install 'jensen[rl]'") from None

from jensen.envs.base import Demonstrator, Env
from jensen.envs.canvas import Circle, Rectangle
from jensen.envs.cart_pole import CartPoleSwingUp
from jensen.envs.cliff_world import CliffWorld
from jensen.envs.deep_sea import DeepSea
from jensen.envs.demonstrate import demonstrate
from jensen.envs.make import make
from jensen.envs.mountain_car import SparseMountainCar, SparseMountainCarContinuous
from jensen.envs.noisy_tv import NoisyTV
from jensen.envs.particle import Particle
from jensen.envs.pixel_pendulum import PixelPendulum
from jensen.envs.planar import Planar
from jensen.envs.scene import Scene, draw
from jensen.envs.simulated import SimulatorEnv, SimulatorVectorEnv
from jensen.envs.simulator import Simulator
from jensen.envs.tabular import TabularSimulator
from jensen.envs.three_route import ThreeRoute
from jensen.envs.tree import Tree
from jensen.envs.walk import Walk
from jensen.envs.worlds import WORLDS

__all__ = [
    "CartPoleSwingUp",
    "Circle",
    "CliffWorld",
    "DeepSea",
    "Demonstrator",
    "Env",
    "NoisyTV",
    "Particle",
    "PixelPendulum",
    "Planar",
    "Rectangle",
    "Scene",
    "Simulator",
    "SimulatorEnv",
    "SimulatorVectorEnv",
    "SparseMountainCar",
    "SparseMountainCarContinuous",
    "TabularSimulator",
    "ThreeRoute",
    "Tree",
    "Walk",
    "demonstrate",
    "draw",
    "make",
]

_MEMBERS = {
    "jensen/Tree-v0": ("jensen.envs.tree:Tree", 40),
    "jensen/ThreeRoute-v0": ("jensen.envs.three_route:ThreeRoute", 60),
    "jensen/Particle-v0": ("jensen.envs.particle:Particle", 50),
}

for _id, (_entry, _steps) in _MEMBERS.items():
    if _id not in _gymnasium.registry:
        _gymnasium.register(_id, entry_point=_entry, max_episode_steps=_steps)

for _name, _world in WORLDS.items():
    if f"jensen/{_name}-v0" not in _gymnasium.registry:
        _gymnasium.register(
            f"jensen/{_name}-v0",
            entry_point="jensen.envs.worlds:single",
            vector_entry_point="jensen.envs.worlds:many",
            max_episode_steps=_world.max_steps,
            kwargs={"world": _name},
        )


def __dir__() -> list[str]:
    return sorted(__all__)
