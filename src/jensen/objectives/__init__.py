"""Choice 3: what is climbed."""

from jensen.objectives.elbo import ELBO
from jensen.objectives.fivo import FIVO
from jensen.objectives.iwae import IWAE
from jensen.objectives.schedules import Linear

__all__ = ["ELBO", "FIVO", "IWAE", "Linear"]
