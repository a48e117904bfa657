"""Settings: what is accepted, and what is said about what is not."""

import dataclasses
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.config import (
    ConfigError,
    EvaluateConfig,
    InspectConfig,
    PretrainConfig,
    QuickstartConfig,
    Stage,
    help_text,
    load_preset,
    parse,
)
from simtoreal.episodes.settings import DatasetConfig, RecordConfig
from simtoreal.schema import dotted_keys, option, required
from simtoreal.serving.settings import ServeConfig
from simtoreal.usage import plain

SCHEMAS = {
    "quickstart": QuickstartConfig,
    "pretrain": PretrainConfig,
    "evaluate": EvaluateConfig,
    "inspect": InspectConfig,
    "record": RecordConfig,
    "dataset": DatasetConfig,
    "serve": ServeConfig,
}
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Wheel:
    radius_m: float = required("radius", unit="m", minimum=0.1, maximum=2.0)
    spokes: int = option(32, "spokes", minimum=3)


@dataclass(frozen=True)
class Cart:
    wheel: Wheel = required("all four")
    colour: Colour = option(Colour.RED, "paint")
    load_kg: float | None = option(None, "what lies on it", unit="kg", minimum=0.0)
    size_m: tuple[float, float] = option((1.0, 2.0), "width and length", unit="m", minimum=0.0)
    names: tuple[str, ...] = option((), "who may drive it")
    shed: Path = option(Path("shed"), "where it stands")
    braked: bool = option(True, "whether it stands still")


def cart(**changes: Any) -> Cart:
    return parse({"wheel": {"radius_m": 0.5}, **changes}, Cart)


def test_plain_values_become_the_declared_types() -> None:
    made = cart(colour="GREEN", load_kg="12", size_m=[1, "2.5"], names=["a", 3], shed="~/x", braked="false")
    assert made == Cart(
        wheel=Wheel(0.5, 32),
        colour=Colour.GREEN,
        load_kg=12.0,
        size_m=(1.0, 2.5),
        names=("a", "3"),
        shed=Path.home() / "x",
        braked=False,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color": "red"}, "unknown key 'color': did you mean 'colour'? Known keys: wheel, colour, load_kg,"),
        ({"wheel": {"radius_m": 0.5, "spoke": 3}}, "unknown key 'wheel.spoke': did you mean 'wheel.spokes'?"),
        ({"wheel": {"spokes": 3}}, "wheel.radius_m is missing: radius"),
        ({"wheel": 3}, "wheel=3 must hold the keys radius_m, spokes"),
        ({"wheel": {"radius_m": 3}}, "wheel.radius_m=3.0 is out of range: allowed is 0.1 to 2 m"),
        ({"wheel": {"radius_m": 0.5, "spokes": 2}}, "wheel.spokes=2 is out of range: allowed is 3 or more"),
        ({"wheel": {"radius_m": 0.5, "spokes": 3.5}}, "wheel.spokes=3.5 must be a whole number"),
        ({"wheel": {"radius_m": True}}, "wheel.radius_m=True must be a number"),
        ({"colour": "gren"}, "colour=gren is not a choice: did you mean 'green'? Choose from: red, green"),
        ({"load_kg": "heavy"}, "load_kg=heavy must be a number"),
        ({"load_kg": "nan"}, "load_kg=nan must be finite"),
        ({"load_kg": -1}, "load_kg=-1.0 is out of range: allowed is 0 or more kg"),
        ({"size_m": [1, 2, 3]}, "size_m=[1, 2, 3] must have 2 elements, it has 3"),
        ({"size_m": [1, -2]}, "size_m[1]=-2.0 is out of range"),
        ({"names": [["a"]]}, "names[0]=['a'] must be one piece of text"),
        ({"shed": None}, "shed must have a value"),
        ({"braked": "perhaps"}, "braked=perhaps must be true or false"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        cart(**changes)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.text() | st.none() | st.booleans())
def test_any_value_is_either_in_range_or_refused(value: Any) -> None:
    try:
        radius_m = parse({"radius_m": value}, Wheel).radius_m
    except ConfigError:  # and nothing else
        return
    assert 0.1 <= radius_m <= 2.0


@pytest.mark.parametrize("verb", SCHEMAS)
def test_the_yaml_files_hold_every_key_with_its_default(verb: str) -> None:
    text = (CONFIGS / f"{verb}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# simtoreal {verb}")
    values = yaml.safe_load(text)
    values.pop("defaults", None)
    expected = plain(SCHEMAS[verb]())
    expected.pop("preset", None)  # composed from the group configs/preset
    assert values == expected
    assert list(values) == list(expected), "in the order of the schema"


@pytest.mark.parametrize("verb", SCHEMAS)
def test_settings_survive_yaml(verb: str) -> None:
    config = SCHEMAS[verb]()
    assert parse(yaml.safe_load(yaml.safe_dump(plain(config))), SCHEMAS[verb]) == config


@pytest.mark.parametrize("verb", SCHEMAS)
def test_help_explains_every_key(verb: str) -> None:
    text = help_text(SCHEMAS[verb])
    for key in dotted_keys(SCHEMAS[verb]):
        if not key.endswith(".name"):
            assert re.search(rf"^  {re.escape(key)}(=| |$)", text, re.MULTILINE), key
    assert max(len(line) for line in text.splitlines()) <= 110


def test_help_shows_default_range_unit_and_choices() -> None:
    text = " ".join(help_text(Cart).split())
    assert "load_kg=null what lies on it [0 or more kg]" in text
    assert "colour=red paint [red|green]" in text
    assert "size_m=[1.0,2.0] width and length [0 or more m]" in text
    assert "braked=true whether it stands still [true|false]" in text
    assert "wheel.radius_m=? radius [0.1 to 2 m]" in text


def test_every_preset_can_be_read_and_the_full_one_is_larger() -> None:
    quick, full = load_preset("quick"), load_preset("full")
    assert (quick.name, full.name) == ("quick", "full")
    assert full.perception.num_scenes > quick.perception.num_scenes
    assert full.control.total_steps > quick.control.total_steps
    with pytest.raises(ConfigError, match=r"preset=tiny is not a choice\. Choose from: full, quick"):
        load_preset("tiny")


def test_short_keys_take_the_place_of_the_presets_numbers() -> None:
    config = PretrainConfig(num_frames=10, epochs=3, control_steps=500)
    plan = config.plan
    frames_per_scene = config.preset.perception.frames_per_scene
    assert plan.perception.num_scenes * frames_per_scene >= 10
    assert (plan.perception.num_scenes - 1) * frames_per_scene < 10
    assert (plan.perception.epochs, plan.control.total_steps) == (3, 500)
    unchanged = dataclasses.replace(plan.perception, num_scenes=config.preset.perception.num_scenes, epochs=8)
    assert unchanged == dataclasses.replace(config.preset.perception, epochs=8)
    assert PretrainConfig().plan == PretrainConfig().preset


@pytest.mark.parametrize(
    ("schema", "values", "message"),
    [
        (PretrainConfig, {"stage": Stage.CONTROL}, "stage=control needs a trained perception: give bundle=DIR"),
        (PretrainConfig, {"bundle": "x"}, "bundle=x is only used by stage=control"),
        (PretrainConfig, {"encoder_weights": "x"}, "encoder_weights is for encoder=resnet, convnext or dinov2"),
        (EvaluateConfig, {"fx": 80, "cx": 31.5}, "intrinsics come together: fy, cy must be given too"),
        (EvaluateConfig, {"arms": []}, "must name at least one"),
        (EvaluateConfig, {"arms": ["oracle", "oracle"]}, "each one once"),
        (EvaluateConfig, {"distortion": [0.1, 0.2]}, "distortion=[0.1, 0.2] must have 5 elements, it has 2"),
        (EvaluateConfig, {"episodes": 0}, "episodes=0 is out of range: allowed is 1 to 1000000"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(schema: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse(values, schema)
