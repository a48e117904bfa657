"""Textures by kind and seed: procedural ones, and crops of the photographs in a folder."""

import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.texture_painters import PAINTERS, SIZE_PX

Image = NDArray[np.uint8]
PROCEDURAL_KINDS = tuple(PAINTERS)
KINDS = ("plain", *PROCEDURAL_KINDS)
PHOTO_KIND = "photo"
_SUFFIXES = (".jpg", ".jpeg", ".png")
# Photographs are kept this small after decoding: a crop of a third of one still has a pixel for each of the texture.
_KEPT_PX = 400


def texture(kind: str, seed: int, photo_folder: str = "") -> Image:
    """The texture of a kind and seed, always the same one.

    Args:
        kind: one of `KINDS`, or `photo` for a crop of a photograph out of `photo_folder`; `plain` is white, so that
            albedo is texture times colour whatever the kind.
        seed: picks the texture, 0 or more.
        photo_folder: folder of photographs; read for `photo` only.

    Returns:
        (128, 128, 3) uint8 RGB, read-only because it is shared.

    Raises:
        ValueError: unknown kind, negative seed, or a folder without a readable photograph.
    """
    if kind != PHOTO_KIND and kind not in KINDS:
        raise ValueError(f"texture kind {kind!r} is unknown; allowed: {', '.join((*KINDS, PHOTO_KIND))}")
    if seed < 0:
        raise ValueError(f"texture seed must be 0 or more, got {seed}")
    return _cached(kind, seed, photo_folder if kind == PHOTO_KIND else "")


@lru_cache(maxsize=256)  # 12 MB
def _cached(kind: str, seed: int, photo_folder: str) -> Image:
    image = photo_folder_at(photo_folder).crop(seed) if kind == PHOTO_KIND else _paint(kind, seed)
    image.setflags(write=False)
    return image


def _paint(kind: str, seed: int) -> Image:
    if kind == "plain":
        return np.full((SIZE_PX, SIZE_PX, 3), 255, dtype=np.uint8)
    # The kind is part of the seed: equal seeds of two kinds must not share their palette.
    return np.ascontiguousarray(PAINTERS[kind](np.random.default_rng((seed, zlib.crc32(kind.encode())))))


class PhotoFolder:
    """The photographs (jpg, png) in a folder and the folders in it; seeds pick a photograph and a crop of it.

    Raises:
        ValueError: the folder does not exist or holds no jpg or png.
    """

    def __init__(self, path: str | Path) -> None:
        folder = Path(path)
        if not path or not folder.is_dir():
            raise ValueError(f"photo_folder={str(path)!r}: no such folder; give a folder of jpg or png photographs")
        self.paths = tuple(sorted(item for item in folder.rglob("*") if item.suffix.lower() in _SUFFIXES))
        if not self.paths:
            raise ValueError(f"photo_folder={str(path)!r}: holds no .jpg or .png file; put photographs there")
        self._folder = folder
        self._unreadable: set[Path] = set()
        self._kept: dict[Path, Image] = {}

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Files that could not be decoded so far and were passed over."""
        return tuple(sorted(self._unreadable))

    def crop(self, seed: int) -> Image:
        """A square crop (128, 128, 3) uint8 RGB of one photograph, at times mirrored.

        Raises:
            ValueError: not one file of the folder can be decoded.
        """
        rng = np.random.default_rng(seed)
        photo = self._photo(int(rng.integers(len(self.paths))))
        height, width = photo.shape[:2]
        edge = max(1, round(min(height, width) * rng.uniform(0.35, 1.0)))
        top, left = int(rng.integers(height - edge + 1)), int(rng.integers(width - edge + 1))
        square = photo[top : top + edge, left : left + edge]
        if rng.random() < 0.5:
            square = square[:, ::-1]
        interpolation = cv2.INTER_AREA if edge > SIZE_PX else cv2.INTER_LINEAR
        return np.asarray(
            cv2.resize(np.ascontiguousarray(square), (SIZE_PX, SIZE_PX), interpolation=interpolation), dtype=np.uint8
        )

    def _photo(self, index: int) -> Image:
        """The photograph at `index`, or the next one that can be decoded."""
        for path in self.paths[index:] + self.paths[:index]:
            if path in self._unreadable:
                continue
            photo = self._kept.get(path)
            if photo is None:
                photo = _decode(path)
            if photo is not None:
                return self._keep(path, photo)
            self._unreadable.add(path)
        raise ValueError(f"photo_folder={str(self._folder)!r}: none of its {len(self.paths)} files can be decoded")

    def _keep(self, path: Path, photo: Image) -> Image:
        """Keeps the last 32 photographs decoded (15 MB): decoding takes far longer than cropping."""
        self._kept[path] = photo
        if len(self._kept) > 32:
            del self._kept[next(iter(self._kept))]
        return photo


@lru_cache(maxsize=4)
def photo_folder_at(path: str) -> PhotoFolder:
    """The one `PhotoFolder` of a path in this process."""
    return PhotoFolder(path)


def _decode(path: Path) -> Image | None:
    """A photograph (H, W, 3) RGB, shrunk to `_KEPT_PX` along its shorter edge, or None if it cannot be read."""
    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except (OSError, cv2.error):
        return None
    if bgr is None:
        return None
    shrink = min(1.0, _KEPT_PX / min(bgr.shape[:2]))
    size = (max(1, round(bgr.shape[1] * shrink)), max(1, round(bgr.shape[0] * shrink)))
    small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA) if shrink < 1.0 else bgr
    return np.asarray(cv2.cvtColor(np.asarray(small), cv2.COLOR_BGR2RGB), dtype=np.uint8)
