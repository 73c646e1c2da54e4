"""``jensen imitate``: from demonstrations to a policy that has been seen acting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jensen.cli.imitation_options import DEFAULTS, DEMONSTRATED, IMITATION, OF_DEMONSTRATOR, SETTINGS
from jensen.cli.options import flags
from jensen.cli.runs import CONTROLS, IMITATES, check_free, damaged, read_config, start_folder, trained, undo
from jensen.cli.shell import Interrupted, start_jax
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.control import Evaluation, Imitation
    from jensen.datasets import Episodes

FILES = (".npz", ".npy", ".csv", ".parquet", ".hdf5")
"""Endings of what is a file, whether it is there or not; what else is not there is an environment."""


@dataclass(frozen=True)
class Plan:
    """What is imitated, as the run's config file says it.

    Attributes:
        source: An environment that demonstrates, or recorded episodes.
        options: All that was written, and the defaults of the command.
        folder: The run directory.
    """

    source: str
    options: dict[str, Any]
    folder: Path

    def config(self) -> bytes:
        """Return the content of the config file."""
        plain = {IMITATES: self.source, **self.options}
        head = "# jensen imitate --resume FOLDER goes on with this\n"
        return (head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).encode()

    @classmethod
    def of(cls, folder: Path) -> Plan:
        """Read a run's config file.

        Raises:
            CorruptRunError: There is no run, or its config file is damaged.
            InputError: It is no imitation.
        """
        plain = read_config(folder)
        if CONTROLS in plain:
            raise InputError(f"{folder} holds a run of `jensen control {plain[CONTROLS]}`; go on with that")
        if IMITATES not in plain:
            raise InputError(f"{folder} holds a fit; go on with `jensen fit --resume {folder}`")
        source = plain.pop(IMITATES)
        try:
            return cls(source, {name: IMITATION[name].value(value) for name, value in plain.items()}, folder)
        except (KeyError, InputError) as error:
            raise damaged(folder, error) from None

    @property
    def recorded(self) -> bool:
        """Whether demonstrations were recorded before."""
        return (
            self.source.startswith("minari:")
            or self.source.lower().endswith(FILES)
            or Path(self.source).expanduser().exists()
        )

    @property
    def env(self) -> str | None:
        """Where to act; None where only a file is known."""
        return self.options.get("env") if self.recorded else self.source


def imitate(given: dict[str, Any]) -> int:
    """Learn a policy from demonstrations, let it act, and report.

    Args:
        given: What was written; None where nothing was.

    Returns:
        0.

    Raises:
        InputError: Anything the user can mend; nothing is left half written.
        Interrupted: Ctrl-C.
    """
    written = {name: given[name] for name in IMITATION if given[name] is not None}
    if given["resume"] is not None:
        if given["source"] or written or given["out"] or given["overwrite"]:
            raise InputError("--resume goes on with a run's own options; leave everything else out")
        return _run(Plan.of(Path(given["resume"])), fresh=False)
    if given["source"] is None:
        raise InputError(
            "nothing to imitate; name an environment or recorded episodes, as in "
            "`jensen imitate jensen/Tree-v0`"
        )
    options = DEFAULTS | {name: IMITATION[name].value(value) for name, value in written.items()}
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in given["source"].split("/")[-1])
    folder = Path(given["out"] or f"runs/{options['policy']}-{stem}").expanduser()
    plan = Plan(_lasting(given["source"]), options, folder)
    _check(plan)
    check_free(folder, overwrite=given["overwrite"])
    return _run(plan, fresh=True)


def _lasting(source: str) -> str:
    """Return a file's path as the run keeps it, so that it does not depend on the folder; else the id."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() and not source.startswith("minari:") else source


def _check(plan: Plan) -> None:
    """Refuse options that do not go with where demonstrations come from."""
    if plan.recorded:
        extra = [name for name in OF_DEMONSTRATOR if name in plan.options]
        if extra:
            raise InputError(
                f"{flags(extra)} is for environments that demonstrate; {plan.source} is recorded"
            )
    elif "env" in plan.options:
        raise InputError(f"--env is for recorded episodes; {plan.source} is where the policy acts already")


def _run(plan: Plan, *, fresh: bool) -> int:
    start_jax()
    from jensen.cli.data import in_flags

    with in_flags():
        return _carry_out(plan, fresh=fresh)


def _carry_out(plan: Plan, *, fresh: bool) -> int:
    from jensen.control.recipes import Settings

    settings = {name: plan.options[name] for name in SETTINGS if name in plan.options}
    chosen = Settings.of(plan.options["policy"], settings)  # what contradicts itself is refused first
    demonstrations = _demonstrations(plan)
    for line in _header(plan, chosen, demonstrations):
        print(line, flush=True)
    made = start_folder(plan) if fresh else []
    try:
        found = _learn(plan, settings, demonstrations)
        if found.fitted.stop_reason == "interrupted":
            raise KeyboardInterrupt
        evaluation = _act(plan, found, demonstrations)
        _report(plan, found, evaluation, demonstrations)
    except KeyboardInterrupt:
        raise Interrupted(f"continue with `jensen imitate --resume {plan.folder}`") from None
    except (ValueError, FloatingPointError):
        if fresh and not trained(plan.folder):
            undo(plan, made)
        raise
    print(f"report: {plan.folder / 'report.html'}")
    return 0


def _demonstrations(plan: Plan) -> Episodes:
    """Record demonstrations, or read recorded ones."""
    if plan.recorded:
        from jensen import datasets

        return datasets.load_episodes(plan.source)
    from jensen import envs

    options = plan.options
    opened = envs.make(plan.source)
    known = isinstance(opened.unwrapped, envs.Env)
    opened.close()
    if not known:
        raise InputError(
            f"{plan.source} has no demonstrator of its own; give recorded episodes, as in "
            f"`jensen imitate FILE --env {plan.source}`"
        )
    shares = options.get("shares")
    return envs.demonstrate(
        plan.source,
        options.get("episodes", DEMONSTRATED),
        shares=None if shares is None else tuple(shares),
        seed=options["seed"],
        noise=options.get("noise"),
    )


def _header(plan: Plan, chosen: Any, episodes: Episodes) -> list[str]:
    """Say what is imitated, and how."""
    low, high = episodes.lengths.min(), episodes.lengths.max()
    long = f"{low}" if low == high else f"{low} to {high}"
    acts = "discrete actions" if episodes.discrete else f"{episodes.action_dim} actions"
    first = (
        f"{episodes.name}: {len(episodes)} demonstrations of {long} steps, "
        f"{episodes.observation_dim} observations, {acts}"
    )
    ways = ", ".join(f"{mode} {share:.2f}" for mode, share in episodes.shares.items())
    wins = "" if episodes.successes is None else f"{int(episodes.successes.sum())} succeed"
    rest = "; ".join(part for part in (wins, ways) if part)
    kind = plan.options["policy"]
    of_kind = {"mdn": ("components",), "cvae": ("hold", "latent")}.get(kind, ())
    names = [*of_kind, *(["horizon"] if chosen.horizon > 1 else []), "widths", "steps", "learning_rate"]
    shown = ", ".join(f"{name.replace('_', ' ')} {_plain(getattr(chosen, name))}" for name in names)
    return [f"{first} ({rest})" if rest else first, f"{kind}: {shown}"]


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _learn(plan: Plan, settings: dict[str, Any], demonstrations: Episodes) -> Imitation:
    import jax

    from jensen import control, fit
    from jensen.report import facts

    space = None
    if plan.env is not None:
        from jensen import envs

        opened = envs.make(plan.env)
        space = opened.action_space
        opened.close()
    found = control.imitate(
        demonstrations,
        plan.options["policy"],
        key=jax.random.key(plan.options["seed"]),
        space=space,
        run=fit.Run(plan.folder, resume=True),
        **settings,
    )
    steps = int(found.fitted.history.step[-1]) if len(found.fitted.history.step) else 0
    took = facts.duration(found.seconds)
    print(f"stopped by {facts.stopped(found.fitted.stop_reason)}; {steps:,} steps, {took}", flush=True)
    return found


def _act(plan: Plan, found: Imitation, demonstrations: Episodes) -> Evaluation | None:
    """Let the policy act, print what came of it, and keep the numbers."""
    from jensen import control
    from jensen.fit.files import write_atomically

    count = plan.options["evaluate"]
    if not count or plan.env is None:
        nll, bound = found.held_out_nll, "at most " if found.nll_kind != "exact" else ""
        if nll is not None:
            print(f"held-out −log p: {bound}{nll:.3f} nats per action")
        if count:
            print("to see the policy act, name its environment with --env")
        return None
    print(f"acting in {count} episodes of {plan.env}", flush=True)
    done = control.evaluate(
        found,
        plan.env,
        count,
        seed=plan.options["seed"],
        demonstrations=demonstrations,
        held_out=found.held_out,
    )
    print(done, flush=True)
    numbers = {name: value for name, value in done.rows() if name != "seconds"}
    text = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
    write_atomically(plan.folder / "evaluation.json", text.encode())
    return done


def _report(plan: Plan, found: Imitation, done: Evaluation | None, demonstrations: Episodes) -> None:
    from jensen import report
    from jensen.report import behaviour

    sections = []
    if done is not None and plan.env is not None:
        scenes = _scenes(plan.env, plan.options["seed"])
        flat = len(scenes) > 0
        ran = _paths(done.episodes, drawn=flat)
        shown = _paths(demonstrations, drawn=flat and len(scenes) == 1)
        rows = [(name, value) for name, value in done.rows() if name != "seconds"]
        sections.append(behaviour.section(rows, ran, scenes, shown))
    title = f"{plan.options['policy']} imitates {demonstrations.name}"
    lead = f"{found.policy!r}, from {len(demonstrations)} demonstrations"
    report.write_sections(
        plan.folder / "report.html",
        found.fitted,
        sections,
        title=title,
        lead=lead,
        numbers=[] if done is None else _numbers(done),
    )


def _numbers(done: Evaluation) -> list[tuple[str, str, str]]:
    """Return what to see first of an evaluation."""
    count = f"of {len(done.episodes)} episodes"
    if done.success is None:
        low, high = done.mean_return.lower, done.mean_return.upper
        return [("return", f"{done.mean_return.value:.4g}", f"{low:.4g} to {high:.4g}, mean {count}")]
    rate = done.success
    return [("success", f"{rate.value:.0%}", f"{rate.lower:.0%} to {rate.upper:.0%} (95%, Wilson), {count}")]


def _scenes(env: str, seed: int) -> list[Any]:
    """Return what is beneath paths: one scene, one an episode where they differ, none outside the plane."""
    from jensen import envs
    from jensen.report.behaviour import SMALL

    opened = envs.make(env)
    inner, found = opened.unwrapped, []
    if isinstance(inner, envs.Env):
        for i in range(SMALL):
            opened.reset(seed=seed + i)
            found.append(inner.scene())
    opened.close()
    return found[:1] if all(scene == found[0] for scene in found) else found


def _paths(episodes: Episodes, *, drawn: bool) -> Any:
    """Return where episodes went: positions stand first in what jensen's environments observe."""
    from jensen.report.behaviour import Paths

    parts = [o[:, :2] if drawn else o[:0, :2] for o in episodes.observations]
    if parts[0].shape[1] < 2:
        parts = [part.repeat(2, 1) for part in parts]
    return Paths.of(parts, episodes.modes, episodes.successes)
