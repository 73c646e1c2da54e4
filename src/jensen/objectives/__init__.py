"""Choice 3: what is climbed."""

from jensen.objectives.elbo import ELBO
from jensen.objectives.fivo import FIVO
from jensen.objectives.grouped import CIWAE, MIWAE, PIWAE
from jensen.objectives.iwae import IWAE
from jensen.objectives.renyi import Renyi
from jensen.objectives.schedules import Linear
from jensen.objectives.wake_sleep import ReweightedWakeSleep

__all__ = [
    "CIWAE",
    "ELBO",
    "FIVO",
    "IWAE",
    "MIWAE",
    "PIWAE",
    "Linear",
    "Renyi",
    "ReweightedWakeSleep",
]
