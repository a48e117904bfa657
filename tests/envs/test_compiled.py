import importlib.util
from pathlib import Path
from types import ModuleType

import numba
import pytest

SOURCE = "from simtoreal.envs.compiled import compiled\n\n\n@compiled\ndef twice(x):\n    return 2 * x\n"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    path = tmp_path / "kernels.py"
    path.write_text(SOURCE)
    return path


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernel_files(path: Path, kind: str) -> list[Path]:
    return sorted(path.parent.rglob(f"*twice*.{kind}"))


def test_kernels_are_kept_beside_the_source(source: Path) -> None:
    assert load(source).twice(3) == 6
    assert len(kernel_files(source, "nbc")) == 1
    again = load(source)
    assert again.twice(4) == 8
    assert sum(again.twice.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"cnumba_that_is_gone\nKernel\n."])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_broken_or_foreign_kernel_file_means_compiling_again(source: Path, kind: str, content: bytes) -> None:
    load(source).twice(3)
    (file,) = kernel_files(source, kind)
    file.write_bytes(content)
    assert load(source).twice(3) == 6
    mended = load(source)
    assert mended.twice(3) == 6
    assert sum(mended.twice.stats.cache_hits.values()) == 1


def test_a_full_disk_is_no_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(source)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    assert module.twice(3) == 6
    assert not kernel_files(source, "nbc")


def test_without_any_folder_to_write_to_kernels_live_in_memory(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = source.parent / "blocked"
    blocked.write_text("a file where folders would have to be made")
    (source.parent / "__pycache__").write_text("")
    monkeypatch.setenv("HOME", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked / "cache"))
    assert load(source).twice(3) == 6
    assert not kernel_files(source, "nbc")
