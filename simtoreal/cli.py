"""The command line, `simtoreal VERB [key=value ...]`: the only file that knows Hydra, and the one with every verb."""

import dataclasses
import importlib
import importlib.metadata
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple, get_origin

from simtoreal import __version__
from simtoreal.calibration.settings import CalibrateConfig
from simtoreal.config import (
    ConfigError,
    EvaluateConfig,
    InspectConfig,
    PretrainConfig,
    QuickstartConfig,
)
from simtoreal.deployment.settings import DeployConfig
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.settings import DatasetConfig, RecordConfig
from simtoreal.evaluation.settings import CompareConfig
from simtoreal.export.settings import ExportConfig
from simtoreal.identification.settings import IdentifyConfig
from simtoreal.schema import closest, dotted_keys, field_map, parse, type_at, unknown_key, without_none
from simtoreal.serving.settings import ServeConfig
from simtoreal.settings_files import shipped_names
from simtoreal.transfer.settings import CurveConfig, FinetuneConfig
from simtoreal.usage import help_text

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells expect
TRACEBACK_ENV = "SIMTOREAL_TRACEBACK"


class Verb(NamedTuple):
    """One command: its settings, one line about it, and the function that carries it out."""

    schema: type
    about: str
    target: str  # module:function, imported when the verb is used
    goes_on: bool = False  # where the same command again continues what was stopped
    bare: str = ""  # key that words without an equal sign are the values of


VERBS = {
    "quickstart": Verb(
        QuickstartConfig,
        "pretrain small, evaluate on unseen objects, write the report",
        "simtoreal.pretraining.pipeline:quickstart",
    ),
    "pretrain": Verb(
        PretrainConfig,
        "train perception, then control, and write a policy bundle",
        "simtoreal.pretraining.pipeline:pretrain",
    ),
    "evaluate": Verb(
        EvaluateConfig,
        "measure a bundle on unseen objects, beside the oracle and a random policy",
        "simtoreal.evaluation.runner:evaluate",
    ),
    "compare": Verb(
        CompareConfig,
        "say whether one evaluation beats another: paired, with an interval",
        "simtoreal.evaluation.comparison:compare",
        bare="runs",
    ),
    "finetune": Verb(
        FinetuneConfig,
        "fine-tune a bundle on recorded episodes, and say whether it helped",
        "simtoreal.transfer.pipeline:finetune",
        goes_on=True,
    ),
    "curve": Verb(
        CurveConfig,
        "measure what more real episodes bring, and how many the pretraining saved",
        "simtoreal.transfer.curve.command:curve",
        goes_on=True,
    ),
    "identify": Verb(
        IdentifyConfig,
        "find latencies and dynamics in recorded episodes, as randomization ranges",
        "simtoreal.identification.identify_command:identify",
    ),
    "record": Verb(
        RecordConfig,
        "record episodes from a controller into a LeRobotDataset v3.0 folder",
        "simtoreal.episodes.recording:record",
        goes_on=True,
    ),
    "deploy": Verb(
        DeployConfig,
        "run a policy on a robot: checked, guarded, recorded; a dry run unless execute=true",
        "simtoreal.deployment.deploy:deploy",
    ),
    "import": Verb(
        ImportConfig,
        "turn recordings of other formats into a dataset of episodes",
        "simtoreal.episodes.importing.importer:import_episodes",
        goes_on=True,
    ),
    "dataset": Verb(
        DatasetConfig,
        "verify, repair, filter, split or merge recorded datasets",
        "simtoreal.episodes.dataset_command:dataset",
    ),
    "calibrate": Verb(
        CalibrateConfig,
        "measure a camera's lens and mount with a board, or check whether it has moved",
        "simtoreal.calibration.command:calibrate",
        bare="mode",
    ),
    "inspect": Verb(
        InspectConfig,
        "show what is in a bundle or a dataset of episodes, with pictures",
        "simtoreal.transfer.inspect_command:inspect",
    ),
    "serve": Verb(
        ServeConfig,
        "serve a policy to a robot on another computer, or a robot to a policy",
        "simtoreal.serving.command:serve",
    ),
    "export": Verb(
        ExportConfig,
        "write a bundle as ONNX for the robot's computer, with a proof",
        "simtoreal.export.command:export",
        goes_on=True,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    0, 2 for an error that the message explains, 130 for Ctrl-C, or what the verb says: 3 for a harmful `finetune` or an
    `export` whose proof failed, 4 for a `deploy` that was stopped.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(arguments)
        print(end="", flush=True)  # what was said last must not fail after this function has ended
        return status
    except BrokenPipeError:  # `simtoreal evaluate --help | head`
        _forget_stdout()
        return EXIT_ERROR
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get(TRACEBACK_ENV) == "1":
            traceback.print_exc()
        # Whoever raises it with advice of its own gives no name.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        _say_error(_missing(missing) if missing and not missing.startswith("simtoreal") else _one_line(error))
        return EXIT_ERROR


def _forget_stdout() -> None:
    """Nobody reads it any more: what is left in its buffer goes nowhere when Python flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *settings = arguments
    if name not in VERBS:
        raise ConfigError(f"unknown verb {name!r}{closest(name, list(VERBS))} Verbs: {', '.join(VERBS)}")
    if "-h" in settings or "--help" in settings:
        print(_verb_help(name))
        return 0
    return _run(name, read_settings(VERBS[name].schema, name, settings), settings)


def read_settings(schema: type, verb: str, settings: Sequence[str]) -> Any:
    """Composes the YAML of a verb with `key=value` settings, and checks the result.

    Text is taken as it stands, so that folders with spaces, brackets or equal signs need no second quoting.

    Raises:
        ConfigError: a setting is not `key=value`, its key is unknown, or its value cannot be used.
    """
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    bare, settings = _bare_words(VERBS[verb], settings)
    groups, values = [], dict[str, Any](bare)
    for setting in settings:
        key, value = _split(setting, schema)
        if dataclasses.is_dataclass(type_at(schema, key.split("."))):
            groups.append(_group_override(key, value))
        else:
            values[key] = value
    with initialize_config_module("simtoreal.configs", version_base=None):
        composed = compose(config_name=verb, overrides=groups)
    for key, value in values.items():
        OmegaConf.update(composed, key, value)
    return parse(OmegaConf.to_container(composed, resolve=True), schema)  # type: ignore[arg-type]


def _bare_words(verb: Verb, settings: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Words without an equal sign as the value of the verb's `bare` key, and the other settings."""
    key = verb.bare
    words = [setting for setting in settings if key and "=" not in setting and not setting.startswith("-")]
    others = [setting for setting in settings if setting not in words]
    if not words:
        return {}, others
    if any(setting.startswith(f"{key}=") for setting in others):
        raise ConfigError(f"{key} is given twice: as {' '.join(words)} and as {key}=...")
    if get_origin(without_none(type_at(verb.schema, [key]))[0]) is tuple:
        return {key: words}, others
    if len(words) > 1:
        raise ConfigError(f"{key} takes one word, got {' '.join(words)}")
    return {key: words[0]}, others


def _split(setting: str, schema: type) -> tuple[str, Any]:
    """Key and value of one setting; the value is text, a list of texts for a tuple, or None for `null`."""
    key, equals, text = setting.lstrip("-").partition("=")
    hint = type_at(schema, key.split("."))
    if hint is None:
        parent = key.rpartition(".")[0] if type_at(schema, key.split(".")[:-1]) else ""
        raise unknown_key(
            key, dotted_keys(schema), [name for name in dotted_keys(schema) if name.rpartition(".")[0] == parent]
        )
    if not equals or setting.startswith("-"):
        raise ConfigError(f"settings are written key=value: give {key}={text or 'VALUE'} instead of {setting}")
    hint, may_be_none = without_none(hint)
    if may_be_none and text in ("null", ""):
        return key, None
    if get_origin(hint) is not tuple:
        return key, _unquote(text)
    inside = text[1:-1] if text[:1] in ("[", "(") and text[-1:] in ("]", ")") else text
    return key, [_unquote(part.strip()) for part in inside.split(",") if part.strip()]


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _group_override(key: str, name: str) -> str:
    folder = resources.files("simtoreal.configs").joinpath(*key.split("."))
    if not folder.is_dir():
        raise ConfigError(f"{key} holds several settings: give them one by one, such as {key}.KEY=VALUE")
    names = shipped_names(key.replace(".", "/"))
    if name not in names:
        raise ConfigError(f"{key}={name} is not a choice{closest(name, names)} Choose from: {', '.join(names)}")
    return f"{key}={name}"


def _run(name: str, config: Any, settings: list[str]) -> int:
    from simtoreal import preflight
    from simtoreal.provenance import write_resolved_config

    preflight.check(config)
    write_resolved_config(config.out, config)
    module, _, function = VERBS[name].target.partition(":")
    started = time.monotonic()
    try:
        status = getattr(importlib.import_module(module), function)(config)
    except KeyboardInterrupt:
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        _say_error(
            f"stopped after {minutes} min {seconds} s; what was finished lies in {config.out}. {_go_on(name, settings)}"
        )
        return EXIT_INTERRUPTED
    return int(status or 0)


def _go_on(name: str, settings: list[str]) -> str:
    if VERBS[name].goes_on:
        return "Run the same command again to go on."
    if "resume" not in field_map(VERBS[name].schema):
        return "Run the same command again to start over."
    kept = [setting for setting in settings if not setting.startswith("resume=")]
    return f"Go on with: {shlex.join(['simtoreal', name, *kept, 'resume=true'])}"


def _overview() -> str:
    verbs = "\n".join(f"  {name:<12}{verb.about}" for name, verb in VERBS.items())
    return (
        f"simtoreal {__version__}: grasping policies, pretrained in simulation\n\n"
        f"usage: simtoreal VERB [key=value ...]\n\n{verbs}\n\n"
        "simtoreal VERB --help explains every key with default, unit and range."
    )


def _verb_help(name: str) -> str:
    verb = VERBS[name]
    folder = resources.files("simtoreal.configs")
    header = (folder / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    examples = "\n".join(
        f"  {line[2:]}" for line in header if line.startswith(f"# simtoreal {name}") and "--help" not in line
    )
    words = f" [{verb.bare} ...]" if verb.bare else ""
    usage = f"simtoreal {name}{words} [key=value ...]: {verb.about}"
    return f"{usage}\n\nexamples:\n{examples}\n\nkeys:\n{help_text(verb.schema)}"


def _one_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        # `[Errno 28] No space left on device: 'x'` reads better without the number.
        text = error.strerror + (f": {error.filename}" if error.filename is not None else "")
    text = " ".join(text.split()) or type(error).__name__
    explained = isinstance(error, ConfigError | DatasetError | OSError)
    return text if explained else f"{text} ({TRACEBACK_ENV}=1 shows where)"


def _missing(module: str) -> str:
    """What to install for a module that is not here: the extra that lists it, or the whole package."""
    package = module.partition(".")[0]
    extras = [
        re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        for requirement in importlib.metadata.requires("simtoreal") or ()
        if re.split(r"[^\w-]", requirement, maxsplit=1)[0].replace("-", "_").lower() == package.lower()
    ]
    needed = next((f"simtoreal[{extra[1]}]" for extra in extras if extra and extra[1] != "dev"), "simtoreal")
    return (
        f"this needs {package}, which is not installed here: pip install '{needed}'. The robot's computer, with what "
        "robot-requirements.txt lists, runs exported policies and nothing else; the rest belongs on a workstation"
    )


def _say_error(text: str) -> None:
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}simtoreal: {text}{plain}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
