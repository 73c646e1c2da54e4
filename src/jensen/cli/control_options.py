"""Every option of ``jensen control``, part by part: those of fits where they mean the same, and its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jensen.cli.options import OPTIONS, Option, number, one_of, whole
from jensen.errors import InputError, nearest

PARTS = {
    "plan": "collect episodes, learn a world model, act by planning in it",
    "imagine": "collect episodes, learn a world model, learn an actor in it",
    "explore": "compare bonuses by when they solve a task",
    "irl": "infer the reward from demonstrations",
}
"""What the wing does, and in how few words."""

TITLES = {
    "plan": "Planning in",
    "imagine": "Learning in imagination of",
    "explore": "Exploration of",
    "irl": "What is wanted in",
}
"""Headings of the reports, before the environment's name."""

BONUSES = (
    "epsilon-greedy",
    "counts",
    "untried-first",
    "optimistic-counts",
    "pseudo-counts",
    "information-gain",
    "disagreement",
    "foreseen-counts",
    "foreseen-gain",
    "foreseen-disagreement",
)
"""Ways to explore a table."""

_COMPARED = ("epsilon-greedy", "counts", "optimistic-counts")

PLANNERS = ("cem", "mppi")
REWARDS = ("state", "state-action")

_DEMOS, _WORLD, _REWARD, _PLAN, _ACTOR = "demonstrations", "world model", "reward", "planner", "actor"
_COLLECT, _LEARN, _ACT = "collecting", "learning", "acting"

_POSITIVE = number("a number above 0", lambda value: value > 0)
_NOT_NEGATIVE = number("a number, 0 or more", lambda value: value >= 0)
_SHARE = number("a number above 0, at most 1", lambda value: 0 < value <= 1)
_DISCOUNT = number("a number above 0, at most 1", lambda value: 0 < value <= 1)


def _bonuses(written: Any) -> list[str]:
    parts = written if isinstance(written, list) else str(written).split(",")
    return [one_of(*BONUSES)(str(part).strip()) for part in parts]


def _settings(written: Any) -> dict[str, Any]:
    """Read names and values like size=20,stochastic=true."""
    import yaml

    if isinstance(written, Mapping):
        return dict(written)
    pairs = [part.partition("=") for part in str(written).split(",")]
    if not all(name.strip().isidentifier() and sign and value for name, sign, value in pairs):
        raise ValueError("it must be names and values like size=20,stochastic=true")
    try:
        return {name.strip(): yaml.safe_load(value) for name, _, value in pairs}
    except yaml.YAMLError:
        raise ValueError("it must be names and values like size=20,stochastic=true") from None


def _name(written: Any) -> str:
    return str(written)


def _as(name: str, group: str, help: str | None = None) -> Option:
    """An option that fits have as well."""
    known = OPTIONS[name]
    return Option(name, group, known.metavar, help or known.help, known.read)


_SEED = _as("seed", _ACT)
_EVALUATE = Option("evaluate", _ACT, "M", "episodes it acts in at the end (default 20)", whole(1))
_WITH = Option(
    "with", "environment", "A=1,B=2", "options of the environment, as its page names them", _settings
)


def _discount(group: str, default: str) -> Option:
    return Option("discount", group, "G", f"γ, what one step later is worth (default {default})", _DISCOUNT)


_COLLECTED = (
    Option("episodes", _COLLECT, "N", "episodes of random actions to learn from (default 100)", whole(1)),
    Option(
        "repeat",
        _COLLECT,
        "K",
        "steps each random action is held (default 10, or 1 where actions are a choice)",
        whole(1),
    ),
    Option("rounds", _COLLECT, "R", "rounds of acting and learning after that (default 0)", whole(0)),
    Option("per_round", _COLLECT, "N", "episodes in each round (default 10)", whole(1)),
    _as("latent", _WORLD, "length of z (default 16)"),
    _as("steps", _WORLD, "gradient steps of the world model (default 2500)"),
    _as("learning_rate", _WORLD),
)

OF_COLLECTING = tuple(option.name for option in _COLLECTED)
"""Options of what is learned here, which a world model that is given makes idle."""

PLAN = (
    *_COLLECTED,
    Option("world", _WORLD, "RUN", "the world model of a run, instead of one learned here", _name),
    Option("planner", _PLAN, "KIND", f"{' or '.join(PLANNERS)} (default cem)", one_of(*PLANNERS)),
    Option("horizon", _PLAN, "H", "steps looked ahead (default 25)", whole(1)),
    Option("candidates", _PLAN, "N", "plans tried at once (default 128)", whole(2)),
    Option(
        "iterations", _PLAN, "I", "times they are drawn anew around the better ones (default 4)", whole(1)
    ),
    Option("temperature", _PLAN, "T", "of the weights exp(return / T) of mppi, reward units", _POSITIVE),
    _discount(_PLAN, "1"),
    _EVALUATE,
    _SEED,
)

IMAGINE = (
    *_COLLECTED,
    Option("horizon", _ACTOR, "H", "steps imagined from each state (default 15)", whole(1)),
    Option("actor_steps", _ACTOR, "N", "gradient steps of actor and critic (default 2000)", whole(1)),
    Option(
        "entropy",
        _ACTOR,
        "C",
        "worth of a nat of the actor's entropy, in spreads of returns (default 0.001)",
        _NOT_NEGATIVE,
    ),
    _discount(_ACTOR, "0.99"),
    _EVALUATE,
    _SEED,
)

EXPLORE = (
    Option("bonus", _LEARN, "A,B", f"{', '.join(BONUSES)} (default {','.join(_COMPARED)})", _bonuses),
    Option("episodes", _LEARN, "N", "episodes of each run (default 2000)", whole(1)),
    Option("runs", _LEARN, "K", "runs of each, with seeds of their own (default 10)", whole(1)),
    Option(
        "scale",
        _LEARN,
        "C",
        "worth of a bonus of 1, in units of reward (default: a tenth of the largest)",
        _POSITIVE,
    ),
    Option(
        "learning_rate",
        _LEARN,
        "RATE",
        "share of the way to each target (default 1, or 0.2 where chance has a part)",
        _SHARE,
    ),
    _as("seed", _LEARN),
)  # fmt: skip

IRL = (
    Option(
        "demonstrations",
        _DEMOS,
        "N",
        "episodes of an agent that does well, soft-optimal (default 10)",
        whole(1),
    ),
    Option(
        "recorded", _DEMOS, "FILE", "recorded episodes instead, observations being states' numbers", _name
    ),
    Option("reward", _REWARD, "OF", f"{' or '.join(REWARDS)} (default state)", one_of(*REWARDS)),
    Option(
        "temperature",
        _REWARD,
        "T",
        "of the demonstrator's choices, in units of reward (default 1)",
        _POSITIVE,
    ),
    Option(
        "prior_scale",
        _REWARD,
        "STD",
        "of a Gaussian prior on the reward, in units of reward (default: none)",
        _POSITIVE,
    ),
    Option("horizon", _REWARD, "H", "steps of an episode (default: the environment's)", whole(1)),
    _discount(_REWARD, "1"),
    _as("steps", _REWARD, "gradient steps (default 500)"),
    _as("learning_rate", _REWARD),
    _as("seed", _REWARD),
)

DEFAULTS: dict[str, dict[str, Any]] = {
    "plan": {"planner": "cem", "evaluate": 20, "seed": 0},
    "imagine": {"evaluate": 20, "seed": 0},
    "explore": {"bonus": list(_COMPARED), "episodes": 2000, "runs": 10, "seed": 0},
    "irl": {"seed": 0},
}
"""What is used when nobody says, besides the defaults of ``jensen.control``."""

_TABLES = {"plan": PLAN, "imagine": IMAGINE, "explore": EXPLORE, "irl": IRL}
CONTROL: dict[str, Mapping[str, Option]] = {
    part: {option.name: option for option in (*options, _WITH)} for part, options in _TABLES.items()
}
"""Options of each part by name, in the order of the help."""

_EXAMPLES = {
    "plan": "jensen/PixelPendulum-v0",
    "imagine": "jensen/PixelPendulum-v0",
    "explore": "jensen/DeepSea-v0",
    "irl": "jensen/CliffWorld-v0",
}


def example(part: str) -> str:
    """Return a command that works."""
    return f"jensen control {part} {_EXAMPLES[part]}"


def check_part(words: list[str]) -> None:
    """Refuse ``jensen control`` with no part or an unknown one, and a config file of another.

    Raises:
        InputError: With the nearest, or all of them.
    """
    part = next(iter(words[1:]), "")
    if not part:
        raise InputError(f"which part? {', '.join(PARTS)}; as in `{example('irl')}`")
    if part not in PARTS and not part.startswith("-"):
        raise InputError(f"unknown part {part!r}{nearest(part, PARTS)}")
    for word, following in itertools.pairwise(words[2:]):
        if word == "--config" and Path(following).is_file():
            _check_config(Path(following), part)


def _check_config(path: Path, part: str) -> None:
    """Refuse a file of another part, or with a key that means nothing; what is no YAML is refused later."""
    import yaml

    try:
        plain = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return
    if not isinstance(plain, dict):
        return
    if plain.get("control", part) != part:
        raise InputError(f"the config file is one of `jensen control {plain['control']}`; say that instead")
    for key in plain:
        if key not in ("control", "env", *CONTROL[part]):
            raise InputError(f"the config file has an unknown key {key!r}{nearest(str(key), CONTROL[part])}")
