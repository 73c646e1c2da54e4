"""Policies from demonstrations: imitation, action in environments, evaluation. Gymnasium at the edge only."""

from __future__ import annotations

from jensen.control.actors import Pathwise, Score
from jensen.control.collect import collect
from jensen.control.ensemble import Ensemble
from jensen.control.evaluation import Evaluation, evaluate
from jensen.control.imagine import Imagined, imagine, load_imagined
from jensen.control.imagine_loss import ActorCritic
from jensen.control.imagine_policy import ActorPolicy
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
    "ActorCritic",
    "ActorPolicy",
    "BoxActions",
    "DiscreteActions",
    "Ensemble",
    "Episode",
    "Evaluation",
    "FromMean",
    "FromSamples",
    "Imagined",
    "Imitation",
    "Interval",
    "LatentPolicy",
    "MixturePolicy",
    "ModelWorld",
    "ObservedWorld",
    "Pathwise",
    "Planner",
    "Policy",
    "Replay",
    "Score",
    "SeenWorld",
    "UniformPolicy",
    "bootstrap",
    "collect",
    "divergence",
    "entropy",
    "evaluate",
    "imagine",
    "imitate",
    "interquartile_mean",
    "load_imagined",
    "load_policy",
    "record",
    "wilson",
]


def __dir__() -> list[str]:
    return __all__
