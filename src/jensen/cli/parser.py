"""From the words of the command line to a handler and its options."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jensen
from jensen.cli.control_options import CONTROL, PARTS, check_part, example
from jensen.cli.options import OPTIONS, Option
from jensen.errors import InputError, nearest

Given = dict[str, Any]
Handler = Callable[[Given], int]

_EPILOG = """examples:
  jensen fit vae digits                        train, print the gap, write a report
  jensen fit gmm mine.csv --components 5       csv, tsv, parquet, npy, npz, idx, a folder of images
  jensen fit mdn mine.csv --target price       what a column may be, given the others
  jensen fit lgssm nile                        sequences: hmm, lgssm, dmm, rssm
  jensen fit hmm series.csv --sequence id      rows in order, a column that tells sequences apart
  jensen fit --resume runs/vae-digits          continue bit-exactly after a kill
  jensen imitate jensen/Tree-v0 --policy mdn   learn from demonstrations, act, report
  jensen control irl jensen/CliffWorld-v0      what does a demonstrator want? also plan, imagine, explore
  jensen gap runs/vae-digits new.csv           how tight is the bound on other data?
"""
_HELP = {
    "fit": "fit a preset to data; or continue a run",
    "imitate": "learn a policy from demonstrations, and see it act",
    "control": "plan or learn in a world model, explore, infer a reward",
    "gap": "say where a fitted run's bound on log p(x) is lost",
    "sample": "draw new rows or sequences from a fitted run",
    "report": "write a fitted run's report again",
    "info": "versions, devices, folders, presets, data sets",
}
_WORDS = {
    "fit": "PRESET DATA [options]  or  jensen fit --resume RUN",
    "imitate": "ENV|DATASET [options]  or  jensen imitate --resume RUN",
    "control": "PART ENV [options]  or  jensen control PART --resume RUN",
    "gap": "RUN [DATA] [--json FILE] [--rows N] [--smoothing] [--seed SEED]",
    "sample": "RUN [--num N] [--steps T] [--at A=1,B=2] [--out FILE] [--seed SEED]",
    "report": "RUN",
    "info": "",
}


def parse(argv: Sequence[str]) -> tuple[Handler, Given]:
    """Choose a command.

    Args:
        argv: The words after ``jensen``.

    Returns:
        The command's handler, and what it was given; None where nothing was.

    Raises:
        InputError: A word that means nothing, a missing one, or a config file that cannot be read.
        SystemExit: After ``--help`` and ``--version``, with status 0.
    """
    from jsonargparse import ArgumentError

    parser, commands = _parsers()
    words = _config_first(list(argv))
    if not words:
        parser.print_help()
        raise SystemExit(0)
    if words[0] not in commands and not words[0].startswith("-"):
        raise InputError(f"unknown command {words[0]!r}{nearest(words[0], commands)}")
    if words[0] == "control":
        check_part(words)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse_args(words)
    except ArgumentError as error:
        raise InputError(_one_line(str(error), " ".join(words[: _depth(words)]))) from None
    if parsed.command is None:
        raise InputError(f"{' '.join(words)}: no command; choose one of {', '.join(commands)}")
    given = dict(vars(parsed[parsed.command]))
    if parsed.command == "control":
        given = dict(vars(given[given["part"]])) | {"part": given["part"]}
    return _handler(parsed.command), given


def _handler(command: str) -> Handler:
    if command == "fit":
        from jensen.cli.fit import fit

        return fit
    if command == "imitate":
        from jensen.cli.imitation import imitate

        return imitate
    if command == "control":
        from jensen.cli.control import control

        return control
    from jensen.cli import inspect

    return {"gap": inspect.gap, "sample": inspect.sample, "report": inspect.report, "info": inspect.info}[
        command
    ]


def _parsers() -> tuple[Any, dict[str, Any]]:
    from jsonargparse import ArgumentParser

    class Formatter(argparse.RawDescriptionHelpFormatter):
        """Without jsonargparse's notes on types and defaults."""

    def make(**more: Any) -> Any:
        return ArgumentParser(exit_on_error=False, allow_abbrev=False, formatter_class=Formatter, **more)

    commands = {
        name: make(description=about.capitalize() + ".", usage=f"jensen {name} {_WORDS[name]}")
        for name, about in _HELP.items()
    }
    _add_fit(commands["fit"])
    _add_imitate(commands["imitate"])
    _add_inspectors(commands)
    about = "Variational inference that says how tight the bound is."
    parser = make(prog="jensen", description=about, epilog=_EPILOG, version=jensen.__version__)
    sub = parser.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")
    for name, command in commands.items():
        sub.add_subcommand(name, command, help=_HELP[name])
    _add_control(commands["control"], make)  # the upper level must stand first
    return parser, commands


def _add_fit(parser: Any) -> None:
    from jensen.cli.presets import PRESETS
    from jensen.datasets.arrow import MISSING
    from jensen.datasets.bundled import names

    presets = "\n".join(f"  {name:<11}{preset.about}" for name, preset in PRESETS.items())
    missing = ", ".join(word for word in MISSING if word)
    parser.epilog = (
        f"presets:\n{presets}\n\ndata: {', '.join(names())}, or a file or folder of your own\n\n"
        f"missing: an empty cell, or one of {missing}"
    )
    parser.add_argument("words", nargs="*", metavar="PRESET DATA", help="what to fit to what, see below")
    parser.add_argument("--preset", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    _add_config(parser)
    parser.add_argument("--resume", metavar="RUN", help="continue an unfinished run with its own options")
    parser.add_argument("--out", metavar="FOLDER", help="the run directory (default runs/PRESET-DATA)")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is already in --out")
    _add_options(parser, OPTIONS)


def _add_imitate(parser: Any) -> None:
    from jensen.cli.imitation_options import IMITATION

    parser.epilog = (
        "environments: jensen/Tree-v0, jensen/ThreeRoute-v0, jensen/Particle-v0 demonstrate themselves\n\n"
        "data sets: minari:ID, or an npz file of episodes; --env names where the policy acts then"
    )
    parser.add_argument("source", nargs="?", metavar="ENV|DATASET", help="who demonstrates, see below")
    parser.add_argument("--resume", metavar="RUN", help="continue an unfinished run with its own options")
    parser.add_argument("--out", metavar="FOLDER", help="the run directory (default runs/POLICY-ENV)")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is already in --out")
    _add_options(parser, IMITATION)


def _add_control(parser: Any, make: Callable[..., Any]) -> None:
    parser.epilog = "examples:\n" + "\n".join(f"  {example(part)}" for part in PARTS)
    sub = parser.add_subcommands(required=False, dest="part", metavar="PART", title="parts")
    for part, about in PARTS.items():
        usage = f"jensen control {part} ENV [options]  or  jensen control {part} --resume RUN"
        own = make(description=about.capitalize() + ".", usage=usage, epilog=f"example:\n  {example(part)}")
        own.add_argument("source", nargs="?", metavar="ENV", help="an environment, as Gymnasium knows it")
        own.add_argument("--control", help=argparse.SUPPRESS)
        own.add_argument("--env", help=argparse.SUPPRESS)
        _add_config(own)
        own.add_argument("--resume", metavar="RUN", help="go on with an unfinished run and its own options")
        own.add_argument("--out", metavar="FOLDER", help=f"the run directory (default runs/{part}-ENV)")
        own.add_argument("--overwrite", action="store_true", help="replace the run that is already in --out")
        _add_options(own, CONTROL[part])
        sub.add_subcommand(part, own, help=about)


def _add_config(parser: Any) -> None:
    about = "options from a YAML file, as a run keeps them"
    parser.add_argument("--config", action="config", metavar="FILE", help=about)
    for action in parser._actions:
        if action.dest == "print_config":
            action.help = argparse.SUPPRESS


def _add_options(parser: Any, options: Mapping[str, Option]) -> None:
    groups: dict[str, Any] = {}
    for option in options.values():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        if option.metavar:
            groups[option.group].add_argument(option.flag, metavar=option.metavar, help=option.help)
        else:
            groups[option.group].add_argument(
                option.flag, action="store_true", default=None, help=option.help
            )


def _add_inspectors(commands: dict[str, Any]) -> None:
    for name in ("gap", "sample", "report"):
        commands[name].add_argument("run", metavar="RUN", help="a run directory")
    commands["gap"].add_argument(
        "data", nargs="?", metavar="DATA", help="other data (default: the run's held-out rows)"
    )
    commands["gap"].add_argument("--json", metavar="FILE", help="write the numbers there")
    commands["gap"].add_argument(
        "--rows", metavar="N", help="at most so many rows (default 100, or 20 sequences)"
    )
    commands["gap"].add_argument(
        "--smoothing",
        action="store_true",
        help="fit a q that looks ahead to the run's model, to say what filtering costs",
    )
    commands["sample"].add_argument("--num", metavar="N", help="how many rows or sequences (default 16)")
    commands["sample"].add_argument(
        "--steps", metavar="T", help="steps of each sequence (default: those of the longest trained on)"
    )
    commands["sample"].add_argument(
        "--at", metavar="A=1,B=2", help="inputs to predict from (default: those of held-out rows)"
    )
    commands["sample"].add_argument("--out", metavar="FILE", help="csv, npy, npz or png (default: print csv)")
    own = {"gap": "the run's own: the rows of its fit", "sample": "0"}
    for name, default in own.items():
        about = f"same seed, same result (default {default})"
        commands[name].add_argument("--seed", metavar="SEED", help=about)


def _config_first(words: list[str]) -> list[str]:
    """Move ``--config FILE`` to the front, so that what is typed wins over what is in the file."""
    moved: list[str] = []
    first = _depth(words)
    while "--config" in words[first:-1]:
        at = words.index("--config", first)
        moved += words[at : at + 2]
        del words[at : at + 2]
    return words[:first] + moved + words[first:]


def _depth(words: Sequence[str]) -> int:
    """Return how many words name the command."""
    return 2 if words[:1] == ["control"] else 1


def _known(command: str) -> list[str]:
    """List the options of a command that has many."""
    from jensen.cli.imitation_options import IMITATION

    name, _, part = command.partition(" ")
    options = IMITATION if name == "imitate" else CONTROL.get(part, OPTIONS)
    config = [] if name == "imitate" else ["--config"]
    return [option.flag for option in options.values()] + config + ["--resume", "--out", "--overwrite"]


def _one_line(message: str, command: str) -> str:
    """Say what jsonargparse found in our words."""
    known = _known(command)
    if match := re.search(r"does not accept option '([^']*)'|Key '([^']*)' is not expected", message):
        key = match[1] or match[2]
        hint = nearest(key, [name.strip("-").replace("-", "_") for name in known])
        return f"the config file has an unknown key {key!r}{hint}"
    if match := re.match(r"unrecognized arguments: (\S+)(.*)", message):
        word = match[1].split("=")[0]
        if word.startswith("--") and command.split()[0] in ("fit", "imitate", "control"):
            return f"unknown option {word}{nearest(word, known)}"
        if command == "fit":
            return f"{word!r} is one word too many; PRESET and DATA come first, options after them"
        return f"{word!r} is one word too many; see `jensen {command} --help`"
    if match := re.search(r"File does not exist: '?([^']*)'?", message):
        return f"{match[1]}: no such config file; check the path"
    if "expected one argument" in message:
        return f"{message.split()[1].rstrip(':')} needs a value; see `jensen {command} --help`"
    if 'Parser key "config"' in message or "Problems parsing config" in message:
        return f"the config file is not readable YAML ({' '.join(message.split())[:120]}); correct it"
    if "required" in message and "run" in message:
        return f"which run? Give its folder: jensen {command} RUN"
    return f"{' '.join(message.split())}; see `jensen {command} --help`"
