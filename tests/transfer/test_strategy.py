"""Strategies are data: all that ship can be read, and what makes no sense is refused."""

from pathlib import Path

import pytest

from simtoreal.schema import ConfigError
from simtoreal.transfer.settings import FinetuneConfig
from simtoreal.transfer.tuning.strategy import Mixture, load_strategy, strategy_names

WANTED = {
    "zero_shot",
    "normalisation",
    "last_layers",
    "heads",
    "staged",
    "all",
    "lora",
    "scratch",
    "self_training",
    "consistency",
}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_what_ships_can_be_read_and_is_named_as_its_file(name: str):
    assert load_strategy(name).name == name


def test_all_that_ship_are_known_and_the_candidates_are_among_them():
    assert set(strategy_names()) == WANTED
    assert set(FinetuneConfig().candidates) <= WANTED


def test_a_strategy_of_ones_own(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, about: slowly, steps: 5, learning_rate: 1e-5, depths: {heads: 1.0}}")
    assert load_strategy(str(path)).learning_rate == 1e-5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{name: a, about: b, steps: 5}", "moves nothing in 5 steps"),
        ("{name: a, about: b, depths: {heads: 1.0}}", "in no step"),
        ("{name: a, about: b, steps: 5, depths: {head: 1.0}}", "did you mean"),
        ("{name: a, about: b, learning_rate: -1}", "out of range"),
        ("{name: a, about: b, start: scratch, steps: 5, adapter_rank: 4}", "start=scratch"),
        ("{about: b}", "name is missing"),
        ("[1, 2]", "mapping"),
        ("{name: [", "YAML"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str, tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_strategy(str(path))


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"did you mean 'staged'.*last_layers"):
        load_strategy("stagd")


def test_a_mixture_goes_from_one_share_to_the_other():
    assert [Mixture(0.8, 0.2).frac_at(progress) for progress in (0.0, 0.5, 1.0, 2.0)] == pytest.approx(
        [0.8, 0.5, 0.2, 0.2]
    )
