"""Inverse reinforcement learning: what an agent wants, from what it does."""

from __future__ import annotations

from jensen.control.irl.demonstrations import Demonstrations, clone, demonstrated, exact_demonstrations
from jensen.control.irl.infer import Inferred, infer, infer_temperature
from jensen.control.irl.model import SoftOptimal
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
    InferredBySamples,
    Rounds,
    SeenReward,
    StepReward,
    Trajectories,
    infer_sampled,
    sampled_likelihood,
)

__all__ = [
    "AbstractReward",
    "Demonstrations",
    "DoneReward",
    "Inferred",
    "InferredBySamples",
    "LinearReward",
    "NetReward",
    "PairReward",
    "Rounds",
    "ScaledReward",
    "SeenReward",
    "SoftOptimal",
    "StateReward",
    "StepReward",
    "Trajectories",
    "clone",
    "demonstrated",
    "exact_demonstrations",
    "infer",
    "infer_sampled",
    "infer_temperature",
    "sampled_likelihood",
]


def __dir__() -> list[str]:
    return __all__
