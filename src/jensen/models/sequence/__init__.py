"""Models of sequences."""

from jensen.models.sequence.hmm import HMM
from jensen.models.sequence.linear_gaussian import LinearGaussianSSM

__all__ = ["HMM", "LinearGaussianSSM"]
