"""Statistics: those of numpy, over what is known."""

import numpy as np

from simtoreal.episodes.feature_stats import PictureStats, aggregate, vector_stats


def test_vectors_have_the_statistics_of_numpy_over_what_is_known() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[4, 1] = np.nan
    stats = vector_stats(values)
    assert stats is not None
    np.testing.assert_allclose(stats["mean"], np.nanmean(values, axis=0))
    np.testing.assert_allclose(stats["std"], np.nanstd(values, axis=0))
    np.testing.assert_allclose(stats["q10"], np.nanquantile(values, 0.1, axis=0))
    assert stats["count"] == [50]
    assert vector_stats(np.array([[1.0, np.nan]])) is None


def test_pictures_have_the_statistics_of_their_pixels() -> None:
    stats = PictureStats(3, 256)
    for level in (0, 100):
        stats.add(np.full((16, 16, 3), level, dtype=np.uint8))
    result = stats.result()
    assert result is not None
    assert result["mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(result["mean"].ravel(), 50 / 255)
    np.testing.assert_allclose(result["std"].ravel(), 50 / 255)
    np.testing.assert_allclose(result["max"].ravel(), 100 / 255)
    np.testing.assert_allclose(result["q99"].ravel(), 100 / 255)


def test_depth_without_a_return_does_not_count() -> None:
    stats = PictureStats(1, 65536)
    steps = np.zeros((16, 16), dtype=np.uint16)
    stats.add(steps)
    assert stats.result() is None
    steps[:, 8:] = 1000
    stats.add(steps)
    result = stats.result()
    assert result is not None
    assert (result["min"].item(), result["mean"].item(), result["max"].item()) == (1000, 1000, 1000)


def test_parts_have_the_mean_and_deviation_of_the_whole() -> None:
    values = np.random.default_rng(1).normal(size=(90, 2)) + np.arange(90)[:, None] / 30
    parts = [{"action": vector_stats(part)} for part in (values[:20], values[20:50], values[50:])]
    total = aggregate(parts)["action"]  # type: ignore[arg-type]
    np.testing.assert_allclose(total["mean"], values.mean(axis=0))
    np.testing.assert_allclose(total["std"], values.std(axis=0))
    np.testing.assert_allclose(total["max"], values.max(axis=0))
    assert total["count"] == [90]
