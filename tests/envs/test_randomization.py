"""Presets, files and samples of the domain randomization."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from simtoreal.envs.randomization import (
    PRESETS,
    Randomization,
    RangeGroup,
    TimingRandomization,
    WorldSample,
    compose,
    load_randomization,
    preset_table,
)
from simtoreal.envs.ranges import Range
from simtoreal.schema import ConfigError

ROOT = Path(__file__).parents[2]
PRESET_FILES = ROOT / "configs" / "randomization"
WIDENING = [("none", "mild"), ("mild", "default"), ("default", "harsh")]


def draw(name: str, seed: int) -> WorldSample:
    return load_randomization(name).sample(np.random.default_rng(seed))


def ranges_of(group: RangeGroup, prefix: str = "") -> dict[str, tuple[float, float]]:
    """Ends of every range by dotted name."""
    found: dict[str, tuple[float, float]] = {}
    for name in group.__dataclass_fields__:
        value = getattr(group, name)
        if isinstance(value, RangeGroup):
            found |= ranges_of(value, f"{prefix}{name}.")
        elif isinstance(value, Range):
            found[prefix + name] = value.ends(group.nominal(name))
    return found


def test_preset_none_is_the_nominal_world() -> None:
    assert load_randomization("none") == Randomization()
    sample, nominal = draw("none", 3).to_dict(), WorldSample().to_dict()
    for key in nominal:
        if not key.endswith("seed"):
            assert sample[key] == pytest.approx(nominal[key], abs=1e-5), key


@pytest.mark.parametrize("name", PRESETS)
def test_preset_files_spell_out_every_parameter_with_its_unit(name: str) -> None:
    text = (PRESET_FILES / f"{name}.yaml").read_text()
    assert text.startswith(f"# simtoreal evaluate bundle=default randomization={name}\n")
    assert yaml.safe_load(text).keys() == Randomization().to_plain().keys()
    plain, full = yaml.safe_load(text), Randomization().to_plain()
    for group, fields in full.items():
        assert plain[group].keys() == fields.keys()
    for line in text.splitlines():
        if ":" in line and not line.strip().endswith(":") and not line.startswith("#"):
            assert "  # " in line, f"no unit: {line}"


@pytest.mark.parametrize(("narrow", "wide"), WIDENING)
def test_each_preset_contains_the_one_before(narrow: str, wide: str) -> None:
    for group in ("visual", "camera", "dynamics", "timing"):
        inner = ranges_of(getattr(load_randomization(narrow), group))
        outer = ranges_of(getattr(load_randomization(wide), group))
        for key, (low, high) in inner.items():
            if key != "light_elevation_rad":  # the nominal lamp hangs straight above, where no real one does
                assert outer[key][0] <= low, f"{group}.{key}"
                assert outer[key][1] >= high, f"{group}.{key}"


def test_harsh_is_as_harsh_as_promised() -> None:
    harsh = load_randomization("harsh")
    assert harsh.dynamics.tracking_lag_s.ends(0.0) == (0.0, 0.3)
    assert harsh.dynamics.friction.ends(0.8) == (0.35, 1.2)
    assert harsh.dynamics.gripper_force_n.ends(30.0) == (8.0, 40.0)
    total = [range_.ends(0.0) for range_ in (harsh.timing.observation_latency_s, harsh.timing.action_latency_s)]
    assert np.sum(total, axis=0) == pytest.approx((0.0, 0.2))


@pytest.mark.parametrize("name", PRESETS)
def test_samples_lie_in_their_ranges_and_are_finite(name: str) -> None:
    randomization = load_randomization(name)
    rng = np.random.default_rng(0)
    for _ in range(200):
        sample = randomization.sample(rng)
        for group in ("sensor", "dynamics", "timing"):
            for key, (low, high) in ranges_of(getattr(randomization, group)).items():
                value = getattr(getattr(sample, group), key)
                size = np.linalg.norm(value) if key == "standing_error_m" else value
                assert np.all(np.asarray(size) >= low - 1e-12), key
                assert np.all(np.asarray(size) <= high + 1e-12), key
        low, high = randomization.camera.mounting_error_m.ends(0.0)
        assert low - 1e-12 <= np.linalg.norm(sample.camera.mounting_error_m) <= high + 1e-12
        assert np.linalg.norm(sample.visual.light_direction) == pytest.approx(1.0)
        assert sample.visual.light_direction[2] > 0
        rgb = np.array([sample.visual.object_rgb, sample.visual.table_rgb, sample.visual.robot_rgb])
        assert rgb.min() >= 0
        assert rgb.max() <= 1
        assert all(np.isfinite(value).all() for value in sample.to_dict().values() if not isinstance(value, str))


def test_draws_fill_their_range() -> None:
    randomization = load_randomization("default")
    rng = np.random.default_rng(0)
    samples = [randomization.sample(rng) for _ in range(2000)]
    friction = np.array([sample.dynamics.friction for sample in samples])
    assert friction.mean() == pytest.approx(0.85, abs=0.02)
    assert (friction.min(), friction.max()) == pytest.approx((0.5, 1.2), abs=0.01)
    counts = np.bincount([sample.visual.num_distractors for sample in samples])
    assert counts == pytest.approx([500, 500, 500, 500], abs=80)
    directions = np.array([sample.camera.mounting_error_m for sample in samples])
    assert directions.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)
    textured = np.mean([sample.visual.table_texture_kind != "plain" for sample in samples])
    assert textured == pytest.approx(0.6, abs=0.04)
    assert not any(sample.visual.table_texture_kind == "photo" for sample in samples)  # no folder was given


def test_same_seed_same_world_and_another_seed_another() -> None:
    assert draw("harsh", 5) == draw("harsh", 5)
    assert draw("harsh", 5) != draw("harsh", 6)


def test_changing_one_group_leaves_the_draws_of_the_others() -> None:
    plain, mixed = compose("default"), compose("default", visual="harsh", timing="none")
    for seed in range(5):
        a, b = (r.sample(np.random.default_rng(seed)) for r in (plain, mixed))
        assert (a.camera, a.sensor, a.dynamics) == (b.camera, b.sensor, b.dynamics)
        assert a.visual != b.visual


def test_presets_share_their_random_numbers() -> None:
    """With one seed, a wider range moves a value outwards instead of drawing an unrelated one."""
    mild, harsh = draw("mild", 11).dynamics, draw("harsh", 11).dynamics
    assert mild.tracking_lag_s / 0.03 == pytest.approx(harsh.tracking_lag_s / 0.3)


@pytest.mark.parametrize("name", PRESETS)
def test_sample_survives_json(name: str) -> None:
    sample = draw(name, 1)
    flat = sample.to_dict()
    assert WorldSample.from_dict(json.loads(json.dumps(flat))) == sample
    assert all(not isinstance(value, dict) for value in flat.values())


def test_sample_of_another_version_is_refused() -> None:
    flat = WorldSample().to_dict()
    del flat["dynamics.friction"]
    with pytest.raises(ValueError, match=r"missing keys \['dynamics.friction'\]"):
        WorldSample.from_dict(flat)
    with pytest.raises(ValueError, match=r"visual.object_rgb must look like"):
        WorldSample.from_dict(WorldSample().to_dict() | {"visual.object_rgb": [1.0]})
    with pytest.raises(ValueError, match=r"dynamics.friction must look like 0.8, got 'slippery'"):
        WorldSample.from_dict(WorldSample().to_dict() | {"dynamics.friction": "slippery"})


@pytest.mark.parametrize("name", PRESETS)
def test_randomization_survives_json(name: str) -> None:
    randomization = load_randomization(name)
    assert Randomization().updated(json.loads(json.dumps(randomization.to_plain()))) == randomization


def test_compose_puts_groups_and_single_parameters_over_a_preset() -> None:
    mixed = compose(
        "default", dynamics="harsh", overrides={"timing.jitter_s": "=U(0, 0.01)", "visual.table.value": 0.3}
    )
    assert mixed.dynamics == load_randomization("harsh").dynamics
    assert mixed.sensor == load_randomization("default").sensor
    assert mixed.timing.jitter_s == Range("=U", 0.0, 0.01)
    assert mixed.visual.table.value == Range.constant(0.3)
    assert mixed.visual.table.hue == load_randomization("default").visual.table.hue


def test_with_group_replaces_a_group_and_refuses_another_type() -> None:
    assert load_randomization("harsh").with_group(timing=TimingRandomization()).timing == TimingRandomization()
    with pytest.raises(ValueError, match="dynamics must be a DynamicsRandomization, got TimingRandomization"):
        Randomization().with_group(dynamics=TimingRandomization())


def test_file_names_only_what_differs_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('base: default\ndynamics: harsh\ntiming:\n  jitter_s: "=U(0, 0.01)"\n')
    loaded = load_randomization(str(path))
    assert loaded == compose("default", dynamics="harsh", overrides={"timing.jitter_s": "=U(0, 0.01)"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dynamics: {friction: "=U(-1, 2)"}', r"dynamics\.friction: =U\(-1, 2\) is out of range; allowed: 0 to 5"),
        ('dynamics: {friktion: "=U(0, 1)"}', r"dynamics\.friktion: unknown key; allowed: .*friction"),
        ('dynamic: {friction: "=U(0, 1)"}', r"dynamic: unknown key; allowed: visual, camera"),
        ('visual: {table: {hue: "*U(0, 1)"}}', r"visual\.table\.hue: .* must use =U"),
        ("visual: {table: {texture_kinds: [tartan]}}", r"visual\.table\.texture_kinds: \['tartan'\] must be some of"),
        ("visual: {own_colours_frac: 2}", r"visual\.own_colours_frac: 2.0 is out of range; allowed: 0 to 1"),
        ("visual: {own_colours_frac: yes}", r"visual\.own_colours_frac: True is not a number"),
        ("timing: {jitter_s: often}", r"timing\.jitter_s: 'often' is not a range; allowed: one of =U\(low, high\)"),
        ("timing: 3", r"timing: 3 is not a mapping of observation_latency_s"),
        ("timing: harshest", r"timing: 'harshest' is not a preset; allowed: none, mild"),
        ("base: harshest", r"'harshest' is not a preset"),
        ("- 1", r"must hold a mapping, got list"),
        ("", r"must hold a mapping, got NoneType"),
        ("a: [", r"cannot be read as YAML"),
        ("visual: {photo_folder: nowhere}", r"no such folder"),
    ],
)
def test_a_bad_file_is_named_with_field_value_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_randomization(str(path))
    assert str(caught.value).startswith(str(path))


def test_unknown_preset_names_the_presets() -> None:
    with pytest.raises(ConfigError, match=r"randomization=wild is .*'mild'\? Shipped: default, harsh, mild, none"):
        load_randomization("wild")


def test_photographs_are_found_beside_the_file_and_used(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((20, 20, 3), np.uint8))
    path = tmp_path / "mine.yaml"
    path.write_text("base: default\nvisual: {photo_folder: photos}\n")
    randomization = load_randomization(str(path))
    samples = [randomization.sample(np.random.default_rng(seed)).visual for seed in range(300)]
    assert samples[0].photo_folder == str((tmp_path / "photos").resolve())
    assert np.mean([sample.table_texture_kind == "photo" for sample in samples]) == pytest.approx(0.3, abs=0.09)


def test_documentation_shows_the_presets_as_they_are() -> None:
    page = (ROOT / "docs" / "randomization.md").read_text()
    assert preset_table() in page, "docs/randomization.md: put the text of preset_table() there again"
