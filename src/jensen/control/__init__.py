"""Policies from demonstrations: imitation, action in environments, evaluation. Gymnasium at the edge only."""

from __future__ import annotations

from jensen.control.collect import collect
from jensen.control.ensemble import Ensemble
from jensen.control.evaluation import Evaluation, evaluate
from jensen.control.imitation import Imitation, imitate, load_policy
from jensen.control.plan import CEM, MPPI, FromMean, FromSamples, Planner
from jensen.control.policies import LatentPolicy, MixturePolicy
from jensen.control.policy import Policy
from jensen.control.replay import Replay
from jensen.control.replay_episode import Episode
from jensen.control.rollouts import record
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.control.statistics import (
    Interval,
    bootstrap,
    divergence,
    entropy,
    interquartile_mean,
    wilson,
)
from jensen.control.uniform import UniformPolicy
from jensen.control.worlds import ModelWorld, ObservedWorld, SeenWorld

__all__ = [
    "CEM",
    "MPPI",
    "ActionSpace",
    "BoxActions",
    "DiscreteActions",
    "Ensemble",
    "Episode",
    "Evaluation",
    "FromMean",
    "FromSamples",
    "Imitation",
    "Interval",
    "LatentPolicy",
    "MixturePolicy",
    "ModelWorld",
    "ObservedWorld",
    "Planner",
    "Policy",
    "Replay",
    "SeenWorld",
    "UniformPolicy",
    "bootstrap",
    "collect",
    "divergence",
    "entropy",
    "evaluate",
    "imitate",
    "interquartile_mean",
    "load_policy",
    "record",
    "wilson",
]


def __dir__() -> list[str]:
    return __all__
