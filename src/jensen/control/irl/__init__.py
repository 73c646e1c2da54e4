"""Inverse reinforcement learning: what an agent wants, from what it does."""

from __future__ import annotations

from jensen.control.irl.demonstrations import Demonstrations, clone, demonstrated, exact_demonstrations
from jensen.control.irl.infer import Inferred, infer
from jensen.control.irl.model import SoftOptimal
from jensen.control.irl.played import Played, estimated, infer_played
from jensen.control.irl.rewards import (
    AbstractReward,
    LinearReward,
    NetReward,
    PairReward,
    ScaledReward,
    StateReward,
)
from jensen.control.irl.sampled import (
    DoneReward,
    Likelihood,
    SeenReward,
    StepReward,
    Trajectories,
    sampled_likelihood,
)
from jensen.control.irl.temperature import infer_temperature

__all__ = [
    "AbstractReward",
    "Demonstrations",
    "DoneReward",
    "Inferred",
    "Likelihood",
    "LinearReward",
    "NetReward",
    "PairReward",
    "Played",
    "ScaledReward",
    "SeenReward",
    "SoftOptimal",
    "StateReward",
    "StepReward",
    "Trajectories",
    "clone",
    "demonstrated",
    "estimated",
    "exact_demonstrations",
    "infer",
    "infer_played",
    "infer_temperature",
    "sampled_likelihood",
]


def __dir__() -> list[str]:
    return __all__
