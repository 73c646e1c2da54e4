"""What a fit was, in words: the four choices, the course, the versions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from typing import Any

import equinox as eqx
import jax
import numpy as np

import jensen
from jensen.core import Inference
from jensen.fit.result import Fitted
from jensen.nets import MLP

STOPPED = {
    "epochs": "all epochs were done",
    "steps": "all steps were done",
    "converged": "the bound stopped rising",
    "patience": "validation had stopped improving",
    "time": "the time allowed was over",
    "interrupted": "it was interrupted",
}
PACKAGES = ("jax", "equinox", "optax", "numpyro")


def describe(member: Any, *, depth: int = 2) -> str:
    """Write a model, posterior, objective or gradient on one line, without its arrays.

    Args:
        member: Any equinox module.
        depth: How far to go into modules inside modules.

    Returns:
        Its class name and plain settings.

    Example:
        >>> from jensen import families
        >>> describe(families.DiagGaussian(8))
        'DiagGaussian(latent_dim=8)'
    """
    if isinstance(member, MLP):
        widths = [member.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in member.layers)]
        name = getattr(member.activation, "__name__", "custom")
        return f"MLP({'–'.join(map(str, widths))}, {name})"
    settings = []
    for field in dataclasses.fields(member):
        value = getattr(member, field.name)
        if field.name in ("initialized", "frame"):
            continue
        if isinstance(value, bool | int | float | str):
            settings.append(
                f"{field.name}={value!r}" if isinstance(value, str) else f"{field.name}={value:g}"
            )
        elif isinstance(value, eqx.Module) and depth:
            settings.append(f"{field.name}={describe(value, depth=depth - 1)}")
        elif callable(value) and not isinstance(value, jax.Array):
            settings.append(f"{field.name}={getattr(value, '__name__', type(value).__name__)}")
    return type(member).__name__ + (f"({', '.join(settings)})" if settings else "")


def parameters(inference: Inference) -> tuple[int, int]:
    """Count the numbers held by the model and by the posterior."""

    def count(member: Any) -> int:
        return sum(int(np.size(a)) for a in jax.tree.leaves(eqx.filter(member, eqx.is_inexact_array)))

    return count(inference.model), count(inference.posterior)


def choices(inference: Inference) -> list[tuple[str, str, str]]:
    """List the four choices as (choice, class, settings)."""
    listed = []
    for word in ("model", "posterior", "objective", "gradient"):
        name, _, rest = describe(getattr(inference, word)).partition("(")
        listed.append((word, name, rest[:-1]))
    return listed


def duration(seconds: float) -> str:
    """Write a time as a person would say it."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def stopped(reason: str) -> str:
    """Explain a stop reason."""
    return f"{reason}: {STOPPED[reason]}" if reason in STOPPED else reason


def course(fitted: Fitted) -> list[tuple[str, str]]:
    """List how the fit went: steps, time, stop reason, restarts, parameters, verdict on the combination."""
    history, inference = fitted.history, fitted.inference
    verdict = inference.check()
    in_model, in_posterior = parameters(inference)
    lines = [
        ("stopped", stopped(fitted.stop_reason)),
        ("steps", f"{int(history.step[-1]):,}" if len(history.step) else "0"),
        ("time", duration(float(history.seconds))),
        ("parameters", f"{in_model:,} in the model, {in_posterior:,} in the posterior"),
        ("gradient is", verdict.kind + (f" ({verdict.reason})" if verdict.reason else "")),
    ]
    if len(fitted.restarts) > 1:
        best, worst = float(np.max(fitted.restarts)), float(np.min(fitted.restarts))
        lines.append(
            (
                "restarts",
                f"{len(fitted.restarts)}; final bounds from {worst:.3f} to {best:.3f} nats per datum",
            )
        )
    return lines + [("event", event) for event in history.events]


def origin(fitted: Fitted) -> list[tuple[str, str]]:
    """List versions and whatever plain facts the run recorded about itself."""
    lines = [
        (str(name).replace("_", " "), f"{value:g}" if isinstance(value, float) else str(value))
        for name, value in fitted.meta.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES)
    return [
        *lines,
        ("jensen", jensen.__version__),
        ("with", versions),
        ("python", f"{platform.python_version()} on {platform.system()} ({jax.default_backend()})"),
    ]
