"""How tight the bound is, whether latents are used, and how noisy the gradient is."""

from jensen.diagnose.calibration import Calibration, calibration
from jensen.diagnose.codes import CodeUse, codes
from jensen.diagnose.collapse import Collapse, collapse
from jensen.diagnose.comparison import Compared, Comparison, compare
from jensen.diagnose.estimate import Effort, Estimate
from jensen.diagnose.estimators import EstimatorRow, GradientComparison, compare_gradients
from jensen.diagnose.evidence import Evidence, evidence
from jensen.diagnose.gap import Gap, gap
from jensen.diagnose.gaps import Gaps, gaps
from jensen.diagnose.gradient_noise import GradientNoise, gradient_noise
from jensen.diagnose.open_loop import OpenLoop, open_loop
from jensen.diagnose.progress import Progress, Silent
from jensen.diagnose.simulated import Bracket

__all__ = [
    "Bracket",
    "Calibration",
    "CodeUse",
    "Collapse",
    "Compared",
    "Comparison",
    "Effort",
    "Estimate",
    "EstimatorRow",
    "Evidence",
    "Gap",
    "Gaps",
    "GradientComparison",
    "GradientNoise",
    "OpenLoop",
    "Progress",
    "Silent",
    "calibration",
    "codes",
    "collapse",
    "compare",
    "compare_gradients",
    "evidence",
    "gap",
    "gaps",
    "gradient_noise",
    "open_loop",
]


def __dir__() -> list[str]:
    return __all__
