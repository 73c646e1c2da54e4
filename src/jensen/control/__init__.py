"""Policies from demonstrations: imitation, action in environments, evaluation. Gymnasium at the edge only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.control.actors import Pathwise, Score
from jensen.control.agent import Learned, Round, Rounds, Training, learn
from jensen.control.collect import collect
from jensen.control.ensemble import Ensemble
from jensen.control.evaluation import Evaluation, evaluate
from jensen.control.goals import GoalWorld
from jensen.control.imagine import Imagined, imagine, load_imagined
from jensen.control.imagine_loss import ActorCritic
from jensen.control.imagine_policy import ActorPolicy
from jensen.control.imitation import Imitation, imitate, load_policy
from jensen.control.plan import CEM, ILQR, MPPI, Foresight, FromMean, FromSamples, Planner, foresee
from jensen.control.policies import LatentPolicy, MixturePolicy
from jensen.control.policy import Policy
from jensen.control.replay import Replay
from jensen.control.replay_episode import Episode
from jensen.control.represent import Refresh
from jensen.control.rollouts import record
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
from jensen.control.tabular import TabularPolicy
from jensen.control.uniform import UniformPolicy
from jensen.control.worlds import ModelWorld, ObservedWorld, SeenWorld

if TYPE_CHECKING:
    from jensen.control.represent_env import EncodedObservation, EncodedVectorObservation, Representation

__all__ = [
    "CEM",
    "ILQR",
    "MPPI",
    "ActionSpace",
    "ActorCritic",
    "ActorPolicy",
    "BoxActions",
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
        from jensen.control import represent_env

        return getattr(represent_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
