"""Policies from demonstrations: imitation, action in environments, evaluation. Gymnasium at the edge only."""

from __future__ import annotations

from jensen.control.ensemble import Ensemble
from jensen.control.policies import LatentPolicy, MixturePolicy
from jensen.control.policy import Policy

__all__ = ["Ensemble", "LatentPolicy", "MixturePolicy", "Policy"]
