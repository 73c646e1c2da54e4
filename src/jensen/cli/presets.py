"""The presets by name, which options they take, and what they are when nobody says.

The tables hold plain values, so that ``--help`` reads them without JAX; only the builders import it.
"""

from __future__ import annotations

from jensen.cli.conditional_presets import CONDITIONAL
from jensen.cli.conjugate_presets import OF_SEQUENCES, OF_TABLES
from jensen.cli.options import flags
from jensen.cli.preset import Facts, Options, Preset
from jensen.cli.sequence_presets import SEQUENTIAL
from jensen.cli.static_presets import STATIC
from jensen.errors import InputError, nearest

PRESETS = STATIC | OF_TABLES | CONDITIONAL | SEQUENTIAL | OF_SEQUENCES
"""By name, in the order of the help."""

_OF_TABLES = ("labels", "drop", "missing", "validation", "standardize", "gap_rows", "seed")
COMMON = {
    "tables": _OF_TABLES,
    "targets": ("target", *_OF_TABLES),
    "sequences": ("sequence", "actions", "drop", "missing", "validation", "gap_rows", "seed"),
}
"""Options of every preset for such data."""

GAP_ROWS = {"tables": 100, "targets": 100, "sequences": 20}
"""How many rows or sequences the gap is measured on when nobody says."""

_OF_ELBO = ("beta", "free_bits", "kl_balance")
_BETA = {"beta-tc": 4.0, "infovae": 1.0}
"""β by default where objectives read it their own way."""
_BY_GRADIENT = ("epochs", "steps", "batch_size", "learning_rate", "window")


def check_used(name: str, given: Options) -> Preset:
    """Look up a preset and refuse options it does not take: none is silently ignored.

    Raises:
        InputError: Unknown preset, an option it does not take, or a value that does not fit it.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{nearest(name, PRESETS)}")
    preset = PRESETS[name]
    for option, allowed in preset.choices.items():
        if given.get(option, allowed[0]) not in allowed:
            raise InputError(
                f"{flags([option])} {given[option]} does not fit preset {name}; choose {' or '.join(allowed)}"
            )
    _check_layers(name, preset, given)
    if "epochs" in given and "steps" in given:
        raise InputError("--epochs and --steps say the same thing twice; give one of them")
    takes = _takes(preset, given)
    for option in given:
        if option not in takes and option not in COMMON[preset.takes]:
            raise InputError(f"{flags([option])} {_why(name, preset, option, takes)}")
    if given.get("windows") == "carried":
        _check_carried(preset.defaults | given)
    return preset


def _check_layers(name: str, preset: Preset, given: Options) -> None:
    """Refuse several layers where a preset has one, and one where it has several."""
    layers = isinstance(preset.defaults.get("latent"), list)
    for option in ("latent", "free_bits"):
        if isinstance(given.get(option), list) and not layers:
            raise InputError(f"{flags([option])} has a number for each layer, but {name} has one; use hvae")
    if layers and isinstance(given.get("latent"), int):
        raise InputError(
            f"--latent is {given['latent']}: {name} has two layers or more, such as --latent 8,16"
        )
    free, latent = given.get("free_bits"), given.get("latent", preset.defaults.get("latent"))
    if isinstance(free, list) and isinstance(latent, list) and len(free) != len(latent):
        raise InputError(f"--free-bits has {len(free)} numbers, --latent {len(latent)}; give one a layer")


def _check_carried(chosen: Options) -> None:
    """Refuse to carry a state from window to window where the posterior or the bound cannot."""
    if chosen["posterior"].startswith("smoothing"):
        why = "it looks ahead, beyond the end of a window; use --posterior filtering"
        raise InputError(f"--windows carried does not fit --posterior {chosen['posterior']}: {why}")
    if chosen["objective"] != "elbo":
        why = "it weighs paths as a whole; use --objective elbo"
        raise InputError(f"--windows carried does not fit --objective {chosen['objective']}: {why}")


def settle(preset: Preset, given: Options, facts: Facts) -> Options:
    """Fill in what was not given. The result, kept as the run's config file, makes the same fit again.

    Args:
        preset: What is fitted.
        given: Options read from the command line and the config file.
        facts: What the defaults depend on.

    Returns:
        Every option that plays a part.
    """
    chosen = {"missing": "error", "validation": 0.1, "seed": 0} | preset.defaults | given
    chosen |= preset.adapt(given, facts, chosen)
    takes = _takes(preset, chosen)
    if (bound := chosen.get("objective")) in ("iwae", "fivo") and "num_samples" not in given:
        chosen["num_samples"] = 8
    if bound in _BETA and "beta" not in given:
        chosen["beta"] = _BETA[bound]
    if bound == "iwae" and chosen["gradient"] == "reparam" and "gradient" not in given:
        chosen["gradient"] = "doubly-reparam"
    if chosen.get("gradient") == "score-function" and "num_samples" not in given:
        chosen["num_samples"] = max(4, chosen["num_samples"])
    if "likelihood" in takes and chosen["likelihood"] is None:
        chosen["likelihood"] = "bernoulli" if facts.kind == "binary" else "gaussian"
    if "widths" in takes and chosen["widths"] is None:
        chosen["widths"] = [128, 128] if facts.columns < 256 else [256, 256]
    if "batch_size" in takes:
        chosen |= _schedule(preset, given, chosen, facts)
    used = takes | set(COMMON[preset.takes])
    kept = {name: value for name, value in chosen.items() if name in used}
    return {name: value for name, value in kept.items() if value is not None and value is not False}


def _schedule(preset: Preset, given: Options, chosen: Options, facts: Facts) -> Options:
    """Choose batch size and epochs where they are not given."""
    window = chosen.get("window")
    if window is not None and window >= facts.longest:
        there = f"the longest sequence has {facts.longest} steps"
        raise InputError(f"--window is {window}, but {there}; take shorter windows, or leave it out")
    if window is None and "windows" in given:
        how = given["windows"]
        raise InputError(f"--windows is {how}, but sequences are learned from whole; give --window, too")
    pace, pieces = preset.pace, facts.pieces(chosen)
    batch = given.get("batch_size", min(pace.batch * (1 if facts.rows < 5_000 else 2), pieces))
    if batch > pieces:
        there = f"there are {pieces} {preset.noun if window is None else 'windows'} to train on"
        raise InputError(f"--batch-size is {batch}, but {there}; lower it")
    if "steps" in given:
        return {"batch_size": batch, "epochs": None}
    epochs = given.get("epochs", min(pace.most, max(20, round(pace.steps / (pieces // batch)))))
    return {"batch_size": batch, "epochs": epochs, "steps": None}


def _takes(preset: Preset, given: Options) -> set[str]:
    """Say which options play a part, given the others."""
    takes = set(preset.defaults)
    if "em" in preset.choices.get("gradient", ()):
        by_gradient = given.get("gradient", "em") != "em"
        takes -= {"restarts"} if by_gradient else set(_BY_GRADIENT) - {"steps"}
    if given.get("objective", preset.defaults.get("objective")) in ("iwae", "fivo"):
        takes -= set(_OF_ELBO)
    if given.get("objective") in _BETA:
        takes -= {"free_bits"}
    return takes


def _why(name: str, preset: Preset, option: str, takes: set[str]) -> str:
    if option in preset.defaults and option in _OF_ELBO:
        return "belongs to --objective elbo; leave it out"
    if option in preset.defaults and option == "restarts":
        return "belongs to --gradient em; leave it out"
    if option in preset.defaults:
        return (
            f"belongs to --gradient analytic, but {name} is fitted by EM; use --steps, or --gradient analytic"
        )
    return f"is not an option of preset {name}, which takes {flags(sorted(takes))}; leave it out"
