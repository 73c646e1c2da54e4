"""What a fitted model is for: of rows, encode, reconstruct, sample, score and impute; of sequences more."""

from jensen.use.density import score
from jensen.use.forecast import Forecast, forecast
from jensen.use.generate import sample
from jensen.use.latents import encode, reconstruct
from jensen.use.missing import impute
from jensen.use.rollout import Rollout, rollout
from jensen.use.states import States, filter, smooth

__all__ = [
    "Forecast",
    "Rollout",
    "States",
    "encode",
    "filter",
    "forecast",
    "impute",
    "reconstruct",
    "rollout",
    "sample",
    "score",
    "smooth",
]


def __dir__() -> list[str]:
    return __all__
