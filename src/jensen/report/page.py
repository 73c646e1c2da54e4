"""Writing the report: one HTML file with everything inside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax

import jensen
from jensen.core import HasCondition
from jensen.datasets import Dataset, Sequences
from jensen.errors import InputError
from jensen.fit.files import write_atomically
from jensen.objectives.stepwise import is_stepwise
from jensen.report import blocks, conditional, facts, members, sections, sequences
from jensen.report import gap as gaps
from jensen.report.collect import collect, hidden
from jensen.report.series import Given, split
from jensen.typing import PRNGKey

if TYPE_CHECKING:
    from jensen.diagnose.gap import Gap
    from jensen.fit.result import Fitted

Shown: TypeAlias = Dataset | Given | conditional.Pairs
"""What a report is about."""

MAX_BYTES = 5_000_000


def write(
    path: str | os.PathLike[str],
    fitted: Fitted,
    *,
    dataset: Shown | None = None,
    gap: Mapping[str, Any] | Gap | None = None,
    train_gap: Mapping[str, Any] | Gap | None = None,
    collapse: Any = None,
    key: PRNGKey | None = None,
    title: str | None = None,
) -> Path:
    """Write a report about a fit: one HTML file, at most 5 MB, that opens from disk without a network.

    Args:
        path: The file to write; its folder must exist.
        fitted: What ``fit.gradient``, ``fit.em`` or ``fit.best_of`` returned.
        dataset: Rows or sequences as the model saw them, with labels, column names and picture shape; of
            sequences, and of rows with inputs, also a pair, those held out, which are then shown, and those
            trained on.
        gap: Where the bound is lost, from ``diagnose.gap`` or a ``gap.json``; nats per datum.
        train_gap: The same on training rows, to tell an overfitted encoder from a poor family.
        collapse: What ``diagnose.collapse`` returned; measured here if not given.
        key: Randomness of the samples shown.
        title: Heading of the page.

    Returns:
        The path written.

    Raises:
        InputError: If the file cannot be written or would exceed 5 MB.

    Example:
        >>> import jax, optax, tempfile, numpy as np, jensen as jn
        >>> from jensen import datasets, fit, report
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> model = jn.models.Decoder(3, 1, likelihood="gaussian", widths=(), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(
        ...     jn.families.DiagGaussian(1), data_dim=3, widths=(), key=jax.random.key(1))
        >>> four = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> fitted = fit.gradient(four, x, key=jax.random.key(2), optimizer=optax.adam(1e-2), steps=4)
        >>> data = datasets.Dataset(x, None, ("a", "b", "c"), "noise")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report.write(folder + "/report.html", fitted, dataset=data).name
        'report.html'
    """
    text = render(
        fitted,
        dataset=dataset,
        gap=gap,
        train_gap=train_gap,
        collapse=collapse,
        key=jax.random.key(0) if key is None else key,
        title=title,
    )
    return _written(Path(path), text)


def _written(path: Path, text: str) -> Path:
    raw = text.encode()
    if len(raw) > MAX_BYTES:
        raise InputError(f"report: {len(raw) / 1e6:.1f} MB exceeds 5 MB; pass fewer rows in dataset")
    write_atomically(path, raw)
    return path


def render(
    fitted: Fitted,
    *,
    dataset: Shown | None,
    gap: Any,
    train_gap: Any,
    collapse: Any,
    key: PRNGKey,
    title: str | None,
) -> str:
    """Return the page as text; the arguments are those of ``write``."""
    inference = fitted.inference
    measured, on_train = gaps.plain(gap), gaps.plain(train_gap)
    rows = dataset if isinstance(dataset, Dataset) and dataset.cond is None else None
    view = collect(inference, rows, key=key)
    used = sections.usage(collapse, fitted, view)
    parts = [
        sections.bound(measured, on_train),
        sections.training(fitted),
        sections.generated(view),
        sections.latents(view, used),
        sections.exploring(inference.model, view, used),
        members.member(inference.model, view),
        *_of_kind(fitted, dataset, key=key),
        making(fitted),
    ]
    name = type(inference.model).__name__
    about = dataset[0] if isinstance(dataset, tuple) else dataset
    on = "" if about is None else f" of {about.name}"
    return _page(title or f"{name}{on}", lead(fitted, dataset), headline(fitted, measured), parts)


def _page(
    title: str, under: str, numbers: list[tuple[str, str, str]], parts: Sequence[blocks.Section | None]
) -> str:
    return _template().render(
        title=title,
        lead=under,
        headline=numbers,
        sections=[p for p in parts if p is not None],
        css=_asset("page.css"),
        explorer_js=_asset("explorer.js"),
        version=jensen.__version__,
    )


def _of_kind(fitted: Fitted, dataset: Shown | None, *, key: PRNGKey) -> list[blocks.Section | None]:
    """Return the parts that only models of sequences have, or only those of y given x."""
    model, parts = fitted.inference.model, dataset if isinstance(dataset, tuple) else (dataset,)
    if is_stepwise(model):
        given: Any = dataset if isinstance(parts[0], Sequences) else None
        return sequences.sections(fitted, given, key=key)
    if isinstance(model, HasCondition):
        pairs: Any = dataset if isinstance(parts[0], Dataset) and parts[0].cond is not None else None
        return conditional.sections(fitted, pairs, key=key)
    return []


def write_sections(
    path: str | os.PathLike[str],
    fitted: Fitted | None,
    found: Sequence[blocks.Section],
    *,
    title: str,
    lead: str,
    numbers: Sequence[tuple[str, str, str]] = (),
) -> Path:
    """Write a report made of sections of one's own, then how training went and how the fit was made.

    Args:
        path: The file to write; its folder must exist.
        fitted: What a fit returned; None where nothing was fitted, then there are only the sections given.
        found: What comes first.
        title: Heading of the page.
        lead: One line under it.
        numbers: What to see first, as (name, value, note).

    Returns:
        The path written.

    Raises:
        InputError: If the file cannot be written or would exceed 5 MB.
    """
    if fitted is None:
        return _written(Path(path), _page(title, lead, list(numbers), found))
    parts = [*found, sections.training(fitted), making(fitted)]
    return _written(Path(path), _page(title, lead, [*numbers, *headline(fitted, None)], parts))


def lead(fitted: Fitted, dataset: Shown | None) -> str:
    """One line under the title: the four choices and the data."""
    four = " × ".join(name for _, name, _ in facts.choices(fitted.inference))
    if dataset is None:
        return four
    first = dataset[0] if isinstance(dataset, tuple) else dataset
    given: Any = dataset
    if isinstance(first, Sequences):
        return f"{four}, on {_size(*split(given))}"
    held = f" ({len(first.x):,} held out)" if isinstance(dataset, tuple) else ""
    rows = conditional.whole(given)
    count, width = rows.x.shape
    gone, cells = int(hidden(rows).sum()), count * width
    missing = f", {gone:,} of {cells:,} cells missing ({gone / cells:.1%})" if gone else ""
    what = f"{width} columns" if rows.cond is None else conditional.from_to(rows)
    return f"{four}, on {rows.name}: {count:,} rows{held} of {what}{missing}"


def _size(shown: Sequences, train: Sequences | None) -> str:
    """Say how many sequences there are, and how long they are."""
    every = [shown] if train is None else [shown, train]
    n, longest = sum(len(part.x) for part in every), max(int(part.lengths.max()) for part in every)
    width = shown.x.shape[-1]
    gone = sum(int(part.real.sum()) * width - int(part.seen.sum()) for part in every)
    held = "" if train is None else f" ({len(shown.x):,} held out)"
    count = "one sequence of" if n == 1 else f"{n:,} sequences{held} of up to"
    missing = f", {gone:,} cells missing" if gone else ""
    steps, columns = (f"{k:,} {word}{'s' * (k != 1)}" for k, word in ((longest, "step"), (width, "column")))
    return f"{shown.name}: {count} {steps}, {columns}{missing}"


def headline(fitted: Fitted, measured: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """The numbers to see first, as (name, value, note)."""
    lines = []
    if measured is not None:
        evidence = measured["log_evidence"]
        lines += [
            ("ELBO", f"{measured['elbo']['value']:.2f}", "nats per datum" + _on(measured)),
            ("log p(x)", gaps.interval(evidence), _labels(evidence)),
            ("gap", *_total(measured)),
        ]
        if each := gaps.per_step(measured):
            lines.insert(2, ("log p(x), a step", each["= log p(x)"], "nats per step, all steps together"))
    elif len(fitted.history.bound):
        lines.append(("bound", f"{fitted.history.bound[-1]:.2f}", "nats per datum, last step"))
    steps = f"{int(fitted.history.step[-1]):,} steps" if len(fitted.history.step) else "no steps"
    lines.append(
        (
            f"training, {steps}",
            facts.duration(float(fitted.history.seconds)),
            "stopped at " + facts.stopped(fitted.stop_reason),
        )
    )
    return lines


def _on(measured: Mapping[str, Any]) -> str:
    return f", {measured['split']} {gaps.noun(measured)}s" if measured.get("split") else ""


def _total(measured: Mapping[str, Any]) -> tuple[str, str]:
    if gaps.is_zero(measured):
        return "none", "the posterior is exact"
    return gaps.number(measured["total"]), "nats per datum, log p(x) − ELBO"


def _labels(evidence: Mapping[str, Any]) -> str:
    if across := gaps.crossing(evidence):
        return f"the two estimates cross by {gaps.size(across)}: take that as the error"
    kinds = [evidence.get("lower_kind") or "none", evidence.get("upper_kind") or "none"]
    return kinds[0] if kinds[0] == kinds[1] else f"lower {kinds[0]}, upper {kinds[1]}"


def making(fitted: Fitted) -> blocks.Section:
    """How the fit was made: the four choices in full, and versions."""
    four = blocks.Table(("choice", "", "settings"), facts.choices(fitted.inference))
    return blocks.Section("making", "How it was made", [four, blocks.Table((), facts.origin(fitted))])


def _asset(name: str) -> str:
    return (resources.files("jensen.report") / "assets" / name).read_text("utf-8")


@cache
def _template() -> Any:
    import jinja2
    from markupsafe import Markup

    def script_json(value: Any) -> Markup:
        """Write JSON that cannot end the script element around it."""
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["minus"] = gaps.minus
    environment.filters["script_json"] = script_json
    return environment.from_string(_asset("page.html.j2"))
