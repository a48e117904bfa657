"""Realities: what ships is where the documents say it is, and what is wrong in a file is named."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.reality import REALITIES, Reality, load_reality, reality_table
from simtoreal.envs.reality_finishes import BACKGROUNDS, FIXTURES, OBJECT_FINISHES, SHEETS, SIZE_PX, TABLES, finish
from simtoreal.envs.reality_gap import Span, gap, gap_table
from simtoreal.schema import ConfigError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "realities.md"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", REALITIES)
def test_a_shipped_reality_draws_inside_its_ranges(name: str):
    reality = load_reality(name)
    samples = [reality.sample(np.random.default_rng(seed)) for seed in range(50)]
    for group, parameter in (("physics", "friction"), ("arm", "gripper_force_n"), ("clock", "observation_latency_s")):
        low, high = getattr(getattr(reality, group), parameter).ends(1.0)
        values = [getattr(getattr(sample, group), parameter) for sample in samples]
        assert low <= min(values) < max(values) <= high
    for sample in samples:
        assert np.linalg.norm(sample.light.lamp_direction) == pytest.approx(1.0)
        assert sample.looks.table in reality.looks.tables


@pytest.mark.parametrize("name", REALITIES)
def test_what_is_written_reads_back(name: str, tmp_path: Path):
    reality = load_reality(name)
    assert load_reality(written(tmp_path, yaml.safe_dump(reality.to_plain()))) == reality
    assert Reality().updated(reality.to_plain()) == reality


def test_the_same_seed_draws_the_same_and_groups_do_not_disturb_one_another():
    reality = load_reality("default")
    first, again = (reality.sample(np.random.default_rng(4)) for _ in range(2))
    assert first == again
    slower = reality.updated({"clock": {"observation_latency_s": 0.2}}).sample(np.random.default_rng(4))
    assert slower.clock.observation_latency_s == 0.2
    assert (slower.physics, slower.looks, slower.optics) == (first.physics, first.looks, first.optics)


def test_a_file_names_only_what_differs_from_its_base(tmp_path: Path):
    mine = load_reality(written(tmp_path, "base: mild\nphysics: {friction: 0.3}\n"))
    assert str(mine.physics.friction) == "0.3"
    assert mine.arm == load_reality("mild").arm
    assert load_reality(written(tmp_path, "content: {num_blocks: 2}\n")).arm == Reality().arm


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("friction: 1\n", r"mine\.yaml: friction: unknown key; allowed: optics, image, depth"),
        ("physics: {fricton: 1}\n", r"physics\.fricton: unknown key; allowed: table_height_m, friction"),
        ("physics: {friction: 9}\n", r"physics\.friction: 9 is out of range; allowed: 0\.05 to 3 \(1, sliding"),
        ("physics: {friction: slippery}\n", r"physics\.friction: 'slippery' is not a range; allowed: one of =U"),
        (
            "clock: {action_latency_s: '=U(0.2, 0.1)'}\n",
            r"clock\.action_latency_s: .*needs finite ends with low <= high",
        ),
        ("looks: {tables: [marble]}\n", r"looks\.tables: \['marble'\] must be some of laminate, oak"),
        ("light: {temperature_k: '*U(0.5, 2)'}\n", r"light\.temperature_k: .* must use =U or =LogU"),
        ("base: PyBullet\n", r"base: 'PyBullet' is not a shipped reality; allowed: mild, default, harsh"),
        ("- 1\n", r"must hold a mapping, got list"),
        ("physics: [\n", r"cannot be read as YAML"),
        ("optics: 3\n", r"optics: 3 is not a mapping of fov_scale"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_reality(written(tmp_path, text))


def test_a_reality_that_is_not_there():
    with pytest.raises(ConfigError, match=r"reality=wild is .*'mild'\? Shipped: default, harsh, mild"):
        load_reality("wild")


# --- outside of training


def test_the_share_outside_is_that_of_the_draws():
    assert Span(0.0, 1.0).outside_frac(Span(0.25, 0.75)) == pytest.approx(0.5)
    assert Span(2.0, 3.0).outside_frac(Span(0.0, 1.0)) == 1.0
    assert Span(0.2, 0.4).outside_frac(Span(0.0, 1.0)) == 0.0
    assert Span(0.5, 0.5).outside_frac(Span(0.0, 0.4)) == 1.0
    assert Span(0.1, 10.0, is_log=True).outside_frac(Span(1.0, 100.0)) == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "least", "most"), [("mild", 0, 3), ("default", 5, 20), ("harsh", 10, 20)])
def test_a_reality_lies_as_far_outside_of_training_as_it_promises(name: str, least: int, most: int):
    outside = [row.what for row in gap(load_reality(name)) if row.is_outside]
    assert least <= len(outside) <= most, outside


def test_what_training_covers_is_not_outside():
    wide = load_randomization("default").updated({"timing": {"observation_latency_s": "=U(0, 1)"}})
    rows = {row.what: row for row in gap(load_reality("harsh"), wide)}
    assert not rows["observation latency"].is_outside
    assert rows["action latency"].is_outside


def test_the_documents_show_the_tables_as_they_are():
    page = DOCS.read_text(encoding="utf-8")
    assert gap_table() in page, "docs/realities.md: put the text of reality_gap.gap_table() there again"
    assert reality_table() in page, "docs/realities.md: put the text of reality.reality_table() there again"


@pytest.mark.parametrize("name", REALITIES)
def test_a_reality_file_starts_with_its_command(name: str):
    text = (DOCS.parents[1] / "configs" / "reality" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# simtoreal evaluate bundle=default world=mujoco reality={name}\n")


# --- looks


@pytest.mark.parametrize("kind", sorted({*TABLES, *BACKGROUNDS, *OBJECT_FINISHES, *FIXTURES, *SHEETS}))
def test_every_finish_paints_differently_by_seed_and_the_same_by_the_same(kind: str):
    first, other = finish(kind, 1), finish(kind, 2)
    assert first.shape == (SIZE_PX, SIZE_PX, 3)
    assert first.dtype == np.uint8
    assert np.abs(first.astype(float) - other).mean() > 0.5
    np.testing.assert_array_equal(first, finish(kind, 1))


def test_an_unknown_finish_is_named():
    with pytest.raises(ValueError, match="finish 'gold' is unknown; allowed: laminate, oak"):
        finish("gold", 0)
