"""Models of sequences."""

from jensen.models.sequence.bayesian_hmm import BayesianHMM
from jensen.models.sequence.embed_to_control import EmbedToControl
from jensen.models.sequence.hmm import HMM
from jensen.models.sequence.linear_gaussian import LinearGaussianSSM
from jensen.models.sequence.neural import NeuralStateSpace
from jensen.models.sequence.rssm import RSSM

__all__ = ["HMM", "RSSM", "BayesianHMM", "EmbedToControl", "LinearGaussianSSM", "NeuralStateSpace"]
