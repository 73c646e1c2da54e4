"""What a fitted model is for: encode, reconstruct, sample, score, impute; predict; of sequences more."""

from jensen.use.draws import Draws, Moments, draws
from jensen.use.forecast import Forecast, forecast
from jensen.use.generate import sample
from jensen.use.latents import encode, reconstruct
from jensen.use.missing import impute
from jensen.use.predict import Prediction, density, predict
from jensen.use.rollout import Rollout, rollout
from jensen.use.score import score
from jensen.use.states import States, filter, smooth

__all__ = [
    "Draws",
    "Forecast",
    "Moments",
    "Prediction",
    "Rollout",
    "States",
    "density",
    "draws",
    "encode",
    "filter",
    "forecast",
    "impute",
    "predict",
    "reconstruct",
    "rollout",
    "sample",
    "score",
    "smooth",
]


def __dir__() -> list[str]:
    return __all__
