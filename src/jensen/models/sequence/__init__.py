"""Models of sequences."""

from jensen.models.sequence.hmm import HMM

__all__ = ["HMM"]
