"""Pictures for people: grasps drawn on images, quality overlays, contact sheets, and their encoding for web pages.

All images are uint8 RGB (H, W, 3). Small network inputs are enlarged without smoothing, so that what is shown is
what the network saw.
"""

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal import camera, frames
from simtoreal.contracts import GraspEstimate, Observation

Image = NDArray[np.uint8]

MIN_SIDE_PX = 256  # smaller images are enlarged before anything is drawn on them
JAWS = (255, 214, 10)  # yellow on a dark edge stands out on any table, and for colour-blind eyes
EDGE = (20, 20, 20)
PAPER = (246, 244, 239)
INK = (34, 34, 34)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_JPEG_QUALITY = 88


def upscale(rgb: Image, min_side_px: int = MIN_SIDE_PX) -> Image:
    """Enlarges by a whole factor, without smoothing, until the shorter side has at least `min_side_px` pixels."""
    _check_image(rgb)
    factor = max(1, math.ceil(min_side_px / min(rgb.shape[:2])))
    return np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))


def fit(rgb: Image, width_px: int, height_px: int, background: tuple[int, int, int] = EDGE) -> Image:
    """Scales to fit a box and centres it there; aspect ratio is kept."""
    _check_image(rgb)
    scale = min(width_px / rgb.shape[1], height_px / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    # Pixels of a small image stay visible as such; what was enlarged and drawn on before is only adjusted.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR if scale < 2 else cv2.INTER_NEAREST
    scaled = cv2.resize(rgb, size, interpolation=method)
    canvas = np.full((height_px, width_px, 3), background, dtype=np.uint8)
    top, left = (height_px - size[1]) // 2, (width_px - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


def draw_grasp(
    view_rgb: Image,
    pixel: tuple[float, float],
    angle_rad: float,
    width_px: float,
    quality: float | None = None,
    *,
    jaws: tuple[int, int, int] = JAWS,
) -> Image:
    """Draws two jaws and the line they close along; small images come back enlarged.

    Args:
        view_rgb: (H, W, 3).
        pixel: (u, v) between the jaws, in pixels of `view_rgb`.
        angle_rad: of the closing direction, from image right towards image down.
        width_px: opening between the jaws, in pixels of `view_rgb`.
        quality: in [0, 1], written beside the grasp; None to leave it out.
        jaws: colour that they are drawn in.
    """
    canvas = upscale(view_rgb)
    factor = canvas.shape[0] / view_rgb.shape[0]
    centre = (np.asarray(pixel, dtype=np.float64) + 0.5) * factor
    closing = np.array([math.cos(angle_rad), math.sin(angle_rad)])
    half = 0.5 * max(width_px * factor, 6.0) * closing
    bar = max(9.0, min(canvas.shape[:2]) / 26) * np.array([-closing[1], closing[0]])
    thick = max(2, round(min(canvas.shape[:2]) / 128))
    bars = [(centre + side * half - bar, centre + side * half + bar) for side in (-1, 1)]
    for colour, extra in ((EDGE, 3), (jaws, 0)):
        _line(canvas, centre - half, centre + half, colour, max(1, thick // 2) + extra)
        for start, end in bars:
            _line(canvas, start, end, colour, thick + 1 + extra)
    if quality is not None:
        _badge(canvas, f"{100 * quality:.0f}%")
    return canvas


def quality_overlay(view_rgb: Image, quality_map: NDArray[np.floating]) -> Image:
    """Lays a quality map (h, w) in [0, 1] over the view: the better a place, the more of its colour shows (viridis).

    Places that are not finite stay as they are. Small images come back enlarged.
    """
    canvas = upscale(view_rgb)
    finite = np.where(np.isfinite(quality_map), quality_map, 0.0).clip(0.0, 1.0).astype(np.float32)
    quality = cv2.resize(finite, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR)
    bgr = cv2.applyColorMap((255 * quality).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    alpha = (0.15 + 0.7 * quality)[..., None]
    grey = canvas.mean(axis=2, keepdims=True)
    return np.asarray((1 - alpha) * (0.5 * canvas + 0.5 * grey) + alpha * bgr[..., ::-1]).astype(np.uint8)


def depth_picture(depth_m: NDArray[np.floating]) -> Image:
    """Shades depth (H, W) in metres from near (light) to far (dark); no return is dark blue."""
    returned = np.isfinite(depth_m)
    if not returned.any():
        return np.full((*depth_m.shape, 3), (20, 24, 60), dtype=np.uint8)
    near, far = np.percentile(depth_m[returned], [1, 99])
    grey = 235 - 200 * ((np.nan_to_num(depth_m) - near) / max(far - near, 1e-3)).clip(0, 1)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    picture[~returned] = (20, 24, 60)
    return picture


def camera_picture(observation: Observation) -> Image:
    """What the camera saw: colours where there are some, else shaded depth.

    Raises:
        ValueError: the observation has neither.
    """
    if observation.rgb is not None:
        return observation.rgb
    if observation.depth_m is None:
        raise ValueError("the observation has neither rgb nor depth_m: nothing to show")
    return depth_picture(observation.depth_m)


def draw_estimate(observation: Observation, estimate: GraspEstimate, opening_m: float | None = None) -> Image:
    """Draws where the jaws would close on the camera image itself; the plain image if that is out of view.

    The lens's distortion is followed, so that the drawing lies on the object in a wide-angle image too.
    `opening_m` is drawn in place of the estimate's width.
    """
    picture = camera_picture(observation)
    half_m = 0.5 * (estimate.width_m if opening_m is None else opening_m)
    tips = frames.apply(estimate.T_base_grasp, [[-half_m, 0.0, 0.0], [half_m, 0.0, 0.0]])
    pixels = camera.project(tips, observation.K, observation.T_base_cam)
    if observation.distortion is not None:
        pixels = camera.distort_pixels(pixels, observation.K, observation.distortion)
    centre, across = pixels.mean(axis=0), pixels[1] - pixels[0]
    if not _inside(centre, picture):
        return upscale(picture)
    angle_rad = math.atan2(across[1], across[0])
    return draw_grasp(
        picture, (float(centre[0]), float(centre[1])), angle_rad, float(np.hypot(*across)), estimate.quality
    )


def estimate_overlay(estimate: GraspEstimate) -> Image | None:
    """The quality map over the view it was read from, the chosen place ringed; None if the estimate has no map."""
    if estimate.view_rgb is None or estimate.quality_map is None:
        return None
    canvas = quality_overlay(estimate.view_rgb, estimate.quality_map)
    if estimate.pixel is not None and _inside(np.asarray(estimate.pixel), estimate.view_rgb):
        centre = (np.asarray(estimate.pixel) + 0.5) * canvas.shape[0] / estimate.view_rgb.shape[0]
        radius = max(6, min(canvas.shape[:2]) // 28)
        for colour, thick in ((EDGE, 5), (JAWS, 2)):
            cv2.circle(canvas, _point(centre), radius, colour, thick, cv2.LINE_AA)
    return canvas


def contact_sheet(items: Sequence[tuple[Image, str]], columns: int = 4, cell_px: int = 256) -> Image:
    """Lays pictures out in rows, each with a caption of one line below (ASCII; other signs become ?).

    Raises:
        ValueError: there are no pictures, or `columns` or `cell_px` is not positive.
    """
    if not items or columns < 1 or cell_px < 16:
        raise ValueError(f"need pictures, columns >= 1 and cell_px >= 16, got {len(items)}, {columns}, {cell_px}")
    gap, caption_px = 8, 24
    columns = min(columns, len(items))
    rows = math.ceil(len(items) / columns)
    size = rows * (cell_px + caption_px + gap) + gap, columns * (cell_px + gap) + gap
    sheet = np.full((*size, 3), PAPER, dtype=np.uint8)
    for index, (rgb, caption) in enumerate(items):
        top = gap + (index // columns) * (cell_px + caption_px + gap)
        left = gap + (index % columns) * (cell_px + gap)
        sheet[top : top + cell_px, left : left + cell_px] = fit(rgb, cell_px, cell_px, PAPER)
        write_caption(sheet, caption, (left, top + cell_px + 17), cell_px)
    return sheet


def write_caption(
    canvas: Image, text: str, origin: tuple[int, int], width_px: int, colour: tuple[int, int, int] = INK
) -> None:
    """Writes one line in place, its baseline starting at `origin`, shortened to `width_px`; OpenCV draws ASCII only."""
    shown = ascii_only(text)
    while len(shown) > 4 and cv2.getTextSize(shown, _FONT, 0.45, 1)[0][0] > width_px:
        shown = shown[:-4] + "..."
    cv2.putText(canvas, shown, origin, _FONT, 0.45, colour, 1, cv2.LINE_AA)


def ascii_only(text: str) -> str:
    """Replaces what OpenCV's fonts cannot draw by question marks."""
    return text.encode("ascii", "replace").decode("ascii")


def png_bytes(rgb: Image) -> bytes:
    """Encodes as PNG."""
    return _encode(rgb, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9])


def data_uri(rgb: Image) -> str:
    """Encodes for a web page, as PNG or JPEG, whichever is smaller."""
    png = png_bytes(rgb)
    jpeg = _encode(rgb, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    kind, content = ("png", png) if len(png) <= len(jpeg) else ("jpeg", jpeg)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _encode(rgb: Image, extension: str, options: Sequence[int]) -> bytes:
    _check_image(rgb)
    done, content = cv2.imencode(extension, np.ascontiguousarray(rgb[..., ::-1]), list(options))
    if not done:
        raise ValueError(f"cannot encode an image of shape {rgb.shape} as {extension}")
    return content.tobytes()


def _check_image(rgb: NDArray[np.generic]) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"an image must be uint8 RGB (H, W, 3), got {rgb.dtype} {rgb.shape}")


def _inside(pixel: NDArray[np.float64], picture: Image) -> bool:
    return bool(np.isfinite(pixel).all() and 0 <= pixel[0] < picture.shape[1] and 0 <= pixel[1] < picture.shape[0])


def _line(canvas: Image, start: ArrayLike, end: ArrayLike, colour: tuple[int, int, int], thick: int) -> None:
    cv2.line(canvas, _point(start), _point(end), colour, thick, cv2.LINE_AA)


def _point(position: ArrayLike) -> tuple[int, int]:
    u, v = np.asarray(position, dtype=np.float64)
    return round(float(u)), round(float(v))


def _badge(canvas: Image, text: str) -> None:
    """Writes a short text on a dark patch in the lower left corner."""
    scale = max(0.5, min(canvas.shape[:2]) / 512)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    bottom = canvas.shape[0]
    canvas[max(0, bottom - height - below - 8) :, : width + 12] = EDGE
    cv2.putText(canvas, text, (6, bottom - below - 2), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
