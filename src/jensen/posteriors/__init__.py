"""Choice 2: how latents are inferred."""

from jensen.posteriors.amortized import Amortized
from jensen.posteriors.exact import Exact
from jensen.posteriors.per_datum import PerDatum
from jensen.posteriors.shared import Global

__all__ = ["Amortized", "Exact", "Global", "PerDatum"]
