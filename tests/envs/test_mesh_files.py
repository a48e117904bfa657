import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from simtoreal.envs import decomposition
from simtoreal.envs.assets import AssetError
from simtoreal.envs.decomposition import decompose
from simtoreal.envs.mesh_files import MASS_RANGE_KG, NUM_VISUAL_FACES
from simtoreal.envs.mesh_sources import find_objects
from simtoreal.envs.object_sets import load_object_set, pybullet_data_dir
from simtoreal.envs.solids import Mesh, mass_properties

BOX_M = (0.06, 0.04, 0.03)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "objects"
    path.mkdir()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _box(extents_m: tuple[float, float, float] = BOX_M) -> trimesh.Trimesh:
    return trimesh.creation.box(extents_m)


def _urdf(shape: str, inertial: str = "", collision: str = "") -> str:
    visual = f"<visual><geometry>{shape}</geometry></visual>"
    return f'<robot name="thing"><link name="thing">{inertial}{visual}{collision}</link></robot>'


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_every_format_gives_a_centred_object_with_mass(folder: Path, cache: Path, suffix: str) -> None:
    mesh = _box()
    mesh.apply_translation((0.2, -0.1, 0.05))
    mesh.export(folder / f"brick.{suffix}")
    objects = load_object_set(str(folder), cache)
    assert objects.names == ("brick",)
    asset = objects.asset("brick")
    assert asset.group == "file"
    np.testing.assert_allclose(asset.extents_m, BOX_M, atol=1e-6)
    np.testing.assert_allclose(mass_properties(Mesh(asset.vertices_m, asset.faces)).center_m, 0.0, atol=1e-6)
    assert asset.mass_kg == pytest.approx(max(300.0 * np.prod(BOX_M), MASS_RANGE_KG[0]))
    assert "object.urdf" in str(asset.urdf_path)
    assert objects.problems == ()


def test_one_broken_file_costs_nothing_but_itself(folder: Path, cache: Path) -> None:
    for index in range(6):
        _box((0.03 + 0.005 * index, 0.04, 0.05)).export(folder / f"box_{index}.stl")
    (folder / "broken.stl").write_bytes((folder / "box_0.stl").read_bytes()[:300])
    (folder / "notes.txt").write_text("not an object")
    objects = load_object_set(str(folder), cache)
    assert objects.names == tuple(f"box_{index}" for index in range(6))
    assert [problem.path.name for problem in objects.problems] == ["broken.stl"]
    assert "cut off" in objects.problems[0].reason
    assert all(objects.asset(name).mass_kg > 0 for name in objects)


BROKEN_MESHES = {
    "nan.obj": ("v 0 0 nan\nv .1 0 0\nv 0 .1 0\nf 1 2 3\n", "1 vertices that are not finite"),
    "face.obj": ("v 0 0 0\nv .1 0 0\nv 0 .1 0\nf 1 2 9\n", "damaged or not a .obj mesh"),
    "points.obj": ("v 0 0 0\nv .1 0 0\nv 0 .1 0\n", "holds no triangles"),
    "flat.obj": ("v 0 0 0\nv .1 0 0\nv 0 .1 0\nv .1 .1 0\nf 1 2 3\nf 2 4 3\n", "has no volume"),
    "cut.ply": ("ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n0\n", "damaged or not a .ply"),
}


@pytest.mark.parametrize("name", BROKEN_MESHES)
def test_a_broken_mesh_is_named_with_the_reason(folder: Path, cache: Path, name: str) -> None:
    text, reason = BROKEN_MESHES[name]
    _box().export(folder / "a_good_one.stl")  # listed first, so that the folder opens
    (folder / name).write_text(text)
    objects = load_object_set(str(folder), cache)
    with pytest.raises(AssetError, match=rf"{name}: .*{reason}"):
        objects.asset(Path(name).stem)
    assert objects.problems[0].path == folder / name
    assert objects.usable().names == ("a_good_one",)


def test_a_folder_without_any_usable_object_is_refused_with_reasons(folder: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"objects: the folder holds no .urdf, .obj, .ply, .stl file"):
        load_object_set(str(folder), cache)
    (folder / "empty.obj").write_bytes(b"")
    (folder / "points.obj").write_text(BROKEN_MESHES["points.obj"][0])
    with pytest.raises(ValueError, match=r"(?s)no usable object among 2:.*empty.obj: is empty.*points.obj: holds no"):
        load_object_set(str(folder), cache)


def test_millimetres_are_reported_and_never_guessed(folder: Path, cache: Path) -> None:
    mesh = _box()
    mesh.apply_scale(1000.0)
    mesh.export(folder / "brick.stl")
    with pytest.raises(ValueError, match=r"extent 60 m, at most 0.5 m: .*millimetres \(then add objects_scale=0.001\)"):
        load_object_set(str(folder), cache)
    asset = load_object_set(str(folder), cache, scale=0.001).asset("brick")
    np.testing.assert_allclose(asset.extents_m, BOX_M, rtol=1e-5)


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(10.0, "largest extent 0.6 m, at most 0.5 m: an object of that size"), (1e-3, "0.06 mm.*objects_scale=1000")],
)
def test_an_object_that_cannot_be_in_the_cell_is_refused(folder: Path, cache: Path, factor: float, reason: str) -> None:
    mesh = _box()
    mesh.apply_scale(factor)
    mesh.export(folder / "brick.stl")
    with pytest.raises(ValueError, match=reason):
        load_object_set(str(folder), cache)


def test_an_object_larger_than_the_gripper_is_kept(folder: Path, cache: Path) -> None:
    _box((0.2, 0.2, 0.2)).export(folder / "large.stl")
    assert load_object_set(str(folder), cache).asset("large").mass_kg == MASS_RANGE_KG[1]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_has_to_be_positive(folder: Path, cache: Path, scale: float) -> None:
    _box().export(folder / "brick.stl")
    with pytest.raises(ValueError, match="objects_scale must be a positive number"):
        load_object_set(str(folder), cache, scale=scale)


BROKEN_URDFS = {
    "hello": "is not valid XML",
    "<sdf/>": "outermost element is <sdf>",
    '<robot name="r"/>': "has 0 links",
    '<robot name="r"><link name="a"/><link name="b"/></robot>': r"has 2 links \(a, b\)",
    '<robot name="r"><link name="a"/><joint name="j" type="revolute"/></robot>': r"moving joints \(j\)",
    '<robot name="r"><link name="a"/></robot>': "neither a <visual> nor a <collision>",
    _urdf('<mesh filename="gone.obj"/>'): r"its mesh 'gone.obj' is missing",
    _urdf('<mesh filename="thing.dae"/>'): r"'thing.dae' is not one of .obj, .ply, .stl",
    _urdf('<box size="1 x 1"/>'): r"<box size='1 x 1'> must hold finite numbers",
    _urdf('<box size="1 1"/>'): "<box> needs positive size",
    _urdf("<plane/>"): "<plane> is not supported",
}


@pytest.mark.parametrize("text", BROKEN_URDFS)
def test_a_broken_urdf_is_reported_when_the_folder_is_opened(folder: Path, cache: Path, text: str) -> None:
    _box().export(folder / "good.stl")
    (folder / "bad.urdf").write_text(text)
    objects = load_object_set(str(folder), cache)
    assert objects.names == ("good",)
    (problem,) = objects.problems
    assert problem.path == folder / "bad.urdf"
    assert re.search(BROKEN_URDFS[text], problem.reason)


def test_a_urdf_keeps_its_mass_centre_colour_and_placement(folder: Path, cache: Path) -> None:
    _box().export(folder / "shape.obj")
    text = _urdf(
        '<mesh filename="shape.obj" scale="2 1 1"/>',
        '<inertial><origin xyz="0 0 0.01"/><mass value="0.25"/></inertial>',
    )
    material = '<material name="red"><color rgba="1 0 0 1"/></material></visual>'
    (folder / "thing.urdf").write_text(
        text.replace("<visual>", '<visual><origin xyz="0.1 0 0.01" rpy="0 0 1.5707963"/>').replace(
            "</visual>", material
        )
    )
    objects = load_object_set(str(folder), cache)
    assert objects.names == ("thing",)  # the mesh belongs to the URDF
    asset = objects.asset("thing")
    assert asset.mass_kg == 0.25
    np.testing.assert_allclose(asset.vertices_m.mean(axis=0), (0.1, 0.0, 0.0), atol=1e-6)
    np.testing.assert_allclose(asset.extents_m, (0.04, 0.12, 0.03), atol=1e-6)
    assert asset.vertex_rgb is not None
    assert (asset.vertex_rgb == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("shape", "extents_m"),
    [
        ('<box size="0.05 0.04 0.03"/>', (0.05, 0.04, 0.03)),
        ('<sphere radius="0.03"/>', (0.06, 0.06, 0.06)),
        ('<cylinder radius="0.02" length="0.1"/>', (0.04, 0.04, 0.1)),
        ('<capsule radius="0.02" length="0.05"/>', (0.04, 0.04, 0.09)),
    ],
)
def test_primitive_shapes_become_meshes(
    folder: Path, cache: Path, shape: str, extents_m: tuple[float, float, float]
) -> None:
    (folder / "thing.urdf").write_text(_urdf(shape))
    asset = load_object_set(str(folder), cache).asset("thing")
    np.testing.assert_allclose(asset.extents_m, extents_m, atol=2e-4)
    assert mass_properties(Mesh(asset.vertices_m, asset.faces)).volume_m3 > 0.4 * np.prod(extents_m)


def test_the_layouts_of_scan_data_sets_are_one_object_a_folder(folder: Path) -> None:
    files = [
        "002_can/google_16k/textured.obj",
        "002_can/google_16k/nontextured.ply",
        "002_can/poisson/nontextured.stl",
        "002_can/clouds/merged_cloud.ply",
        "Shoe/meshes/model.obj",
        "bottles/cola.obj",
        "bottles/cola.stl",
        "bottles/cola_vhacd.obj",
        "cans/cola.obj",
        "bowl.ply",
        ".hidden/secret.obj",
    ]
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("ply\n" if name.endswith("ply") else "v 0 0 0\n")
    sources, problems = find_objects(folder)
    assert problems == []
    assert {source.name: str(source.path.relative_to(folder)) for source in sources} == {
        "002_can": "002_can/google_16k/textured.obj",
        "Shoe": "Shoe/meshes/model.obj",
        "bottles-cola": "bottles/cola.obj",
        "cans-cola": "cans/cola.obj",
        "bowl": "bowl.ply",
    }


def test_a_single_file_is_a_set_of_one(folder: Path, cache: Path) -> None:
    _box().export(folder / "brick.stl")
    assert load_object_set(str(folder / "brick.stl"), cache).names == ("brick",)


def test_colours_come_from_the_texture_even_of_a_few_large_triangles(folder: Path, cache: Path) -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[:, :32], picture[:, 32:] = (250, 10, 10), (10, 10, 250)
    mesh = _box()
    uv = (mesh.vertices[:, :2] - mesh.vertices[:, :2].min(axis=0)) / np.ptp(mesh.vertices[:, :2], axis=0)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, image=Image.fromarray(picture))
    mesh.export(folder / "carton.obj")
    asset = load_object_set(str(folder), cache).asset("carton")
    assert asset.vertex_rgb is not None
    left, right = asset.vertices_m[:, 0] < -0.01, asset.vertices_m[:, 0] > 0.01
    assert (asset.vertex_rgb[left, 0] > 200).all()
    assert (asset.vertex_rgb[right, 2] > 200).all()
    assert left.sum() > 50


def test_large_and_inside_out_meshes_are_made_usable_and_it_is_said(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simtoreal.envs.mesh_files.NOTED_FACES", 10_000)
    mesh = trimesh.creation.icosphere(5, 0.03)
    mesh.invert()
    mesh.export(folder / "ball.ply")
    objects = load_object_set(str(folder), cache)
    asset = objects.asset("ball")
    assert len(asset.faces) <= NUM_VISUAL_FACES
    volume_m3 = mass_properties(Mesh(asset.vertices_m, asset.faces)).volume_m3
    assert volume_m3 == pytest.approx(4 / 3 * np.pi * 0.03**3, rel=0.02)
    (problem,) = objects.problems
    assert problem.path == folder / "ball.ply"
    assert problem.reason.startswith("its 20,480 triangles are reduced to 2,000")


def _angle_bracket() -> Mesh:
    mesh = trimesh.boolean.union([_box((0.1, 0.02, 0.02)), _box((0.02, 0.02, 0.1)).apply_translation((0.04, 0, 0.04))])
    return Mesh(np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int32))


def _volume_m3(hulls: tuple[Mesh, ...]) -> float:
    return sum(mass_properties(hull).volume_m3 for hull in hulls)


def test_a_concave_object_collides_as_what_it_is() -> None:
    hulls, note = decompose(_angle_bracket())
    assert note == ""
    assert 2 <= len(hulls) <= 6
    true_m3 = 0.02 * 0.02 * (0.1 + 0.08)
    assert 0.95 * true_m3 < _volume_m3(hulls) < 1.2 * true_m3  # its convex hull has 1.9 times the volume


@pytest.mark.slow
def test_an_open_crate_stays_open() -> None:
    crate = _box((0.08, 0.06, 0.05))
    walls = crate.faces[crate.face_normals[:, 2] < 0.5]
    hulls, note = decompose(Mesh(np.array(crate.vertices), np.array(walls, dtype=np.int32)))
    assert note == ""
    corners = np.concatenate([hull.vertices_m for hull in hulls])
    np.testing.assert_allclose(np.ptp(corners, axis=0), (0.08, 0.06, 0.05), atol=0.004)
    assert _volume_m3(hulls) < 0.4 * 0.08 * 0.06 * 0.05


def test_walls_of_an_open_sheet_are_not_lost() -> None:
    ball = trimesh.creation.icosphere(3, 0.04)
    lower = ball.faces[ball.triangles_center[:, 2] < 0.0]
    solid = decomposition._simplify(decomposition._closed_on_voxels(Mesh(np.array(ball.vertices), np.array(lower))))
    assert len(solid.decompose()) == 1
    wall_m = solid.volume() / (2 * np.pi * 0.04**2)
    assert 0.001 < wall_m < 0.004  # a sheet has none; a voxel has 1.4 mm


def test_a_decomposition_that_never_ends_costs_accuracy_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decomposition, "TIME_LIMIT_S", 0.01)
    hulls, note = decompose(_angle_bracket())
    assert len(hulls) == 1
    assert "convex hull" in note


def test_what_was_built_is_read_back_until_the_file_changes(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _box().export(folder / "brick.stl")
    first = load_object_set(str(folder), cache).asset("brick")
    with monkeypatch.context() as patch:
        patch.setattr("simtoreal.envs.mesh_files.read_shapes", None)  # not even called
        again = load_object_set(str(folder), cache).asset("brick")
    assert again.sha == first.sha
    shutil.copy(folder / "brick.stl", folder / "copy.stl")
    twin = load_object_set(str(folder), cache).asset("copy")
    assert (twin.name, twin.urdf_path) == ("copy", first.urdf_path)
    _box((0.05, 0.05, 0.05)).export(folder / "brick.stl")
    os.utime(folder / "brick.stl", ns=(1, 1))
    assert load_object_set(str(folder), cache).asset("brick").extents_m[0] == pytest.approx(0.05)


def test_pybullets_own_objects_open_as_a_folder(folder: Path, cache: Path) -> None:
    mug = load_object_set(str(pybullet_data_dir() / "objects"), cache)
    assert mug.names == ("mug",)
    assert mug.asset("mug").mass_kg == 1.0
    for name in ("000", "168", "900"):
        shutil.copytree(pybullet_data_dir() / "random_urdfs" / name, folder / name)
    objects = load_object_set(str(folder), cache)
    assert objects.usable().names == ("000", "900")
    built_in = load_object_set("random_train", cache).asset("000")
    opened = objects.asset("000")
    np.testing.assert_allclose(opened.vertices_m.min(axis=0), built_in.vertices_m.min(axis=0), atol=1e-6)
    # Its convex groups are used as they are, as PyBullet does.
    parts = opened.urdf_path.with_name("collision.obj").read_text().count("o part_")
    assert parts == built_in.urdf_path.with_suffix(".obj").read_text().count("o convex_")
