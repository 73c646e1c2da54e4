"""Small Gymnasium environments whose demonstrations have several modes: import it and they are registered.

``jensen/Tree-v0``, ``jensen/ThreeRoute-v0`` and ``jensen/Particle-v0``; `make` builds one by its id and
`demonstrate` records its own demonstrator. Every environment says at the end of an episode
``info["is_success"]`` and ``info["mode"]``, lists its ``modes``, and can be drawn from ``scene()``.
"""

from __future__ import annotations

from jensen.errors import MissingExtraError

try:
    import gymnasium as _gymnasium
except ImportError:
    raise MissingExtraError("jensen.envs needs Gymnasium: pip install 'jensen[rl]'") from None

from jensen.envs.base import Demonstrator, Env
from jensen.envs.demonstrate import demonstrate
from jensen.envs.make import make
from jensen.envs.particle import Particle
from jensen.envs.scene import Circle, Rectangle, Scene, draw
from jensen.envs.simulator import Simulator
from jensen.envs.three_route import ThreeRoute
from jensen.envs.tree import Tree
from jensen.envs.walk import Walk

__all__ = [
    "Circle",
    "Demonstrator",
    "Env",
    "Particle",
    "Rectangle",
    "Scene",
    "Simulator",
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


def __dir__() -> list[str]:
    return sorted(__all__)
