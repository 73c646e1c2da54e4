"""Policies from demonstrations: imitation, action in environments, evaluation. Gymnasium at the edge only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.control.agent import Learned, Round, Rounds, Training, learn
from jensen.control.collect.episodes import CollectionError, collect
from jensen.control.collect.record import record
from jensen.control.evaluation import Evaluation, evaluate
from jensen.control.imagine.actors import Pathwise, Score
from jensen.control.imagine.learning import Imagined, imagine, load_imagined
from jensen.control.imagine.loss import ActorCritic
from jensen.control.imagine.policy import ActorPolicy
from jensen.control.imitation import Imitation, imitate, load_policy
from jensen.control.plan import CEM, ILQR, MPPI, Foresight, FromMean, FromSamples, Planner, foresee
from jensen.control.policies.base import Policy
from jensen.control.policies.ensemble import Ensemble
from jensen.control.policies.fitted import LatentPolicy, MixturePolicy
from jensen.control.policies.tabular import TabularPolicy
from jensen.control.policies.uniform import UniformPolicy
from jensen.control.replay.buffer import Replay
from jensen.control.replay.episode import Episode
from jensen.control.represent.encoders import Refresh
from jensen.control.soft import SoftControl, soft_control
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.control.statistics import (
    Interval,
    bootstrap,
    divergence,
    entropy,
    interquartile_mean,
    wilson,
)
from jensen.control.worlds.base import ObservedWorld
from jensen.control.worlds.goals import GoalWorld
from jensen.control.worlds.model import ModelWorld
from jensen.control.worlds.seen import SeenWorld

if TYPE_CHECKING:
    from jensen.control.represent.wrappers import EncodedObservation, EncodedVectorObservation, Representation

__all__ = [
    "CEM",
    "ILQR",
    "MPPI",
    "ActionSpace",
    "ActorCritic",
    "ActorPolicy",
    "BoxActions",
    "CollectionError",
    "DiscreteActions",
    "EncodedObservation",
    "EncodedVectorObservation",
    "Ensemble",
    "Episode",
    "Evaluation",
    "Foresight",
    "FromMean",
    "FromSamples",
    "GoalWorld",
    "Imagined",
    "Imitation",
    "Interval",
    "LatentPolicy",
    "Learned",
    "MixturePolicy",
    "ModelWorld",
    "ObservedWorld",
    "Pathwise",
    "Planner",
    "Policy",
    "Refresh",
    "Replay",
    "Representation",
    "Round",
    "Rounds",
    "Score",
    "SeenWorld",
    "SoftControl",
    "TabularPolicy",
    "Training",
    "UniformPolicy",
    "bootstrap",
    "collect",
    "divergence",
    "entropy",
    "evaluate",
    "foresee",
    "imagine",
    "imitate",
    "interquartile_mean",
    "learn",
    "load_imagined",
    "load_policy",
    "record",
    "soft_control",
    "wilson",
]

_WRAPPERS = ("EncodedObservation", "EncodedVectorObservation", "Representation")


def __getattr__(name: str) -> Any:
    if name in _WRAPPERS:  # Gymnasium is imported when a wrapper is asked for
        from jensen.control.represent import wrappers

        return getattr(wrappers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
