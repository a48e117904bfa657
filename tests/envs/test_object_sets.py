from pathlib import Path

import numpy as np
import pytest

from simtoreal.envs.assets import AssetError, AssetProblem, ObjectAsset, default_cache_dir, write_cached
from simtoreal.envs.object_sets import MAX_IN_MEMORY, ObjectSet, load_object_set
from simtoreal.envs.solids import Mesh, is_closed, mass_properties


def test_random_objects_are_split_once_and_for_all(cache_dir: Path) -> None:
    train, test = load_object_set("random_train", cache_dir), load_object_set("random_test", cache_dir)
    assert test.names == tuple(f"{index:03d}" for index in range(900, 1000))
    assert len(train) == 899
    assert not set(train.names) & set(test.names)


def test_an_object_with_broken_vertices_is_left_out_and_named(cache_dir: Path) -> None:
    train = load_object_set("random_train", cache_dir)
    assert [problem.path.stem for problem in train.problems] == ["168"]
    assert "not finite" in train.problems[0].reason
    assert "168" not in train.names


def test_random_objects_are_closed_finite_and_in_metres(cache_dir: Path) -> None:
    objects = load_object_set("random_train", cache_dir)
    for name in objects.names[::60]:
        asset = objects.asset(name)
        assert np.isfinite(asset.vertices_m).all()
        assert asset.faces.min() == 0
        assert asset.faces.max() == len(asset.vertices_m) - 1
        assert is_closed(Mesh(asset.vertices_m, asset.faces))
        assert mass_properties(Mesh(asset.vertices_m, asset.faces)).volume_m3 > 1e-5
        assert 0.02 < asset.extents_m.max() < 0.25
        assert asset.urdf_path.is_file()


def test_an_object_is_remembered_until_too_many_others_were_used(cache_dir: Path) -> None:
    asset = load_object_set("random_test", cache_dir).asset("900")
    loaded = []

    def load(name: str) -> ObjectAsset:
        loaded.append(name)
        return asset

    objects = ObjectSet("many", tuple(str(i) for i in range(MAX_IN_MEMORY + 1)), load)
    assert objects.asset("0") is objects.asset("0")
    assert loaded == ["0"]
    for name in objects:
        objects.asset(name)
    objects.asset("0")
    assert loaded.count("0") == 2


def test_unknown_names_say_what_there_is(cache_dir: Path) -> None:
    with pytest.raises(AssetError, match=r"'random_test' has no object '000'; it has 100, '900' to '999'"):
        load_object_set("random_test", cache_dir).asset("000")
    with pytest.raises(ValueError, match=r"no object set 'ranodm'.*random_train, random_test, household_train"):
        load_object_set("ranodm", cache_dir)


def test_a_scale_is_refused_where_it_would_do_nothing(cache_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"objects_scale=0.001 is for folders"):
        load_object_set("random_test", cache_dir, scale=0.001)


def test_a_failing_object_is_reported_once_and_left_out_of_what_is_usable(cache_dir: Path) -> None:
    asset = load_object_set("random_test", cache_dir).asset("900")

    def load(name: str) -> ObjectAsset:
        if name == "bad":
            raise AssetError("/objects/bad.obj: has no volume")
        return asset

    objects = ObjectSet("mine", ("good", "bad"), load)
    for _ in range(2):
        with pytest.raises(AssetError, match="has no volume"):
            objects.asset("bad")
    assert objects.problems == (AssetProblem(Path("/objects/bad.obj"), "has no volume"),)
    seen: list[str] = []
    usable = objects.usable(seen.append)
    assert usable.names == ("good",)
    assert usable.problems == objects.problems
    assert seen == ["good", "bad"]


def test_a_set_in_which_everything_fails_says_why() -> None:
    def load(name: str) -> ObjectAsset:
        raise AssetError(f"/objects/{name}.obj: is damaged")

    objects = ObjectSet("mine", tuple("abcdefg"), load)
    with pytest.raises(ValueError, match=r"(?s)mine: no usable object among 7:.*a.obj: is damaged.*and 2 more"):
        objects.usable()


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMTOREAL_CACHE", str(tmp_path / "here"))
    assert default_cache_dir() == tmp_path / "here"
    monkeypatch.delenv("SIMTOREAL_CACHE")
    assert default_cache_dir() == Path.home() / ".cache" / "simtoreal"


def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write the object cache in .*file.*SIMTOREAL_CACHE"):
        write_cached(tmp_path / "file" / "entry", "text")
    write_cached(tmp_path / "folder" / "entry", "text")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["entry"]
