"""Cached arrays: whole or not at all, made anew where they are broken, and never run."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simtoreal.envs.storage import load_arrays, save_arrays

ARRAYS = {"poses": np.arange(12.0).reshape(3, 4), "names": np.array(["a", "bc"])}


def test_arrays_read_back_the_same(tmp_path: Path):
    path = tmp_path / "deep" / "folder" / "x.npz"
    save_arrays(path, ARRAYS)
    loaded = load_arrays(path)
    assert loaded is not None
    assert loaded.keys() == ARRAYS.keys()
    assert all(np.array_equal(loaded[key], ARRAYS[key]) for key in ARRAYS)
    assert [item.name for item in path.parent.iterdir()] == ["x.npz"], "no temporary file stays"


def test_nothing_there_is_none(tmp_path: Path):
    assert load_arrays(tmp_path / "x.npz") is None


@pytest.mark.parametrize("keep_frac", [0.0, 0.3, 0.9])
def test_a_cut_off_file_is_none_and_can_be_replaced(tmp_path: Path, keep_frac: float):
    path = tmp_path / "x.npz"
    save_arrays(path, ARRAYS)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep_frac * len(content))])
    assert load_arrays(path) is None
    save_arrays(path, ARRAYS)
    assert load_arrays(path) is not None


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_none_and_not_run(tmp_path: Path):
    path, sprung = tmp_path / "x.npz", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    assert load_arrays(path) is None
    np.savez(path, trap=np.array([Trap(sprung)], dtype=object))
    assert load_arrays(path) is None
    assert not sprung.exists()


def test_a_single_array_under_the_wrong_name_is_none(tmp_path: Path):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert load_arrays(path) is None


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file.*SIMTOREAL_CACHE"):
        save_arrays(tmp_path / "file" / "x.npz", ARRAYS)


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.npz"
    save_arrays(path, ARRAYS)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match=r"No space left on device.*free space"):
        save_arrays(path, {"poses": np.zeros(1)})
    loaded = load_arrays(path)
    assert loaded is not None
    assert np.array_equal(loaded["poses"], ARRAYS["poses"])
    assert [item.name for item in tmp_path.iterdir()] == ["x.npz"]
