"""The camera of the second world: MuJoCo's own renderer, a lens that bends, and the sensors behind it.

The scene is drawn once per frame through a pinhole wide enough for the lens; the lens is then a lookup. Colour and
depth come out of the same pass.
"""

import ctypes.util
import os
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel, ray_slopes
from simtoreal.envs.camera_setup import CameraSetup, nominal_mount
from simtoreal.envs.mujoco_robot import ARM_GROUP, COLLISION_GROUP, HAND_GROUP
from simtoreal.envs.mujoco_stage import FAR_M, NEAR_M
from simtoreal.envs.mujoco_world import MujocoWorld
from simtoreal.envs.reality_scene import RealityScene
from simtoreal.envs.reality_sensor import expose, measure_depth
from simtoreal.envs.robot import RobotSpec

FloatArray = NDArray[np.float64]
GL_ENV = "MUJOCO_GL"
PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libosmesa6"
_MAX_GEOMS = 2000
_FINE = 2  # rays along each edge of a pixel, for pictures that people look at
_MAX_GROWTH = 3.0  # the pinhole view is at most this many times as wide as the image


class Image(NamedTuple):
    """What the sensors deliver, with the calibration that goes with it."""

    rgb: NDArray[np.uint8] | None
    depth_m: NDArray[np.float32] | None
    K: FloatArray
    T_base_cam: FloatArray  # as calibrated, not as it is


class _View(NamedTuple):
    """A pinhole view and where the rays of a lens lie in it."""

    width_px: int
    height_px: int
    focal_px: float
    fine: tuple[NDArray[np.float32], NDArray[np.float32]]  # columns and rows (n H, n W) for colour
    centre: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]  # (H, W) columns, rows, has a ray


class MujocoCamera:
    """Draws the world of a scene: `begin` once per episode, `capture` once per frame.

    Raises:
        ModuleNotFoundError: there is no OpenGL; says which packages to install.
    """

    def __init__(self, setup: CameraSetup, robot: RobotSpec) -> None:
        self.setup = setup
        self._robot = robot
        self._gl: Any = _open_gl()
        self._context: mujoco.MjrContext | None = None

    def close(self) -> None:
        """Frees what OpenGL holds; safe to call again."""
        self._free_context()
        if self._gl is not None:
            self._gl.free()
            self._gl = None

    @property
    def distortion(self) -> FloatArray | None:
        return None if self.model.is_pinhole else np.array(self.model.distortion)

    def begin(self, scene: RealityScene, world: MujocoWorld) -> None:
        """Fixes lens, mount and looks for an episode.

        Raises:
            ValueError: the lens bends so strongly that no pixel has a ray.
        """
        optics = scene.world.optics
        self._sample = scene.world
        self._world = world
        self.model = _lens(self.setup.model, optics.fov_scale, optics.principal_offset_frac, optics.distortion)
        offset = _shift(optics.position_offset_m, optics.rotation_offset_rad)
        self._T_mount_known = nominal_mount(self.setup, self._robot) @ offset
        self._T_mount_true = self._T_mount_known @ _shift(optics.hand_eye_error_m, optics.hand_eye_error_rad)
        self._view = _view_of(self.model)
        self._prepare(world.model)

    def poses(self, T_base_tcp: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Camera pose as calibrated and as it truly is, (4, 4) each."""
        base = T_base_tcp if self.setup.placement == "wrist" else np.eye(4)
        return base @ self._T_mount_known, base @ self._T_mount_true

    def capture(self, T_base_tcp: FloatArray, rng: np.random.Generator) -> Image:
        """One frame as the sensors deliver it."""
        T_known, T_true = self.poses(T_base_tcp)
        rgb, depth_m = self._look(self._view, T_true)
        exposed = expose(rgb, self._sample.image, rng)
        depth = None
        if self.setup.depth:
            depth = measure_depth(depth_m, exposed, self.model.fx, self._sample.depth, rng)
        return Image(exposed if self.setup.rgb else None, depth, self.model.K, T_known)

    def clean(self, model: CameraModel, T_base_cam: FloatArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Undisturbed colour (H, W, 3) and depth (H, W) in metres of the world as it is now, from anywhere."""
        return self._look(_view_of(model, _FINE), T_base_cam)

    # --- drawing

    def _look(self, view: _View, T_base_cam: FloatArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Perfect colour (H, W, 3) and depth (H, W) along the optical axis, nan where there is nothing."""
        assert self._context is not None
        self._gl.make_current()
        if (self._context.offWidth, self._context.offHeight) != (view.width_px, view.height_px):
            mujoco.mjr_resizeOffscreen(view.width_px, view.height_px, self._context)
        data, category = self._world.data, mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._world.model, data, self._option, None, self._free_camera, category, self._scene)
        self._aim(view, T_base_cam)
        rectangle = mujoco.MjrRect(0, 0, view.width_px, view.height_px)
        mujoco.mjr_render(rectangle, self._scene, self._context)
        rgb = np.empty((view.height_px, view.width_px, 3), dtype=np.uint8)
        buffer = np.empty((view.height_px, view.width_px), dtype=np.float32)
        mujoco.mjr_readPixels(rgb, buffer, rectangle, self._context)
        return _bend_rgb(rgb[::-1], view), _bend_depth(buffer[::-1], view)

    def _prepare(self, model: mujoco.MjModel) -> None:
        self._gl.make_current()
        self._free_context()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        for flag in ("SKYBOX", "FOG", "HAZE", "REFLECTION"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(self._sample.light.has_shadows)
        self._option, self._free_camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._option.geomgroup[:] = 0
        # A wrist camera never sees the arm behind it, and what is drawn costs time.
        shown = (0, HAND_GROUP) if self.setup.placement == "wrist" else (0, ARM_GROUP, HAND_GROUP)
        self._option.geomgroup[list(shown)] = 1
        self._option.geomgroup[COLLISION_GROUP] = 0

    def _aim(self, view: _View, T_base_cam: FloatArray) -> None:
        """Puts MuJoCo's camera (+Y up, looking along -Z) where the optical frame is."""
        half_x = 0.5 * view.width_px / view.focal_px * NEAR_M
        half_y = 0.5 * view.height_px / view.focal_px * NEAR_M
        for eye in self._scene.camera:  # one for each eye; both look the same way
            eye.pos, eye.forward, eye.up = T_base_cam[:3, 3], T_base_cam[:3, 2], -T_base_cam[:3, 1]
            eye.frustum_center, eye.frustum_width = 0.0, half_x
            eye.frustum_bottom, eye.frustum_top = -half_y, half_y
            eye.frustum_near, eye.frustum_far = NEAR_M, FAR_M

    def _free_context(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None


def _lens(
    model: CameraModel, fov_scale: float, offset_frac: tuple[float, float], distortion: tuple[float, ...]
) -> CameraModel:
    k1, k2, p1, p2, k3 = (a + b for a, b in zip(model.distortion, distortion, strict=True))
    return CameraModel(
        model.width_px,
        model.height_px,
        model.fx / fov_scale,
        model.fy / fov_scale,
        model.cx + offset_frac[0] * model.width_px,
        model.cy + offset_frac[1] * model.height_px,
        (k1, k2, p1, p2, k3),
    )


def _shift(position_m: tuple[float, ...], rotation_rad: tuple[float, ...]) -> FloatArray:
    return frames.transform(position_m, frames.rotation_from_vector(rotation_rad))


@lru_cache(maxsize=8)
def _view_of(model: CameraModel, rays_per_px: int = 1) -> _View:
    """The pinhole view that a lens is read from, with at least its resolution times `rays_per_px`."""
    focal = max(model.fx, model.fy) * rays_per_px
    fine, centre = ray_slopes(model, rays_per_px), ray_slopes(model)
    if not np.isfinite(centre).any():
        raise ValueError(f"camera distortion {model.distortion} leaves no pixel with a ray; use smaller coefficients")
    widest = np.nanmax(np.abs(fine), axis=(0, 1)) * focal
    limit = 0.5 * _MAX_GROWTH * rays_per_px * np.array([model.width_px, model.height_px])
    half = np.minimum(np.ceil(widest) + 1.0, limit).astype(int)
    width, height = (2 * int(value) for value in half)
    columns, rows = (fine * focal + 0.5 * np.array([width - 1, height - 1])).astype(np.float32).transpose(2, 0, 1)
    u, v = (centre * focal + 0.5 * np.array([width - 1, height - 1])).transpose(2, 0, 1)
    seen = np.isfinite(u) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    nearest = np.where(seen, np.rint(u), 0).astype(np.int64), np.where(seen, np.rint(v), 0).astype(np.int64)
    lookup = np.nan_to_num(columns, nan=-10.0), np.nan_to_num(rows, nan=-10.0)
    return _View(width, height, focal, lookup, (*nearest, seen))


def _bend_rgb(rgb: NDArray[np.uint8], view: _View) -> NDArray[np.uint8]:
    """Colour (H, W, 3) through the lens: the mean over the rays of each pixel, black where it has none."""
    bent = cv2.remap(np.ascontiguousarray(rgb), *view.fine, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    height, width = view.centre[0].shape
    if bent.shape[:2] == (height, width):
        return np.asarray(bent, dtype=np.uint8)
    return np.asarray(cv2.resize(bent, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _bend_depth(buffer: NDArray[np.float32], view: _View) -> NDArray[np.float32]:
    """Depth (H, W) along the ray of each pixel's centre: mixing two depths would give one that is nowhere."""
    columns, rows, seen = view.centre
    inverse = buffer[rows, columns].astype(np.float64)  # 1 is near, 0 is far
    depth_m = FAR_M * NEAR_M / (inverse * (FAR_M - NEAR_M) + NEAR_M)
    return np.asarray(np.where(seen & (inverse > 0.0), depth_m, np.nan), dtype=np.float32)


def _open_gl() -> Any:
    """An OpenGL context without a window: EGL, which takes a GPU where there is one, or OSMesa.

    Raises:
        ModuleNotFoundError: neither is there, or the one that MUJOCO_GL asks for fails.
    """
    # One core is what a worker has: the threads of the software renderer would only get into the way of others.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    wanted = os.environ.get(GL_ENV, "").strip().lower()
    available = {"egl": ctypes.util.find_library("EGL"), "osmesa": ctypes.util.find_library("OSMesa")}
    names = [wanted] if wanted in available else [name for name, library in available.items() if library]
    reasons = []
    for name in names:
        try:
            return _gl_context(name)
        except (ImportError, RuntimeError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    tried = "; ".join(reasons) or "neither EGL nor OSMesa is installed"
    raise ModuleNotFoundError(
        f"world=mujoco cannot draw images ({tried}). Install them with `apt-get install {PACKAGES}`, "
        f"or set {GL_ENV} to egl or osmesa"
    )


def check_gl() -> None:
    """Makes sure that images can be drawn.

    Raises:
        ModuleNotFoundError: they cannot; says which packages to install.
    """
    _open_gl().free()


def _gl_context(name: str) -> Any:
    if name == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    context = GLContext(64, 64)
    context.make_current()
    return context
