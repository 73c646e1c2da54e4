"""Choice 3: what is climbed."""

from jensen.objectives.beta_tc import BetaTC
from jensen.objectives.capacity import Capacity
from jensen.objectives.elbo import ELBO
from jensen.objectives.factor_vae import FactorVAE
from jensen.objectives.fivo import FIVO
from jensen.objectives.grouped import CIWAE, MIWAE, PIWAE
from jensen.objectives.info_vae import InfoVAE
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
    "BetaTC",
    "Capacity",
    "FactorVAE",
    "InfoVAE",
    "Linear",
    "Renyi",
    "ReweightedWakeSleep",
]
