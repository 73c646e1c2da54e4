"""``jensen control plan``: act by planning in a world model, learned here or given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control import Outcome, Work
from jensen.cli.control_learning import by_chance, course, filmed, given_world, learned, surveyed
from jensen.cli.control_options import OF_COLLECTING
from jensen.cli.control_worlds import source
from jensen.cli.options import flags
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.cli.control_learning import Place
    from jensen.control import Foresight, Learned, Planner
    from jensen.datasets import Episodes

MOST = 100
"""Most episodes that are watched at once."""


def engine() -> Plan:
    """Return the part."""
    return Plan()


class Plan:
    """Plans."""

    def check(self, work: Work) -> None:
        """Refuse environments and options that cannot work."""
        search(work.options)
        surveyed(work)
        if work.options["evaluate"] > MOST:
            raise InputError(
                f"--evaluate is {work.options['evaluate']}; at most {MOST} episodes are watched at once"
            )
        if "world" in work.options:
            extra = [name for name in OF_COLLECTING if name in work.options]
            if extra:
                raise InputError(f"{flags(extra)} is for world models learned here; --world brings its own")
            given_world(work)

    def run(self, work: Work) -> Outcome:
        """Learn a world model, unless one is given; act by planning in it."""
        import jax

        from jensen import control
        from jensen.control.worlds.model import ModelWorld

        place, options = surveyed(work), work.options
        found: Learned | None = None
        if "world" in options:
            world = ModelWorld(given_world(work), latent="mean")
            to_plan = jax.random.key(options["seed"])
            policy = control.Planner(world, place.space, search=search(options), key=to_plan)
        else:
            found = learned(work, place, search(options))
            policy = found.policy
        count, seed = options["evaluate"], options["seed"]
        print(f"acting in {count} episodes", flush=True)
        foresight = control.foresee(policy, source(work), count, seed=seed)
        return _outcome(work, place, policy, foresight, found)


def search(options: dict[str, Any]) -> Any:
    """Return how plans are found.

    Raises:
        InputError: An option of the other planner.
    """
    from jensen import control

    names = ("horizon", "candidates", "iterations", "discount", "temperature")
    chosen = {name: options[name] for name in names if name in options}
    if options["planner"] == "mppi":
        return control.MPPI(**chosen)
    if "temperature" in chosen:
        raise InputError("--temperature is for --planner mppi; cem has none")
    if "candidates" in chosen:
        chosen["elites"] = max(2, min(16, chosen["candidates"] // 4))
    return control.CEM(**chosen)


def _outcome(
    work: Work, place: Place, policy: Planner, foresight: Foresight, found: Learned | None
) -> Outcome:
    from jensen import control
    from jensen.control.worlds.model import ModelWorld
    from jensen.report import control as pages

    chance = by_chance(work, place, len(foresight.episodes))
    earned, floor = foresight.episodes.returns, chance.returns
    mean, least = control.bootstrap(earned), control.bootstrap(floor)
    imagined, real = pairs(foresight, policy.search.horizon)
    rows = [
        ("return", f"{mean} (interquartile mean of {len(earned)} episodes, 95% bootstrap)"),
        ("return, random actions from the same starts", str(least)),
    ]
    if len(real):
        rows.append(
            ("imagined − real return", f"{np.mean(imagined - real):.3g} over {policy.search.horizon} steps")
        )
    if found is not None:
        rows += course(found.replay, found.rounds)
    strip: list[Any] = []
    if isinstance(policy.world, ModelWorld):
        strip = filmed(policy.world, foresight.episodes, place, work.options["seed"])
    sections = [
        pages.learning(
            along(earned, found, chance), rows, xlabel="episode", references={"random": floor.mean()}
        ),
        *pages.imagination(imagined, real, strip),
        *ended(found),
    ]
    figures = {
        "returns": earned.round(4).tolist(),
        "random returns": floor.round(4).tolist(),
        "optimism": [None if np.isnan(x) else round(float(x), 4) for x in foresight.optimism],
    }
    lead = f"{type(policy.search).__name__} over {policy.search.horizon} steps, acting in {work.env}"
    numbers = [
        ("return", f"{mean.value:.4g}", f"{mean.lower:.4g} to {mean.upper:.4g}, interquartile mean"),
        ("random actions", f"{least.value:.4g}", "from the same starts"),
    ]
    return Outcome(lead, sections, rows, numbers, figures, None if found is None else found.fitted)


def pairs(foresight: Foresight, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return imagined and real returns at every H-th step, so that no two share a step.

    The first step is left out: one observation may not tell the state.
    """
    both = [
        (a, b)
        for foreseen, came in zip(foresight.imagined, foresight.real, strict=True)
        for a, b in zip(foreseen[horizon::horizon], came[horizon::horizon], strict=True)
        if np.isfinite(b)
    ]
    return np.array([a for a, _ in both]), np.array([b for _, b in both])


def along(earned: np.ndarray, found: Learned | None, chance: Episodes) -> list[Any]:
    """Return the curve of mean returns by round, where there were rounds."""
    from jensen.report.control_returns import Curve

    if found is None or len(found.rounds) < 2:
        return []
    rounds = [chance.returns, *(r.returns for r in found.rounds[1:]), earned]
    most = max(map(len, rounds))
    scores = np.full((most, len(rounds)), np.nan)
    for i, returns in enumerate(rounds):
        scores[: len(returns), i] = returns
    return [Curve("each round's episodes", np.arange(len(rounds)), scores)]


def ended(found: Learned | None, more: tuple[tuple[str, str, str], ...] = ()) -> list[Any]:
    """Return what stopped, and why."""
    from jensen.report import control, facts

    rows = [] if found is None else [
        (f"world model, round {i}", facts.stopped(found.fitted.stop_reason), facts.duration(one.seconds))
        for i, one in enumerate(found.rounds)
    ]  # fmt: skip
    rows = [*rows, *more]
    return [control.ending(rows)] if rows else []
