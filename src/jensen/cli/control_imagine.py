"""``jensen control imagine``: an actor learned in the imagination of a world model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control import Outcome, Work
from jensen.cli.control_learning import by_chance, course, filmed, learned, surveyed
from jensen.cli.control_plan import along, ended
from jensen.cli.control_worlds import source

if TYPE_CHECKING:
    from jensen.cli.control_learning import Place
    from jensen.control import Imagined, Learned
    from jensen.datasets import Episodes

ACTOR = "actor"
"""Folder of the actor-critic's own checkpoints, in the run directory."""


def engine() -> Imagine:
    """Return the part."""
    return Imagine()


class Imagine:
    """Learns in imagination."""

    def check(self, work: Work) -> None:
        """Refuse environments that cannot work."""
        surveyed(work)

    def run(self, work: Work) -> Outcome:
        """Learn a world model, then an actor in it, and let it act."""
        import jax

        from jensen import control, fit

        place, options = surveyed(work), work.options
        found = learned(work, place, None)
        names = {
            "horizon": "horizon",
            "discount": "discount",
            "entropy": "temperature",
            "actor_steps": "steps",
        }
        chosen = {theirs: options[ours] for ours, theirs in names.items() if ours in options}
        actor = control.imagine(
            found.fitted,
            found.replay.to_data(),
            place.actions,
            run=fit.Run(work.folder / ACTOR, resume=True),
            key=jax.random.key(options["seed"]),
            **chosen,
        )
        if actor.stop_reason == "interrupted":
            raise KeyboardInterrupt
        print(actor, flush=True)
        print(f"acting in {options['evaluate']} episodes", flush=True)
        acted = control.record(source(work), actor.policy, options["evaluate"], seed=options["seed"])
        return _outcome(work, place, found, actor, acted)


def _outcome(work: Work, place: Place, found: Learned, actor: Imagined, acted: Episodes) -> Outcome:
    from jensen import control
    from jensen.control.worlds.model import ModelWorld
    from jensen.report import control as pages
    from jensen.report import facts

    chance = by_chance(work, place, len(acted))
    mean, least = control.bootstrap(acted.returns), control.bootstrap(chance.returns)
    rows = [
        ("return", f"{mean} (interquartile mean of {len(acted)} episodes, 95% bootstrap)"),
        ("return, random actions from the same starts", str(least)),
        ("imagined λ-return of start states", f"{actor.measures['imagined_return'][-1]:.4g}"),
        ("actor's entropy", f"{actor.measures['entropy'][-1]:.3g} nats"),
        *course(found.replay, found.rounds),
    ]
    strip = filmed(ModelWorld(found.fitted, latent="mean"), acted, place, work.options["seed"])
    sections = [
        pages.learning(along(acted.returns, found, chance), rows, xlabel="round", references={}),
        _imagined(actor),
        *pages.imagination((), (), strip),
        *ended(found, (("actor", facts.stopped(actor.stop_reason), facts.duration(actor.seconds)),)),
    ]
    figures = {
        "returns": acted.returns.round(4).tolist(),
        "random returns": chance.returns.round(4).tolist(),
        "measures": {name: np.asarray(values).round(5).tolist() for name, values in actor.measures.items()},
    }
    lead = f"actor and critic, {actor.settings.horizon} steps imagined from each state of {work.env}"
    numbers = [
        ("return", f"{mean.value:.4g}", f"{mean.lower:.4g} to {mean.upper:.4g}, interquartile mean"),
        ("random actions", f"{least.value:.4g}", "from the same starts"),
    ]
    return Outcome(lead, sections, rows, numbers, figures, found.fitted)


def _imagined(actor: Imagined) -> Any:
    """Draw the return that the actor imagined while it learned."""
    from jensen.report import blocks
    from jensen.report.control_returns import Curve, returns

    values = np.asarray(actor.measures["imagined_return"])
    steps = np.linspace(1, actor.settings.steps, len(values))
    text = "λ-return of the start states under the actor as it was; it can rise while the real one does not."
    drawn = returns(
        [Curve("imagined", steps, values[None])],
        xlabel="gradient step",
        ylabel="imagined return",
        caption=text,
    )
    return blocks.Section("imagined", "What it imagined", [drawn])
