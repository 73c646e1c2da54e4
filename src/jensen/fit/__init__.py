"""Fitting: one gradient loop, one EM loop, restarts, and what they return."""

from jensen.fit.annealed import annealed_adam
from jensen.fit.batches import ByLength, CarriedWindows, Windows
from jensen.fit.best_of import best_of
from jensen.fit.data import Data
from jensen.fit.dynamic import DynamicBinarization
from jensen.fit.em import em
from jensen.fit.evaluate import evaluate
from jensen.fit.gradient import gradient
from jensen.fit.result import Fitted, History
from jensen.fit.run import Run, load, save
from jensen.fit.stop import AbstractStop, Converged, Patience, Settled
from jensen.fit.tracker import JSONLines, TensorBoard, Tracker

__all__ = [
    "AbstractStop",
    "ByLength",
    "CarriedWindows",
    "Converged",
    "Data",
    "DynamicBinarization",
    "Fitted",
    "History",
    "JSONLines",
    "Patience",
    "Run",
    "Settled",
    "TensorBoard",
    "Tracker",
    "Windows",
    "annealed_adam",
    "best_of",
    "em",
    "evaluate",
    "gradient",
    "load",
    "save",
]


def __dir__() -> list[str]:
    return __all__
