"""Every option of ``jensen fit``, described once: its values, its help, and how it is read.

Words come from the command line as text and from a config file as YAML values; both are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jensen.errors import InputError, nearest

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: As a config key; the command line has ``--`` and hyphens.
        group: Its heading in the help.
        metavar: What stands for its value in the help; "" for a flag.
        help: One line.
        read: From what was written to the value; raises ``ValueError`` with what was expected.
    """

    name: str
    group: str
    metavar: str
    help: str
    read: Read

    @property
    def flag(self) -> str:
        """As written on the command line."""
        return "--" + self.name.replace("_", "-")

    def value(self, written: Any) -> Any:
        """Read what was written.

        Raises:
            InputError: Naming the option, what was written, and what it must be.
        """
        try:
            return self.read(written)
        except ValueError as error:
            raise InputError(f"{self.flag} is {_show(written)}; {error}") from None


def whole(low: int) -> Read:
    """Read a whole number of at least ``low``."""

    def read(written: Any) -> int:
        wanted = f"it must be a whole number, at least {low}"
        try:
            number = float(str(written).replace("_", ""))
        except ValueError:
            raise ValueError(wanted) from None
        if isinstance(written, bool) or not number.is_integer() or number < low:
            raise ValueError(wanted)
        return int(number)

    return read


def number(wanted: str, holds: Callable[[float], bool]) -> Read:
    """Read a number for which a condition holds."""

    def read(written: Any) -> float:
        try:
            value = float(written)
        except (TypeError, ValueError):
            raise ValueError(f"it must be {wanted}") from None
        if isinstance(written, bool) or not (holds(value) and abs(value) < float("inf")):
            raise ValueError(f"it must be {wanted}")
        return value

    return read


def one_of(*choices: str) -> Read:
    """Read one of some words; the nearest is suggested."""

    def read(written: Any) -> str:
        if written not in choices:
            raise ValueError("no such choice" + nearest(str(written), choices))
        return str(written)

    return read


def _widths(written: Any) -> list[int]:
    parts = written if isinstance(written, list) else str(written).split(",")
    try:
        return [whole(1)(part) for part in parts]
    except ValueError:
        raise ValueError("it must be layer widths like 256,256") from None


def _one_or_more(read: Read, wanted: str) -> Read:
    """Read a number, or several of them, one a layer."""

    def several(written: Any) -> Any:
        parts = written if isinstance(written, list) else str(written).split(",")
        if len(parts) == 1:
            return read(parts[0])
        try:
            return [read(part) for part in parts]
        except ValueError:
            raise ValueError(wanted) from None

    return several


def _flag(written: Any) -> bool:
    if written in (True, "true", "yes"):
        return True
    if written in (False, "false", "no"):
        return False
    raise ValueError("it must be true or false")


def _column(written: Any) -> str | int:
    """Read a column's name, or its position where only digits are written."""
    text = str(written)
    if not text.strip():
        raise ValueError("it must be a column's name or position")
    return int(text) if text.lstrip("-").isdigit() else text


def _columns(written: Any) -> list[str | int]:
    """Read several columns; a name with a comma in it can be given in a config file."""
    try:
        return [_column(part) for part in (written if isinstance(written, list) else str(written).split(","))]
    except ValueError:
        raise ValueError("it must be columns' names or positions like name,date") from None


def _names(written: Any) -> list[str]:
    parts = [
        str(part).strip() for part in (written if isinstance(written, list) else str(written).split(","))
    ]
    if not all(parts):
        raise ValueError("it must be columns' names like force,heat")
    return parts


def _seed(written: Any) -> int:
    seed = whole(0)(written)
    if seed >= 2**32:
        raise ValueError("it must be below 2^32")
    return seed


STATIC_GRADIENTS = ("em", "analytic")
SAMPLED_GRADIENTS = ("reparam", "stick-the-landing", "doubly-reparam", "score-function", "enumerate")
POSTERIORS = tuple(
    f"{kind}{family}" for kind in ("amortized", "per-datum") for family in ("", "-lowrank", "-full")
)
BENT = ("amortized-planar", "amortized-flow", "amortized-iaf", "amortized-mixture")
REFINED = ("semi-amortized", "hamiltonian")
LAYERED = ("top-down", "bottom-up")

PRIORS = ("normal", "mixture", "vamp", "flow")

DECODER_LAWS = (
    "bernoulli",
    "gaussian",
    "student_t",
    "poisson",
    "negative_binomial",
    "beta_binomial",
    "discretized_logistic",
)
PATHS = ("smoothing", "filtering", "smoothing-full", "filtering-full")
RECURRENT_GRADIENTS = ("reparam", "stick-the-landing", "doubly-reparam", "straight-through")

_POSITIVE = number("a number above 0", lambda value: value > 0)
_NOT_NEGATIVE = number("a number, 0 or more", lambda value: value >= 0)
_SHARE = number("a share of the rows, at least 0 and below 1", lambda value: 0 <= value < 1)
_DATA, _MODEL, _BOUND, _FIT = "data", "model", "bound", "fit"

OPTIONS = {
    option.name: option
    for option in (
        Option(
            "labels", _DATA, "COLUMN", "column with labels, by name or position; never trained on", _column
        ),
        Option(
            "drop", _DATA, "A,B", "columns left out, by name or position, such as names and dates", _columns
        ),
        Option(
            "target",
            _DATA,
            "A,B",
            "columns to predict from all others, by name or position (mdn, cvae, ...)",
            _columns,
        ),
        Option(
            "sequence", _DATA, "COLUMN", "column that tells sequences apart, by name or position", _column
        ),
        Option("actions", _DATA, "A,B", "columns that are actions or inputs of sequences, by name", _names),
        Option(
            "missing",
            _DATA,
            "error|mask",
            "what a missing cell is (see below): a mistake, or unobserved",
            one_of("error", "mask"),
        ),
        Option(
            "binarize",
            _DATA,
            "HOW",
            "turn intensities into 0 and 1: threshold, one fixed sample, or dynamic, drawn anew at each step",
            one_of("threshold", "sample", "dynamic"),
        ),
        Option(
            "validation",
            _DATA,
            "SHARE",
            "share of rows, or of whole sequences, held out for stopping and for the gap (default 0.1)",
            _SHARE,
        ),
        Option(
            "standardize",
            _DATA,
            "",
            "work in columns of unit variance; densities stay in the data's units",
            _flag,
        ),
        Option(
            "latent",
            _MODEL,
            "D",
            "number of latents, at every step of sequences; hvae: of each layer, the top first, such as 8,16",
            _one_or_more(whole(1), "it must be whole numbers like 8,16"),
        ),
        Option(
            "components",
            _MODEL,
            "K",
            "components (gmm, tmm, mdn); states (hmm); categories per latent (dvae, rssm); codes (vqvae)",
            whole(1),
        ),
        Option(
            "covariance",
            _MODEL,
            "KIND",
            "full, diag, tied or spherical (gmm, tmm, hmm); full or diag (mdn)",
            one_of("full", "diag", "tied", "spherical"),
        ),
        Option(
            "likelihood",
            _MODEL,
            "LAW",
            "bernoulli or gaussian; vae, iwae, dvae: also student_t (outliers), poisson or negative_binomial "
            "(counts), beta_binomial or discretized_logistic (0..255); hmm: gaussian, poisson or categorical "
            "(default: by the data)",
            one_of(*DECODER_LAWS, "categorical"),
        ),
        Option(
            "net",
            _MODEL,
            "mlp|conv",
            "perceptrons, or convolutions for pictures (vae, iwae, dvae, vqvae)",
            one_of("mlp", "conv"),
        ),
        Option(
            "widths", _MODEL, "W,W", "hidden widths of both networks, or channels of convolutions", _widths
        ),
        Option(
            "prior",
            _MODEL,
            "HOW",
            "vae, iwae: normal, mixture, vamp or flow; cvae: learned, p(z | inputs) by a network, or "
            "fixed, a standard Gaussian; hvae: chain or ladder",
            one_of(*PRIORS, "learned", "fixed", "chain", "ladder"),
        ),
        Option(
            "posterior",
            _BOUND,
            "Q",
            f"{', '.join(POSTERIORS)}; vae: {', '.join((*BENT, *REFINED))}; "
            f"hvae: {', '.join(LAYERED)}; sequences: {', '.join(PATHS)}",
            one_of(*POSTERIORS, *BENT, *REFINED, *LAYERED, *PATHS),
        ),
        Option(
            "objective",
            _BOUND,
            "BOUND",
            "elbo or iwae; vae: beta-tc (--beta weighs the total correlation) or infovae (--beta weighs "
            "the KL); sequences: fivo",
            one_of("elbo", "iwae", "beta-tc", "infovae", "fivo"),
        ),
        Option("num_samples", _BOUND, "K", "draws per row", whole(1)),
        Option(
            "beta",
            _BOUND,
            "B",
            "weight of the KL in the loss (hvae, dmm, rssm: rising to 1 at first)",
            _NOT_NEGATIVE,
        ),
        Option(
            "free_bits",
            _BOUND,
            "NATS",
            "nats per datum, step of a sequence, or layer (hvae; or a number for each) below which the KL is "
            "not pushed",
            _one_or_more(_NOT_NEGATIVE, "it must be numbers, 0 or more, like 2,0.5"),
        ),
        Option(
            "kl_balance",
            _BOUND,
            "SHARE",
            "share of the KL's gradient that moves the prior (dmm, rssm; default: the plain gradient)",
            number("a share between 0 and 1", lambda value: 0 <= value <= 1),
        ),
        Option(
            "gradient",
            _BOUND,
            "HOW",
            f"{', '.join(SAMPLED_GRADIENTS)}, straight-through; exact models: em or analytic",
            one_of(*STATIC_GRADIENTS, *SAMPLED_GRADIENTS, RECURRENT_GRADIENTS[-1]),
        ),
        Option("epochs", _FIT, "N", "passes over the data", whole(1)),
        Option("steps", _FIT, "N", "EM or gradient steps, instead of epochs", whole(1)),
        Option("batch_size", _FIT, "N", "rows, or sequences, per gradient step", whole(1)),
        Option(
            "window",
            _FIT,
            "T",
            "learn from windows of T steps (default: whole sequences, up to 200 steps)",
            whole(2),
        ),
        Option(
            "windows",
            _FIT,
            "HOW",
            "drawn anywhere, or carried: each goes on where the one before it ended (dmm, rssm)",
            one_of("drawn", "carried"),
        ),
        Option("learning_rate", _FIT, "RATE", "of Adam", _POSITIVE),
        Option(
            "restarts", _FIT, "R", "fits from different starts, of which the best is kept (by EM)", whole(1)
        ),
        Option(
            "gap_rows",
            _FIT,
            "N",
            "measure the gap on so many rows, 0 for none (default 100, or 20 sequences)",
            whole(0),
        ),
        Option("seed", _FIT, "SEED", "same seed, same result (default 0)", _seed),
    )
}
"""By name, in the order of the help."""


def read_options(written: Mapping[str, Any]) -> dict[str, Any]:
    """Read what was written; what was not written (None) is left out.

    Raises:
        InputError: A value is not what its option takes.
    """
    return {name: OPTIONS[name].value(value) for name, value in written.items() if value is not None}


def flags(names: Sequence[str]) -> str:
    """List options as written on the command line."""
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _show(written: Any) -> str:
    return f"{written!r}" if isinstance(written, str) and not written else f"{written}"
