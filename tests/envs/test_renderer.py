import math
import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel, deproject, distort_pixels, project, rays, undistort_pixels
from simtoreal.envs import render_scene, renderer
from simtoreal.envs.renderer import (
    Background,
    Instance,
    Lighting,
    Material,
    Rendered,
    RenderMesh,
    box_mesh,
    plane_mesh,
    render,
)

CAMERA = CameraModel.from_fov(64, 48, 0.9)
LIGHT = Lighting(direction=(0.3, -0.2, 0.9), ambient=0.4, diffuse=0.6, shadow=0.0)
PLAIN = Background(rgb=(0.0, 0.0, 0.0))
BOX_M = np.array([0.10, 0.06, 0.08])
T_BASE_BOX = frames.transform((0.02, -0.01, 0.05), frames.rotation_from_vector((0.3, -0.5, 0.8)))
Depth = NDArray[np.float64]


def draw(
    *instances: Instance, camera: CameraModel = CAMERA, eye: tuple[float, float, float] = (0.3, -0.2, 0.35)
) -> Rendered:
    return render(instances, camera, frames.look_at(eye, (0.0, 0.0, 0.05)), LIGHT, PLAIN)


def box(label: int = 3, material: Material | None = None) -> Instance:
    return Instance(box_mesh(BOX_M), T_BASE_BOX, material or Material(), label)


def pixel_grid(camera: CameraModel) -> Depth:
    return np.stack(np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px)), axis=-1).astype(np.float64)


def plane_depth(pixels: Depth, camera: CameraModel, T_base_cam: Depth) -> Depth:
    """Depth at which rays meet z = 0; the rays have unit depth."""
    return np.asarray(-T_base_cam[2, 3] / rays(pixels, camera.K, T_base_cam)[..., 2])


def box_depth(pixels: Depth, camera: CameraModel, T_base_cam: Depth) -> Depth:
    """Depth at which rays enter the box (slabs), nan where they miss."""
    T_box_cam = frames.invert(T_BASE_BOX) @ T_base_cam
    directions = rays(pixels, camera.K, T_box_cam)
    sides = np.stack([(sign * BOX_M / 2 - T_box_cam[:3, 3]) / directions for sign in (-1, 1)])
    enter, leave = sides.min(axis=0).max(axis=-1), sides.max(axis=0).min(axis=-1)
    return np.where(enter < leave, enter, np.nan)


def test_depth_of_a_plane_is_exact() -> None:
    T_base_cam = frames.look_at((0.1, -0.3, 0.4), (0.02, 0.03, 0.0))
    image = render([Instance(plane_mesh(50.0), np.eye(4), Material(), 0)], CAMERA, T_base_cam, LIGHT, PLAIN)
    np.testing.assert_allclose(image.depth_m, plane_depth(pixel_grid(CAMERA), CAMERA, T_base_cam), rtol=1e-6)
    assert (image.label == 0).all()


def test_depth_and_outline_of_a_box_are_exact() -> None:
    T_base_cam = frames.look_at((0.2, -0.15, 0.25), (0.0, 0.0, 0.05))
    image = render([box()], CAMERA, T_base_cam, LIGHT, PLAIN)
    expected = box_depth(pixel_grid(CAMERA), CAMERA, T_base_cam)
    assert (image.label == 3).sum() > 200
    np.testing.assert_array_equal(image.label == 3, np.isfinite(expected))
    np.testing.assert_allclose(image.depth_m, expected, rtol=1e-6)


def test_outline_is_the_hull_of_the_projected_corners() -> None:
    T_base_cam = frames.look_at((-0.2, 0.15, 0.3), (0.0, 0.0, 0.05))
    image = render([box()], CAMERA, T_base_cam, LIGHT, PLAIN)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = project(frames.apply(T_BASE_BOX, signs * BOX_M / 2), CAMERA.K, T_base_cam)
    hull = cv2.convexHull(corners.astype(np.float32))
    inside = [cv2.pointPolygonTest(hull, (float(u), float(v)), False) > 0 for u, v in pixel_grid(CAMERA).reshape(-1, 2)]
    np.testing.assert_array_equal((image.label == 3).ravel(), inside)


def test_no_hole_along_edges_that_run_through_pixel_centres() -> None:
    camera = CameraModel(33, 33, 32.0, 32.0, 16.0, 16.0)
    image = render(
        [Instance(plane_mesh(2.0, 4), np.eye(4), Material(), 0)], camera, frames.top_down((0, 0, 1), 0), LIGHT, PLAIN
    )
    assert (image.label == 0).all()
    np.testing.assert_allclose(image.depth_m, 1.0, rtol=1e-6)


def test_what_crosses_the_near_plane_is_cut_and_not_lost() -> None:
    T_base_cam = frames.look_at((0.0, 0.0, 0.05), (1.0, 0.0, 0.05))  # level, over a table that runs under and behind it
    table = Instance(plane_mesh(4.0), np.eye(4), Material(), 0)
    post = Instance(
        box_mesh((0.4, 0.01, 0.4)), frames.transform((0.0, 0.03, 0.0)), Material(), 1
    )  # from behind to ahead
    image = render([table, post], CAMERA, T_base_cam, LIGHT, PLAIN)
    below = np.broadcast_to((np.arange(48) > 25)[:, None], (48, 64))
    expected = plane_depth(pixel_grid(CAMERA), CAMERA, T_base_cam)
    seen = below & (image.label == 0)
    assert seen.sum() > 400
    np.testing.assert_allclose(image.depth_m[seen], expected[seen], rtol=1e-5)
    side_m = CAMERA.fx * 0.025 / (CAMERA.cx - pixel_grid(CAMERA)[..., 0])  # where rays meet the near side of the post
    hit = image.label == 1
    assert hit[:, :5].all()
    np.testing.assert_allclose(image.depth_m[hit & (side_m < 0.19)], side_m[hit & (side_m < 0.19)], rtol=1e-5)
    assert (image.label[below] >= 0).all()


def test_what_lies_behind_the_camera_is_not_seen() -> None:
    image = render([box()], CAMERA, frames.look_at((0.3, 0, 0.05), (1.0, 0, 0.05)), LIGHT, PLAIN)
    assert (image.label == -1).all()


def test_inside_of_a_large_closed_mesh_does_not_hide_the_scene() -> None:
    around = Instance(box_mesh((3.0, 3.0, 3.0)), np.eye(4), Material(), 7)
    np.testing.assert_array_equal(draw(box(), around).label, draw(box()).label)


@pytest.mark.parametrize("distortion", [(-0.25, 0.06, 0.002, -0.001, 0.0), (0.2, 0.05, 0.0, 0.003, 0.01)])
def test_a_distorted_image_agrees_with_the_camera_model(distortion: tuple[float, float, float, float, float]) -> None:
    camera = CameraModel(80, 60, 70.0, 72.0, 41.0, 28.0, distortion)
    T_base_cam = frames.look_at((0.2, -0.15, 0.25), (0.0, 0.0, 0.05))
    table = Instance(plane_mesh(50.0), np.eye(4), Material(), 0)
    image = render([table, box()], camera, T_base_cam, LIGHT, PLAIN)
    straight = undistort_pixels(pixel_grid(camera).reshape(-1, 2), camera.K, distortion)
    for _ in range(30):  # OpenCV stops early; the model itself is the reference
        straight -= distort_pixels(straight, camera.K, distortion) - pixel_grid(camera).reshape(-1, 2)
    straight = straight.reshape(60, 80, 2)
    on_box = box_depth(straight, camera, T_base_cam)
    on_table = plane_depth(straight, camera, T_base_cam)
    for label, expected in ((0, on_table), (3, on_box)):
        both = (image.label == label) & np.isfinite(expected)
        assert both.sum() > 100
        error = np.abs(image.depth_m[both] / expected[both] - 1.0)
        assert (error > 1e-6).mean() < 0.02  # along edges the neighbouring face may have been taken
        assert error.max() < 0.01
    wrong = (image.label == 3) != np.isfinite(on_box)
    inner = cv2.erode(np.isfinite(on_box).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outer = cv2.dilate(np.isfinite(on_box).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert not (wrong & (inner | ~outer)).any()  # the outline is that of a pinhole pixel


def test_a_distortion_that_folds_the_image_leaves_background_there() -> None:
    camera = CameraModel(64, 64, 30.0, 30.0, 31.5, 31.5, (-0.5, 0.0, 0.0, 0.0, 0.0))
    image = render(
        [Instance(plane_mesh(50.0), np.eye(4), Material(), 0)], camera, frames.top_down((0, 0, 0.5), 0), LIGHT, PLAIN
    )
    assert image.label[32, 32] == 0
    assert image.label[0, 0] == -1
    assert np.isnan(image.depth_m[0, 0])


def test_nearer_things_hide_farther_ones_in_any_order() -> None:
    table, thing = Instance(plane_mesh(2.0), np.eye(4), Material(), 0), box()
    first, second = draw(table, thing), draw(thing, table)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def shadow_scene(shadow: float, casts: bool = True) -> Rendered:
    lamp = Lighting(direction=(1.0, 0.0, 1.0), ambient=0.3, diffuse=0.6, shadow=shadow)
    table = Instance(plane_mesh(2.0), np.eye(4), Material(), 0, casts_shadow=False)
    plate = Instance(box_mesh((0.1, 0.1, 0.01)), frames.transform((0.1, 0, 0.2)), Material(), 1, casts_shadow=casts)
    return render([table, plate], SQUARE, SHADOW_VIEW, lamp, PLAIN)


SQUARE = CameraModel.from_fov(96, 96, 0.9)
SHADOW_VIEW = frames.look_at((-0.5, 0.0, 0.5), (0.0, 0.0, 0.0))


def pixel_of(point_m: tuple[float, float, float]) -> tuple[int, int]:
    u, v = project(point_m, SQUARE.K, SHADOW_VIEW)
    return round(float(v)), round(float(u))


def test_a_shadow_falls_where_the_light_is_blocked_and_nowhere_else() -> None:
    dark, half, bright = shadow_scene(1.0).rgb, shadow_scene(0.5).rgb, shadow_scene(0.0).rgb
    shaded, lit = pixel_of((-0.1, 0.0, 0.0)), pixel_of((-0.1, 0.15, 0.0))
    assert dark[shaded][0] == pytest.approx(0.3 * 0.8 * 255, abs=1.0)  # the ambient light alone
    assert half[shaded][0] == pytest.approx((int(dark[shaded][0]) + int(bright[shaded][0])) / 2, abs=1.0)
    np.testing.assert_array_equal(dark[lit], bright[lit])
    points = deproject(pixel_grid(SQUARE), shadow_scene(0.0).depth_m, SQUARE.K, SHADOW_VIEW)
    # The plate (0.1 wide, 0.2 up, light at 45 degrees) shades x in (-0.155, -0.045) and y in (-0.05, 0.05).
    on_table = shadow_scene(0.0).label == 0
    far = (np.abs(points[..., 0] + 0.1) > 0.065) | (np.abs(points[..., 1]) > 0.06)
    near = (np.abs(points[..., 0] + 0.1) < 0.045) & (np.abs(points[..., 1]) < 0.04)
    np.testing.assert_array_equal(dark[on_table & far], bright[on_table & far])
    assert (dark[on_table & near] < bright[on_table & near]).all()


def test_what_casts_no_shadow_casts_none() -> None:
    np.testing.assert_array_equal(shadow_scene(1.0, casts=False).rgb, shadow_scene(0.0).rgb)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.2, 0.5), (-0.3, 1.0, 0.4), (0.1, 0.1, 1.0)])
def test_lit_surfaces_do_not_shade_themselves(direction: tuple[float, float, float]) -> None:
    ball = sphere(24)
    images = [
        render(
            [Instance(ball, frames.transform((0, 0, 0.1)), Material(), 1)],
            SQUARE,
            frames.look_at(
                np.array([0.0, 0.0, 0.1]) + 0.3 * np.array([*direction]), (0.0, 0.0, 0.1), up=(0.3, 1.0, 0.0)
            ),
            Lighting(direction, 0.3, 0.6, shadow=shadow),
            PLAIN,
        )
        for shadow in (1.0, 0.0)
    ]
    change = np.abs(images[0].rgb.astype(int) - images[1].rgb)[images[0].label == 1]
    assert change.max() < 40  # at the very rim
    assert (change > 3).mean() < 0.02


def sphere(num_rings: int, radius_m: float = 0.05) -> RenderMesh:
    polar, around = np.meshgrid(
        np.linspace(0, math.pi, num_rings + 1), np.linspace(0, 2 * math.pi, 2 * num_rings + 1), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
    row = 2 * num_rings + 1
    first = (np.arange(num_rings)[:, None] * row + np.arange(row - 1)).ravel()
    faces = np.concatenate(
        [np.stack([first, first + row, first + row + 1], axis=1), np.stack([first, first + row + 1, first + 1], axis=1)]
    )
    return RenderMesh.create(points.reshape(-1, 3) * radius_m, faces)


def test_a_sphere_of_flat_faces_gets_smooth_outward_normals_and_a_box_keeps_its_edges() -> None:
    ball = sphere(16)
    directions = ball.vertices_m / np.linalg.norm(ball.vertices_m, axis=1, keepdims=True)
    assert (np.einsum("ij,ij->i", directions, ball.normals) > 0.99).all()
    assert ball.is_closed  # although its first and last meridian are stored apart
    cube = box_mesh((0.1, 0.1, 0.1))
    assert len(cube.vertices_m) == 24
    assert set(np.abs(cube.normals).sum(axis=1).round(5)) == {1.0}


def test_a_closed_mesh_wound_inside_out_is_turned() -> None:
    cube = box_mesh(BOX_M)
    turned = RenderMesh.create(cube.vertices_m, cube.faces[:, ::-1])
    same = draw(Instance(turned, T_BASE_BOX, Material(), 3))
    np.testing.assert_array_equal(same.rgb, draw(box()).rgb)
    np.testing.assert_array_equal(same.depth_m, draw(box()).depth_m)


def test_an_open_mesh_is_seen_and_lit_from_both_sides() -> None:
    lamp = Lighting((0, 0, -1), ambient=0.2, diffuse=0.5, shadow=0.0)
    below = frames.look_at((0, 0, -0.5), (0, 0, 0), up=(0, 1, 0))
    image = render([Instance(plane_mesh(5.0), np.eye(4), Material((1, 1, 1)), 4)], CAMERA, below, lamp, PLAIN)
    assert (image.label == 4).all()
    assert image.rgb[20, 20, 0] == pytest.approx(
        255 * (0.2 * 0.7 + 0.5), abs=1
    )  # of the ambient light 30 % is from above


def test_brightness_follows_the_angle_to_the_light() -> None:
    def brightness(angle_rad: float) -> float:
        lamp = Lighting((math.sin(angle_rad), 0, math.cos(angle_rad)), ambient=0.0, diffuse=1.0, shadow=0.0)
        plane = Instance(plane_mesh(5.0), np.eye(4), Material((1, 1, 1)), 0)
        return float(render([plane], CAMERA, frames.top_down((0, 0, 1), 0), lamp, PLAIN).rgb[24, 32, 1])

    for angle_rad in (0.0, 0.5, 1.0, 1.4):
        assert brightness(angle_rad) == pytest.approx(255 * math.cos(angle_rad), abs=1)
    assert brightness(2.0) == 0.0


def test_a_highlight_lies_where_the_mirror_image_of_the_light_is() -> None:
    def plane(specular: float) -> NDArray[np.uint8]:
        instance = Instance(plane_mesh(5.0), np.eye(4), Material((0.2, 0.2, 0.2), specular=specular), 0)
        return render(
            [instance], SQUARE, frames.top_down((0, 0, 1), 0), Lighting((0.2, 0, 1), 0.3, 0.5, shadow=0.0), PLAIN
        ).rgb

    gain = plane(0.8).astype(int)[..., 0] - plane(0.0)[..., 0]
    row, column = np.argwhere(gain == gain.max()).mean(axis=0)
    u, v = project((0.2, 0, 0), SQUARE.K, frames.top_down((0, 0, 1), 0))
    assert [column, row] == pytest.approx([float(u), float(v)], abs=2)
    assert gain.max() > 150
    assert gain[48, 0] < gain.max() / 3


def test_a_texture_repeats_with_its_scale_and_keeps_its_place_on_the_object() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, :8] = 255
    camera = CameraModel(200, 20, 200.0, 200.0, 99.5, 9.5)

    def row(x_m: float) -> NDArray[np.bool_]:
        plane = Instance(plane_mesh(4.0), frames.transform((x_m, 0, 0)), Material((1, 1, 1), stripes, 0.2), 0)
        lamp = Lighting((0, 0, 1), 1.0, 0.0, shadow=0.0)
        return np.asarray(render([plane], camera, frames.top_down((0, 0, 1), 0), lamp, PLAIN).rgb[10, :, 0] > 127)

    edges = np.flatnonzero(np.diff(row(0.0).astype(int)))
    np.testing.assert_allclose(np.diff(edges), 20, atol=1)  # half a period: 0.1 m at 1 m and 200 px
    np.testing.assert_array_equal(row(0.05)[10:], row(0.0)[:-10])


def test_a_distant_texture_turns_into_its_mean() -> None:
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    plane = Instance(plane_mesh(400.0), np.eye(4), Material((1, 1, 1), checks, 0.05), 0)
    lamp = Lighting((0, 0, 1), 1.0, 0.0, shadow=0.0)
    image = render([plane], CAMERA, frames.top_down((0, 0, 20), 0), lamp, PLAIN)
    assert np.abs(image.rgb.astype(int) - 127).max() <= 2


def test_a_texture_of_any_size_is_sampled_within_its_bounds() -> None:
    for shape in ((1, 1), (1, 7), (5, 3), (33, 64)):
        red = np.zeros((*shape, 3), np.uint8)
        red[..., 0] = 200
        image = draw(Instance(plane_mesh(9.0), np.eye(4), Material((1, 1, 1), red, 0.03), 0))
        assert (image.rgb[..., 1:] == 0).all()
        assert (image.rgb[..., 0] > 0).all()


def test_vertex_colours_are_blended_and_multiplied_by_the_material() -> None:
    corners = np.array([[-1.0, -1, 0], [3, -1, 0], [-1, 3, 0]])
    mesh = RenderMesh.create(corners, [[0, 1, 2]], [[200, 0, 0], [0, 200, 0], [0, 0, 200]])
    lamp = Lighting((0, 0, 1), 1.0, 0.0, shadow=0.0)
    view = frames.top_down((0, 0, 1), 0)

    def pixel(material: Material) -> list[int]:
        return [
            int(value)
            for value in render([Instance(mesh, np.eye(4), material, 0)], SQUARE, view, lamp, PLAIN).rgb[47, 47]
        ]

    assert pixel(Material((1, 1, 1), use_vertex_rgb=True)) == pytest.approx([100, 50, 50], abs=2)
    assert pixel(Material((1, 0.5, 1), use_vertex_rgb=True)) == pytest.approx([100, 25, 50], abs=2)
    assert pixel(Material((1, 1, 1))) == [255, 255, 255]


def test_the_background_stays_in_the_world_while_the_camera_turns() -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:32] = 255  # bright above the horizon
    level = render([], SQUARE, frames.look_at((0, 0, 1), (1, 0.2, 1)), LIGHT, Background((1, 1, 1), halves)).rgb
    assert (level[:44] > 200).all()
    assert (level[52:] < 50).all()
    down = render([], SQUARE, frames.look_at((0, 0, 1), (1, 0.2, 0.8)), LIGHT, Background((1, 1, 1), halves)).rgb
    assert (down > 127).sum() < (level > 127).sum() * 0.8


def test_an_empty_scene_is_background() -> None:
    image = render([], CAMERA, np.eye(4), LIGHT, Background((1.0, 0.5, 0.0)))
    assert image.rgb.shape == (48, 64, 3)
    assert (image.rgb == [255, 128, 0]).all()
    assert np.isnan(image.depth_m).all()
    assert (image.label == -1).all()
    assert [array.dtype.name for array in image] == ["uint8", "float32", "int16"]


def full_scene() -> list[Instance]:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    table = Instance(plane_mesh(2.0), np.eye(4), Material((1, 1, 1), noise, 0.3), 0, casts_shadow=False)
    ball = Instance(sphere(12), frames.transform((-0.08, 0.05, 0.05)), Material((0.2, 0.9, 0.3), specular=0.4), 4)
    return [table, box(), ball]


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_the_same_scene_gives_the_same_bits(supersample: int) -> None:
    lamp = Lighting((0.5, 0.2, 0.8), shadow=0.7)
    T_base_cam = frames.look_at((0.3, -0.2, 0.35), (0, 0, 0.05))
    images = [render(full_scene(), CAMERA, T_base_cam, lamp, PLAIN, supersample) for _ in range(2)]
    draw(box())  # something else in between must leave no trace
    images.append(render(full_scene(), CAMERA, T_base_cam, lamp, PLAIN, supersample))
    for other in images[1:]:
        assert [array.tobytes() for array in images[0]] == [array.tobytes() for array in other]


def test_threads_do_not_disturb_one_another() -> None:
    expected = draw(*full_scene()).rgb
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if index % 2:
                draw(box())
            elif not np.array_equal(draw(*full_scene()).rgb, expected):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_supersampling_smooths_colour_and_leaves_depth_and_label_alone() -> None:
    T_base_cam = frames.look_at((0.2, -0.15, 0.25), (0.0, 0.0, 0.05))
    white = box(material=Material((5, 5, 5)))
    sharp = render([white], CAMERA, T_base_cam, LIGHT, PLAIN)
    smooth = render([white], CAMERA, T_base_cam, LIGHT, PLAIN, supersample=4)
    np.testing.assert_array_equal(sharp.depth_m, smooth.depth_m)
    np.testing.assert_array_equal(sharp.label, smooth.label)
    assert set(np.unique(sharp.rgb)) == {0, 255}
    assert len(np.unique(smooth.rgb)) > 5
    assert smooth.rgb.mean() == pytest.approx(sharp.rgb.mean(), rel=0.02)
    outline = cv2.dilate((sharp.label == 3).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (smooth.rgb[~outline] == 0).all()


def test_a_moved_object_is_drawn_where_it_is_now() -> None:
    mesh, material = box_mesh(BOX_M), Material()
    for x_m in (0.0, 0.05, -0.1):
        image = draw(Instance(mesh, frames.transform((x_m, 0.0, 0.05)), material, 2))
        assert image.label.max() == 2
        fresh = draw(Instance(box_mesh(BOX_M), frames.transform((x_m, 0.0, 0.05)), Material(), 2))
        np.testing.assert_array_equal(image.rgb, fresh.rgb)


def test_full_pools_start_over_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(*full_scene())
    monkeypatch.setattr(render_scene, "POOL_VERTICES", 40)
    monkeypatch.setattr(render_scene, "POOL_TEXELS", 500)
    monkeypatch.setattr(renderer, "_LOCAL", threading.local())
    for _ in range(3):
        for a, b in zip(draw(*full_scene()), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        draw(box(material=Material((1, 1, 1), np.full((20, 20, 3), 90, np.uint8))))


def test_a_scaled_mesh_is_the_mesh_of_scaled_vertices() -> None:
    large, made_large = sphere(8).scaled(1.5), sphere(8, 0.075)
    np.testing.assert_allclose(large.vertices_m, made_large.vertices_m, atol=1e-8)
    assert large.radius_m == pytest.approx(made_large.radius_m)
    with pytest.raises(ValueError, match="scale"):
        large.scaled(0.0)


def test_faces_without_area_and_meshes_without_faces_are_harmless() -> None:
    degenerate = RenderMesh.create([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2], [1, 1, 2]])
    empty = RenderMesh.create(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    image = draw(Instance(degenerate, np.eye(4), Material(), 1), Instance(empty, np.eye(4), Material(), 2), box())
    np.testing.assert_array_equal(image.label, draw(box()).label)


BAD_INPUT: list[tuple[Callable[[], object], str]] = [
    (lambda: RenderMesh.create([[0, 0, math.nan]] * 3, [[0, 1, 2]]), "3 are not"),
    (lambda: RenderMesh.create(np.zeros((3, 3)), [[0, 1, 3]]), "0 to 2"),
    (lambda: RenderMesh.create(np.zeros((3, 2)), [[0, 1, 2]]), r"\(3, 2\)"),
    (lambda: RenderMesh.create(np.zeros((3, 3)), [[0, 1, 2]], np.zeros((2, 3))), "vertex_rgb"),
    (lambda: box_mesh((0.1, 0.0, 0.1)), "extents_m"),
    (lambda: plane_mesh(1.0, 0), "divisions"),
    (lambda: Material((0.1, -0.2, 0.3)), "material rgb"),
    (lambda: Material(texture=np.zeros((4, 4), np.uint8)), r"\(h, w, 3\)"),
    (lambda: Material(texture_scale_m=0.0), "texture_scale_m"),
    (lambda: Lighting(direction=(0, 0, 0)), "direction"),
    (lambda: Lighting(shadow=1.5), "shadow"),
    (lambda: Background(texture=np.zeros((4, 4, 3), np.float64)), "uint8"),
    (lambda: Instance(box_mesh(BOX_M), np.eye(4), Material(), 40000), "40000"),
    (
        lambda: draw(box(), Instance(box_mesh(BOX_M), np.full((4, 4), math.nan), Material(), 5)),
        r"instance 1 \(label 5\)",
    ),
    (lambda: draw(Instance(box_mesh(BOX_M), np.eye(3), Material(), 5)), r"instance 0 \(label 5\)"),
    (lambda: render([], CAMERA, np.full((4, 4), math.nan), LIGHT, PLAIN), "T_base_cam"),
    (lambda: render([], CAMERA, np.eye(4), LIGHT, PLAIN, supersample=0), "supersample"),
]


@pytest.mark.parametrize(("make", "words"), BAD_INPUT)
def test_bad_input_is_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
