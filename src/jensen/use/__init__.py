"""What a fitted model is for: encode, reconstruct, sample, score, impute."""

from jensen.use.density import score
from jensen.use.generate import sample
from jensen.use.latents import encode, reconstruct
from jensen.use.missing import impute
from jensen.use.rollout import Rollout, rollout

__all__ = ["Rollout", "encode", "impute", "reconstruct", "rollout", "sample", "score"]


def __dir__() -> list[str]:
    return __all__
