"""The command line as a user meets it: help, settings, checks before the work, errors, and Ctrl-C."""

import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from simtoreal import cli
from simtoreal.config import Arm, ConfigError, Device, EvaluateConfig, PretrainConfig, load_preset
from simtoreal.preflight import find_bundle, resolve_device

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Puts a function in the place of what the verbs carry out; returns the settings that it is called with."""

    def replace(effect: BaseException | None = None) -> list[Any]:
        seen: list[Any] = []

        def carry_out(config: Any) -> None:
            seen.append(config)
            if effect is not None:
                raise effect

        module = types.ModuleType("carried_out")
        module.__dict__["carry_out"] = carry_out
        monkeypatch.setitem(sys.modules, "carried_out", module)
        for name, entry in cli.VERBS.items():
            monkeypatch.setitem(cli.VERBS, name, entry._replace(target="carried_out:carry_out"))
        return seen

    return replace


def settings(verb_name: str, *arguments: str) -> Any:
    return cli.read_settings(cli.VERBS[verb_name].schema, verb_name, arguments)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb_with_one_line_about_it(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    for name, entry in cli.VERBS.items():
        assert f"{name:<12}{entry.about}" in out


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_explains_its_settings_and_shows_an_example(run: Run, name: str) -> None:
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"  simtoreal {name}" in out
    assert "  out=" in out


@pytest.mark.parametrize("name", cli.VERBS)
def test_without_settings_a_verb_gets_the_defaults(name: str) -> None:
    assert settings(name) == cli.VERBS[name].schema()


def test_groups_settings_and_settings_within_groups_are_composed() -> None:
    config = settings("pretrain", "preset=full", "preset.control.net_arch=[64,32]", "seed=3", "algorithm=ppo")
    full = load_preset("full")
    assert config.preset.perception == full.perception
    assert config.preset.control.net_arch == (64, 32)
    assert config.preset.control.total_steps == full.control.total_steps
    assert (config.seed, config.algorithm.value) == (3, "PPO")


@pytest.mark.parametrize("name", ["a b", "a=b", "a(1)", "a,b", "[a]", "ünï", "a:b", "{a}", "~a", "1e3", "true"])
def test_a_folder_may_have_any_name(name: str) -> None:
    assert settings("evaluate", f"objects={name}").objects == name
    assert settings("evaluate", f"out=x/{name}").out == Path("x") / name


@pytest.mark.parametrize("text", ["[oracle,policy]", "oracle,policy", "[oracle, 'policy']", "(oracle,policy)"])
def test_lists_can_be_written_in_any_usual_way(text: str) -> None:
    assert settings("evaluate", f"arms={text}").arms == (Arm.ORACLE, Arm.POLICY)


def test_null_and_nothing_take_back_an_optional_setting() -> None:
    assert settings("evaluate", "camera=external", "camera=null").camera is None
    assert settings("evaluate", "camera=").camera is None
    assert settings("evaluate", "distortion=[0.1,0,0,0,-1e-2]").distortion == (0.1, 0.0, 0.0, 0.0, -0.01)


class Mistake(NamedTuple):
    arguments: str
    message: str


MISTAKES = [
    Mistake(
        "evalute",
        "unknown verb 'evalute': did you mean 'evaluate'? Verbs: quickstart, pretrain, evaluate, compare,",
    ),
    Mistake("evaluate epizodes=5", "unknown key 'epizodes': did you mean 'episodes'? Known keys: bundle, world,"),
    Mistake("evaluate --episodes=5", "settings are written key=value: give episodes=5 instead of --episodes=5"),
    Mistake("evaluate episodes", "settings are written key=value: give episodes=VALUE instead of episodes"),
    Mistake("evaluate +x=1", "unknown key '+x'"),
    Mistake("evaluate episodes=0", "episodes=0 is out of range: allowed is 1 to 1000000"),
    Mistake("evaluate episodes=many", "episodes=many must be a number"),
    Mistake("evaluate objects=", "objects must have a value"),
    Mistake("evaluate arms=policy,orcle", "arms[1]=orcle is not a choice: did you mean 'oracle'?"),
    Mistake("evaluate world=pybulet", "world=pybulet is not a choice: did you mean 'pybullet'?"),
    Mistake("pretrain preset=ful", "preset=ful is not a choice: did you mean 'full'? Choose from: full, quick"),
    Mistake(
        "pretrain preset.control.gama=0.9", "unknown key 'preset.control.gama': did you mean 'preset.control.gamma'?"
    ),
    Mistake("pretrain preset.control=5", "preset.control holds several settings: give them one by one"),
    Mistake("pretrain learning_rate=1", "unknown key 'learning_rate': did you mean 'preset.perception.learning_rate'?"),
    Mistake("evaluate bundle=nowhere", "bundle=nowhere: no such folder"),
    Mistake("evaluate robot=pnada", "robot=pnada is neither a file nor shipped: did you mean 'panda'? Shipped: kuka,"),
    Mistake("pretrain randomization=hars", "randomization=hars is neither a file nor shipped: did you mean 'harsh'?"),
    Mistake(
        "record controller=mujoco reality=hars", "reality=hars is neither a file nor shipped: did you mean 'harsh'?"
    ),
    Mistake("identify base=hars", "base=hars is neither a file nor shipped: did you mean 'harsh'?"),
    Mistake("pretrain photos=nowhere", "photos=nowhere: there is no such folder"),
    Mistake(
        "pretrain out=/proc/nowhere", "out=/proc/nowhere cannot be written: No such file or directory. Give another"
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.arguments)
def test_a_mistake_costs_one_clear_line(run: Run, verb: Callable[..., list[Any]], mistake: Mistake) -> None:
    seen = verb()
    status, out, err = run(*mistake.arguments.split())
    assert status == 2
    assert out == ""
    assert err.startswith(f"simtoreal: {mistake.message}")
    assert err.count("\n") == 1
    assert seen == []


def test_a_verb_gets_typed_settings_and_its_folder_says_where_it_comes_from(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path
) -> None:
    seen = verb()
    out = tmp_path / "run"
    assert run("evaluate", f"bundle={tmp_path}", "episodes=7", f"out={out}") == (0, "", "")
    assert seen == [EvaluateConfig(bundle=str(tmp_path), episodes=7, out=out)]
    written = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert written["verb"] == "evaluate"
    assert written["config"]["episodes"] == 7
    assert written["config"]["arms"] == ["policy", "oracle", "random"]
    assert set(written["provenance"]) == {"command", "started", "git_revision", "versions", "hardware"}
    assert written["provenance"]["versions"]["torch"].startswith("2.")
    assert written["provenance"]["hardware"]["num_cores"] >= 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("bad"), "bad"),
        (ValueError("bad\n  value"), "bad value (SIMTOREAL_TRACEBACK=1 shows where)"),
        (FileNotFoundError(2, "No such file or directory", "a.obj"), "No such file or directory: a.obj"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_an_error_of_a_verb_is_one_line(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path, error: Exception, message: str
) -> None:
    verb(error)
    assert run("inspect", f"bundle={tmp_path}", f"out={tmp_path}") == (2, "", f"simtoreal: {message}\n")


def test_the_traceback_is_there_for_who_asks(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb(ValueError("bad"))
    monkeypatch.setenv("SIMTOREAL_TRACEBACK", "1")
    _, _, err = run("inspect", f"bundle={tmp_path}", f"out={tmp_path}")
    assert "Traceback" in err
    assert "in carry_out" in err


def test_a_programming_error_is_not_dressed_up(run: Run, verb: Callable[..., list[Any]], tmp_path: Path) -> None:
    verb(KeyError("bug"))
    with pytest.raises(KeyError):
        run("inspect", f"bundle={tmp_path}", f"out={tmp_path}")


def test_stopping_says_where_and_how_to_go_on(run: Run, verb: Callable[..., list[Any]], tmp_path: Path) -> None:
    verb(KeyboardInterrupt())
    status, _, err = run("pretrain", f"out={tmp_path}/a b", "seed=1", "resume=false")
    assert status == 130
    assert f"what was finished lies in {tmp_path}/a b." in err
    assert f"Go on with: simtoreal pretrain 'out={tmp_path}/a b' seed=1 resume=true" in err
    status, _, err = run("inspect", f"bundle={tmp_path}", f"out={tmp_path}/c")
    assert status == 130
    assert "Run the same command again" in err


def test_a_finished_pretraining_is_not_overwritten(run: Run, verb: Callable[..., list[Any]], tmp_path: Path) -> None:
    seen = verb()
    assert run("pretrain", f"out={tmp_path}")[0] == 0
    (tmp_path / "bundle").mkdir()
    status, _, err = run("pretrain", f"out={tmp_path}")
    assert status == 2
    assert f"out={tmp_path} already holds a run: add resume=true" in err
    assert run("pretrain", f"out={tmp_path}", "resume=true", "workers=1")[0] == 0
    status, _, err = run("pretrain", f"out={tmp_path}", "resume=true", "seed=1", "preset.control.gamma=0.9")
    assert status == 2
    assert "preset.control.gamma, seed differ from" in err
    assert len(seen) == 2


def test_a_pretraining_that_ended_at_a_mistake_is_started_again_in_its_folder(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path
) -> None:
    verb(ValueError("an object set that nobody knows"))
    assert run("pretrain", f"out={tmp_path}", "objects=[wild]")[0] == 2
    (tmp_path / "wall_time.json").write_text("{}", encoding="utf-8")
    verb()
    assert run("pretrain", f"out={tmp_path}")[0] == 0


def test_a_spoilt_settings_file_is_named(run: Run, verb: Callable[..., list[Any]], tmp_path: Path) -> None:
    verb()
    (tmp_path / "config.yaml").write_text("config: [", encoding="utf-8")
    status, _, err = run("pretrain", f"out={tmp_path}", "resume=true")
    assert status == 2
    assert f"{tmp_path}/config.yaml cannot be read" in err


def test_a_full_disk_is_noticed_before_the_work(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = verb()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3 * 2**20))
    status, _, err = run("pretrain", f"out={tmp_path}")
    assert (status, seen) == (2, [])
    assert "3 MiB are free there and 50 MiB are needed. Make room" in err


def test_a_file_in_the_place_of_the_run_folder_is_named(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path
) -> None:
    verb()
    (tmp_path / "taken").write_text("", encoding="utf-8")
    status, _, err = run("pretrain", f"out={tmp_path}/taken")
    assert status == 2
    assert f"out={tmp_path}/taken cannot be written" in err


def test_a_gpu_that_is_not_there_is_missed_at_once(
    run: Run, verb: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = verb()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, _, err = run("pretrain", "device=cuda", f"out={tmp_path}")
    assert (status, seen) == (2, [])
    assert "simtoreal: device=cuda: " in err
    assert "Use device=cpu or device=auto" in err
    assert resolve_device(Device.AUTO) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device(Device.AUTO) == resolve_device(Device.CUDA) == "cuda"


def test_a_bundle_is_a_folder_or_lies_in_the_run_that_wrote_it(tmp_path: Path) -> None:
    assert find_bundle(str(tmp_path)) == tmp_path
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.yaml").write_text("", encoding="utf-8")
    assert find_bundle(str(tmp_path)) == tmp_path / "bundle"
    with pytest.raises(ConfigError, match="`simtoreal pretrain` writes one"):
        find_bundle(str(tmp_path / "none"))


def test_the_settings_that_no_longer_fit_are_found_in_python_too() -> None:
    with pytest.raises(ConfigError, match="stage=control needs"):
        settings("pretrain", "stage=control")
    assert isinstance(settings("pretrain", "stage=control", "bundle=x"), PretrainConfig)


def start(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "simtoreal.cli", *arguments]
    root = Path(__file__).resolve().parents[1]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=root, **options)


@pytest.mark.parametrize("words", [("evaluate", "--help"), ("--help",)], ids=["long", "short"])
def test_a_reader_that_goes_away_is_no_error(words: tuple[str, ...]) -> None:
    """A short text is still in the buffer when everything has been printed."""
    process = start(*words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert err == ""


def test_help_answers_fast() -> None:
    """Without torch, PyBullet or Hydra: they take seconds to import."""
    code = "import sys; from simtoreal import cli; cli.main(['evaluate', '--help']); "
    code += "print({'torch', 'pybullet', 'hydra'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_ctrl_c_is_answered_with_the_conventional_status(tmp_path: Path) -> None:
    code = (
        "import sys, time, types; from simtoreal import cli; module = types.ModuleType('slow')\n"
        "def wait(config):\n    print('ready', flush=True); time.sleep(60)\n"
        "module.wait = wait; sys.modules['slow'] = module\n"
        "cli.VERBS['inspect'] = cli.VERBS['inspect']._replace(target='slow:wait')\n"
        f"sys.exit(cli.main(['inspect', 'bundle={tmp_path}', 'out={tmp_path}']))"
    )
    # A shell that runs the tests in the background has them ignore SIGINT, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("simtoreal: stopped after 0 min")


def test_bare_words_are_values_of_the_key_that_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings("compare", "runs/a b", "seed=3", "runs/c")
    assert [str(path) for path in found.runs] == ["runs/a b", "runs/c"]
    assert found.seed == 3
    monkeypatch.setitem(cli.VERBS, "evaluate", cli.VERBS["evaluate"]._replace(bare="bundle"))
    assert settings("evaluate", "mine", "episodes=5").bundle == "mine"
    with pytest.raises(ConfigError, match="bundle takes one word, got mine yours"):
        settings("evaluate", "mine", "yours")
    with pytest.raises(ConfigError, match="given twice"):
        settings("evaluate", "mine", "bundle=yours")
