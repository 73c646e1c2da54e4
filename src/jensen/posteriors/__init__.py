"""Choice 2: how latents are inferred."""

from jensen.posteriors.amortized import Amortized
from jensen.posteriors.bottom_up import BottomUp
from jensen.posteriors.conjugate import Conjugate
from jensen.posteriors.exact import Exact
from jensen.posteriors.filtering import Filtering
from jensen.posteriors.hamiltonian import HamiltonianRefined
from jensen.posteriors.local import Laplace, Pathfinder
from jensen.posteriors.open_loop import OpenLoop
from jensen.posteriors.per_datum import PerDatum
from jensen.posteriors.pooled import Pooled
from jensen.posteriors.semi_amortized import SemiAmortized
from jensen.posteriors.shared import Global
from jensen.posteriors.smoothing import Smoothing
from jensen.posteriors.top_down import TopDown
from jensen.posteriors.vector_quantized import VectorQuantized

__all__ = [
    "Amortized",
    "BottomUp",
    "Conjugate",
    "Exact",
    "Filtering",
    "Global",
    "HamiltonianRefined",
    "Laplace",
    "OpenLoop",
    "Pathfinder",
    "PerDatum",
    "Pooled",
    "SemiAmortized",
    "Smoothing",
    "TopDown",
    "VectorQuantized",
]
