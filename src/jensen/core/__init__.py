"""The four sockets, and what passes between them. Bookkeeping only."""

from jensen.core.datum import Datum
from jensen.core.draws import independent_draws, score
from jensen.core.gradient import AbstractGradient, Estimate
from jensen.core.inference import Inference
from jensen.core.model import (
    AbstractCarryModel,
    AbstractLatentModel,
    AbstractModel,
    ChecksData,
    HasCondition,
    HasExactConditional,
    HasExactEvidence,
    HasExactPosterior,
    HasExpectationMaximization,
    HasLatentDim,
    HasMarkovLatents,
    HasObservation,
    HasRecurrence,
    HoldsLatent,
    InitializesFromData,
    LooksAtPosterior,
    Simulates,
    live,
)
from jensen.core.objective import AbstractObjective, HasBatchTerm, LogMeanOfWeights, MeanOverDraws
from jensen.core.posterior import AbstractPosterior, HasFamily, IndexesData, SharesLatent
from jensen.core.terms import Losses, Terms
from jensen.core.verdict import AbstractInference, Verdict, worst

__all__ = [
    "AbstractCarryModel",
    "AbstractGradient",
    "AbstractInference",
    "AbstractLatentModel",
    "AbstractModel",
    "AbstractObjective",
    "AbstractPosterior",
    "ChecksData",
    "Datum",
    "Estimate",
    "HasBatchTerm",
    "HasCondition",
    "HasExactConditional",
    "HasExactEvidence",
    "HasExactPosterior",
    "HasExpectationMaximization",
    "HasFamily",
    "HasLatentDim",
    "HasMarkovLatents",
    "HasObservation",
    "HasRecurrence",
    "HoldsLatent",
    "IndexesData",
    "Inference",
    "InitializesFromData",
    "LogMeanOfWeights",
    "LooksAtPosterior",
    "Losses",
    "MeanOverDraws",
    "SharesLatent",
    "Simulates",
    "Terms",
    "Verdict",
    "independent_draws",
    "live",
    "score",
    "worst",
]
