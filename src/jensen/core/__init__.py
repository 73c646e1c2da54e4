"""The four sockets, and what passes between them. Bookkeeping only."""

from jensen.core.conjugate import HasCoordinateAscent, HasPredictive, HoldsFactors, IteratesLocally
from jensen.core.datum import Carried, Datum, End, real_steps_of
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
    HoldsData,
    HoldsLatent,
    InitializesFromData,
    LooksAtPosterior,
    Simulates,
    live,
)
from jensen.core.objective import AbstractObjective, HasBatchTerm, LogMeanOfWeights, MeanOverDraws
from jensen.core.onset import inputs_of, state_before
from jensen.core.posterior import (
    AbstractPosterior,
    CarriesOn,
    HasFamily,
    IndexesData,
    PicksLaw,
    Refines,
    SharesLatent,
    StartsFromModel,
)
from jensen.core.terms import Losses, Terms
from jensen.core.verdict import AbstractInference, Verdict, worst
from jensen.core.world import AbstractWorld, Moved

__all__ = [
    "AbstractCarryModel",
    "AbstractGradient",
    "AbstractInference",
    "AbstractLatentModel",
    "AbstractModel",
    "AbstractObjective",
    "AbstractPosterior",
    "AbstractWorld",
    "Carried",
    "CarriesOn",
    "ChecksData",
    "Datum",
    "End",
    "Estimate",
    "HasBatchTerm",
    "HasCondition",
    "HasCoordinateAscent",
    "HasExactConditional",
    "HasExactEvidence",
    "HasExactPosterior",
    "HasExpectationMaximization",
    "HasFamily",
    "HasLatentDim",
    "HasMarkovLatents",
    "HasObservation",
    "HasPredictive",
    "HasRecurrence",
    "HoldsData",
    "HoldsFactors",
    "HoldsLatent",
    "IndexesData",
    "Inference",
    "InitializesFromData",
    "IteratesLocally",
    "LogMeanOfWeights",
    "LooksAtPosterior",
    "Losses",
    "MeanOverDraws",
    "Moved",
    "PicksLaw",
    "Refines",
    "SharesLatent",
    "Simulates",
    "StartsFromModel",
    "Terms",
    "Verdict",
    "independent_draws",
    "inputs_of",
    "live",
    "real_steps_of",
    "score",
    "state_before",
    "worst",
]
