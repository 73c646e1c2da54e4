"""Every option of ``jensen imitate``: those of fits where they mean the same, and its own."""

from __future__ import annotations

from typing import Any

from jensen.cli.options import OPTIONS, Option, number, one_of, whole

POLICIES = ("mdn", "cvae", "gaussian", "mse", "categorical")
"""As ``control.imitate`` knows them."""

_DEMOS, _POLICY, _FIT, _ACT = "demonstrations", "policy", "fit", "acting"

DEFAULTS = {"policy": "mdn", "evaluate": 100, "seed": 0}
"""What is used when nobody says, besides the defaults of ``control.Settings``."""

DEMONSTRATED = 200
"""Demonstrations recorded in an environment when nobody says."""

OF_DEMONSTRATOR = ("episodes", "shares", "noise")
"""Options of environments that demonstrate, not of recorded episodes."""


def _shares(written: Any) -> list[float]:
    parts = written if isinstance(written, list) else str(written).split(",")
    try:
        values = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise ValueError("it must be probabilities like 0.2,0.8") from None
    if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > 1e-6:
        raise ValueError("it must be probabilities that sum to 1, like 0.2,0.8")
    return values


def _name(written: Any) -> str:
    return str(written)


def _as(name: str, group: str, help: str | None = None) -> Option:
    """An option that fits have as well."""
    known = OPTIONS[name]
    return Option(name, group, known.metavar, help or known.help, known.read)


_EVERY = (
    Option("episodes", _DEMOS, "N", f"demonstrations recorded (default {DEMONSTRATED})", whole(2)),
    Option("shares", _DEMOS, "P,P", "probability of each way to be demonstrated (default: equal)", _shares),
    Option(
        "noise",
        _DEMOS,
        "STD",
        "noise on the demonstrator's actions (default: the environment's own)",
        number("a number, 0 or more", lambda value: value >= 0),
    ),
    Option("policy", _POLICY, "KIND", f"{', '.join(POLICIES)} (default mdn)", one_of(*POLICIES)),
    Option(
        "hold",
        _POLICY,
        "UNIT",
        "what z of a cvae stands behind: step, chunk or episode (default: chunk if --horizon, else episode)",
        one_of("step", "chunk", "episode"),
    ),
    Option("horizon", _POLICY, "H", "actions foreseen at each state (default 1)", whole(1)),
    Option("replan", _POLICY, "R", "actions carried out of each chunk (default: all)", whole(1)),
    _as("components", _POLICY, "mixture components of an mdn (default 8)"),
    _as("latent", _POLICY, "length of z of a cvae (default 2)"),
    _as("widths", _POLICY, "hidden widths of the networks (default 64,64)"),
    Option("bounds", _POLICY, "HOW", "how actions stay in bounds: clip or squash", one_of("clip", "squash")),
    Option("steps", _FIT, "N", "gradient steps (default 4000)", whole(1)),
    _as("batch_size", _FIT, "rows, or episodes, per gradient step"),
    _as("learning_rate", _FIT),
    _as("validation", _FIT, "share of the episodes held out (default 0.1)"),
    Option("env", _ACT, "ENV", "where to act, if demonstrations come from a file", _name),
    Option("evaluate", _ACT, "M", "episodes the policy acts in, 0 for none (default 100)", whole(0)),
    _as("seed", _ACT),
)

IMITATION = {option.name: option for option in _EVERY}
"""By name, in the order of the help."""

SETTINGS = tuple(
    name for name in IMITATION if name not in (*OF_DEMONSTRATOR, "policy", "env", "evaluate", "seed")
)
"""Those that ``control.imitate`` takes."""
