"""The bundles that ship with the package: readable by this version, measured, and shown by `inspect`."""

from pathlib import Path

import pytest

import simtoreal
from simtoreal.bundle import load_bundle
from simtoreal.evaluation.inspection import bundle_tables
from simtoreal.policies.load import make_policy
from simtoreal.preflight import find_bundle
from simtoreal.pretraining.card import write_card

BUNDLES = {"default": ("wrist", "rgbd"), "external": ("external", "rgb")}


def test_they_are_all_there():
    assert {path.name for path in (Path(simtoreal.__file__).parent / "bundles").iterdir()} == set(BUNDLES)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_bundle_can_be_used_and_its_tables_shown(name: str):
    folder = find_bundle(name)
    bundle = load_bundle(folder)
    assert (bundle.camera.placement, bundle.camera.modality) == BUNDLES[name]
    make_policy(bundle)
    tables = bundle_tables(folder, bundle)
    assert any("random_test" in str(row) for table in tables for row in table.rows)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6


@pytest.mark.parametrize("name", BUNDLES)
def test_the_card_says_what_was_measured(name: str):
    bundle = load_bundle(find_bundle(name))
    measured = bundle.figures["random_test"]["policy"]
    assert measured["n_episodes"] >= 200
    assert f"| random_test | policy | {measured['pc_success']:.1f} % |" in bundle.card
    assert f"| random_test | policy | {measured['pc_success']:.1f} % |" in write_card(bundle, "full")
