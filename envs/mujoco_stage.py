"""A scene of the second world as a MuJoCo model: table, room, lights, objects in convex parts, and what lies about."""

import colorsys
import math
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.mujoco_robot import COLLISION_GROUP, ROBOT_CONTYPE, MujocoRobot, add_mesh, new_spec, place
from simtoreal.envs.part_meshes import contact_margin_m, convex_parts
from simtoreal.envs.reality_finishes import SIZE_PX, finish
from simtoreal.envs.reality_sample import LightSample, PhysicsSample
from simtoreal.envs.reality_scene import Prop, RealityScene
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, PlacedObject
from simtoreal.envs.solids import Mesh, mass_properties

FloatArray = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]
TIMESTEP_S = 0.002
TABLE, OBJECT_PREFIX, BLOCK_PREFIX = "table", "object_", "block_"
NEAR_M, FAR_M = 0.02, 6.0
_STATIC_CONTYPE, _OBJECT_CONTYPE = 2, 4
_TABLE_HALF_M = (0.45, 0.7, 0.02)  # its near edge lies behind the foot of the arm
_FLOOR_M, _ROOM_HALF_M = -0.75, 2.2
_ROLLING_M = 0.0002  # rolling friction, as a lever: a can on a table comes to rest
_SHADOW_HALF_M = 0.6  # the shadows of the lamp reach this far from the middle of the table
_SHADOW_PX = 256
_PALETTE_PX = 16  # own colours of an object: as many colours as fit into a picture this large


class _Skin(NamedTuple):
    """A mesh with a picture and where each corner of each triangle lies in it."""

    mesh: Mesh
    picture: Picture
    uv: FloatArray  # (F, 3 corners, 2)


def build_model(robot: MujocoRobot, scene: RealityScene) -> mujoco.MjModel:
    """Compiles a scene."""
    spec = new_spec()
    _set_options(spec)
    rng = np.random.default_rng((scene.world.looks.seed, 1))
    robot.add_to(spec, scene.world.arm, _robot_rgb(rng))
    _add_room(spec, scene)
    _add_lights(spec, scene.world.light, scene.table_height_m)
    for i, prop in enumerate(scene.scenery):
        _add_prop(spec, prop, f"{BLOCK_PREFIX}{i}")
    for i, item in enumerate(scene.objects):
        _add_object(spec, scene, item, i, rng)
    return spec.compile()


def _set_options(spec: mujoco.MjSpec) -> None:
    """Elliptic cones with stiff friction: with the default pyramids, what is held slides out of the jaws by and by."""
    option = spec.option
    option.timestep = TIMESTEP_S
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0
    option.iterations, option.tolerance = 50, 1e-9
    spec.stat.extent, spec.stat.center = 1.0, (*WORKSPACE_CENTRE_M, 0.0)
    visual = spec.visual
    visual.map.znear, visual.map.zfar = NEAR_M, FAR_M
    visual.map.shadowclip = _SHADOW_HALF_M
    visual.quality.shadowsize, visual.quality.offsamples = _SHADOW_PX, 0
    visual.headlight.active = 0


# --- room


def _add_room(spec: mujoco.MjSpec, scene: RealityScene) -> None:
    looks, top_m = scene.world.looks, scene.table_height_m
    world = spec.worldbody
    x, y = WORKSPACE_CENTRE_M
    table = _add_box(spec, TABLE, _TABLE_HALF_M, frames.transform((x, y, top_m - _TABLE_HALF_M[2])))
    table.contype, table.conaffinity = _STATIC_CONTYPE, ROBOT_CONTYPE
    picture = finish(looks.table, looks.seed)
    table.material = _add_material(spec, TABLE, picture, looks.table_specular, 0.4, looks.table_tile_m, cube=False)
    wall = _add_material(spec, "wall", finish(looks.background, looks.seed + 1), 0.0, 0.0, 1.4, cube=False)
    floor = _add_material(spec, "floor", finish("concrete", looks.seed + 2), 0.0, 0.0, 1.0, cube=False)
    half = _ROOM_HALF_M
    ground = world.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_BOX, size=(half, half, 0.02))
    ground.pos, ground.material = (x, y, _FLOOR_M), floor
    ground.contype = ground.conaffinity = 0
    for i in range(4):
        turn = frames.rotation_about_z(i * math.pi / 2)
        middle = np.array([x, y, 0.0]) + turn @ (half, 0.0, 0.5)
        tilt = frames.rotation_from_vector((0.0, -math.pi / 2, 0.0))
        panel = _add_box(spec, f"wall_{i}", (half, half, 0.02), frames.transform(middle, turn @ tilt))
        panel.material = wall


def _add_box(spec: mujoco.MjSpec, name: str, half_m: tuple[float, float, float], T: FloatArray) -> mujoco.MjsGeom:
    """A box that stands still and, until it is told otherwise, touches nothing."""
    geom = spec.worldbody.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=half_m)
    place(geom, T)
    geom.contype = geom.conaffinity = 0
    return geom


def _add_lights(spec: mujoco.MjSpec, light: LightSample, table_height_m: float) -> None:
    target = np.array([*WORKSPACE_CENTRE_M, table_height_m])
    warm = np.array(lamp_rgb(light.temperature_k))
    shining = (
        ("lamp", light.lamp_direction, light.lamp * warm, light.ambient * (0.5 + 0.5 * warm), light.has_shadows),
        ("fill", light.fill_direction, light.fill * np.ones(3), np.zeros(3), False),
    )
    for name, direction, diffuse, ambient, has_shadows in shining:
        lamp = spec.worldbody.add_light(name=name, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
        lamp.pos, lamp.dir = target + 1.2 * np.array(direction), -np.array(direction)
        lamp.diffuse, lamp.ambient, lamp.castshadow = diffuse, ambient, has_shadows
        lamp.specular = diffuse


def lamp_rgb(temperature_k: float) -> Colour:
    """Colour of a lamp by its temperature, the brightest channel 1 (a fit to black bodies by T. Helland, 2012)."""
    t = temperature_k / 100.0
    red = 1.0 if t <= 66 else 1.293 * (t - 60.0) ** -0.1332
    green = 0.3901 * math.log(t) - 0.6318 if t <= 66 else 1.1299 * (t - 60.0) ** -0.0755
    blue = 1.0 if t >= 66 else 0.0 if t <= 19 else 0.5432 * math.log(t - 10.0) - 1.1963
    values = [min(max(value, 0.05), 1.0) for value in (red, green, blue)]
    return values[0], values[1], values[2]


def _robot_rgb(rng: np.random.Generator) -> Colour:
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.15), rng.uniform(0.25, 0.95))


# --- things


def _add_prop(spec: mujoco.MjSpec, prop: Prop, name: str) -> None:
    x, y, z = (0.5 * extent for extent in prop.extents_m)
    geom = _add_box(spec, name, (x, y, z), prop.T_base_box)
    picture = finish(prop.kind, prop.texture_seed)
    if prop.shape == "cylinder":
        geom.type, geom.size = mujoco.mjtGeom.mjGEOM_CYLINDER, (x, z, 0.0)
    if prop.collides:
        geom.contype, geom.conaffinity = _STATIC_CONTYPE, ROBOT_CONTYPE
        geom.material = _add_material(spec, name, picture, 0.2, 0.4, 0.0, cube=True)
    else:
        geom.material = _add_material(spec, name, picture, 0.1, 0.2, 0.0, cube=False)


def _add_object(
    spec: mujoco.MjSpec, scene: RealityScene, item: PlacedObject, index: int, rng: np.random.Generator
) -> None:
    name = f"{OBJECT_PREFIX}{index}"
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint()
    place(body, item.T_base_obj)
    parts = [Mesh(part.vertices_m * item.scale, part.faces) for part in convex_parts(item.asset)]
    _set_mass(body, parts, item.asset.mass_kg * scene.world.physics.mass_scale)
    for i, part in enumerate(parts):
        add_mesh(spec, f"{name}_part_{i}", part)
        geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"{name}_part_{i}", density=0.0)
        geom.group = COLLISION_GROUP
        geom.contype, geom.conaffinity = _OBJECT_CONTYPE, ROBOT_CONTYPE | _STATIC_CONTYPE | _OBJECT_CONTYPE
        _set_contact(geom, scene.world.physics)
        geom.margin = contact_margin_m(item.asset) * item.scale
    looks = scene.world.looks
    own = rng.random() < looks.own_colours_frac
    kind, seed = str(rng.choice(looks.object_finishes)), int(rng.integers(2**31))
    skin = _own_skin(item) if own and item.asset.vertex_rgb is not None else _painted_skin(item, finish(kind, seed))
    added = add_mesh(spec, f"{name}_look", skin.mesh)
    added.usertexcoord = skin.uv.ravel()
    added.userfacetexcoord = np.arange(skin.uv.shape[0] * 3, dtype=np.int32)
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"{name}_look", density=0.0)
    geom.contype = geom.conaffinity = 0
    geom.material = _add_material(
        spec, name, skin.picture, looks.object_specular, looks.object_shininess, 0.0, cube=False
    )


def _set_mass(body: mujoco.MjsBody, parts: list[Mesh], mass_kg: float) -> None:
    """Centre of mass at the origin, as the asset says; inertia of the parts together."""
    solids = [mass_properties(part) for part in parts]
    volume = sum(solid.volume_m3 for solid in solids)
    inertia = np.zeros((3, 3))
    for solid in solids:
        c = solid.center_m
        inertia += solid.inertia_m5 + solid.volume_m3 * (c @ c * np.eye(3) - np.outer(c, c))
    I = inertia * (mass_kg / volume)  # noqa: E741, N806 - the tensor
    body.mass, body.ipos, body.explicitinertial = mass_kg, (0.0, 0.0, 0.0), True
    body.fullinertia = (I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2])


def _set_contact(geom: mujoco.MjsGeom, physics: PhysicsSample) -> None:
    """What an object touches is felt as the object is: its numbers come before those of table and fingers."""
    geom.priority, geom.condim = 1, 6
    geom.friction = (physics.friction, physics.torsion_m, _ROLLING_M)
    geom.solref = (physics.contact_time_s, 1.0)
    geom.solimp[:3] = (0.95, 0.99, 0.001)


# --- looks


def _add_material(
    spec: mujoco.MjSpec, name: str, picture: Picture, specular: float, shininess: float, tile_m: float, cube: bool
) -> str:
    """A material with a picture; `tile_m` is the edge of a tile where the surface has no corners in the picture."""
    texture = spec.add_texture(name=name)
    texture.type = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
    height, width = picture.shape[:2]
    faces = 6 if cube else 1
    texture.width, texture.height, texture.nchannel = width, height * faces, 3
    texture.data = picture.tobytes() * faces
    material = spec.add_material(name=name)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.specular, material.shininess = specular, shininess
    if tile_m > 0.0:
        material.texuniform, material.texrepeat = True, (1.0 / tile_m, 1.0 / tile_m)
    return name


def _painted_skin(item: PlacedObject, picture: Picture) -> _Skin:
    """The picture projected along the axis that each triangle faces most, one tile over the whole object."""
    vertices = item.asset.vertices_m * item.scale
    corners = vertices[item.asset.faces]  # (F, 3 corners, 3)
    normals = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    size = float(np.ptp(vertices, axis=0).max())
    axes = np.array([(1, 2), (0, 2), (0, 1)])[np.argmax(normals, axis=1)]  # (F, 2)
    uv = np.take_along_axis(corners, np.broadcast_to(axes[:, None, :], (*corners.shape[:2], 2)), axis=2) / size + 0.5
    return _Skin(Mesh(vertices, item.asset.faces), picture, uv)


def _own_skin(item: PlacedObject) -> _Skin:
    """The colours of the file, one per triangle, as a palette: MuJoCo knows no colours of vertices."""
    asset = item.asset
    assert asset.vertex_rgb is not None
    face_rgb = asset.vertex_rgb[asset.faces].mean(axis=1).astype(np.uint8)
    num_colours = _PALETTE_PX**2
    for bits in range(8):  # coarser until all fit
        step = 1 << bits
        colours, index = np.unique(face_rgb // step * step + step // 2, axis=0, return_inverse=True)
        if len(colours) <= num_colours:
            break
    palette = np.zeros((num_colours, 3), dtype=np.uint8)
    palette[: len(colours)] = colours
    texel = np.stack([index.reshape(-1) % _PALETTE_PX, index.reshape(-1) // _PALETTE_PX], axis=1)
    uv = np.repeat(((texel + 0.5) / _PALETTE_PX)[:, None, :], 3, axis=1)
    picture = palette.reshape(_PALETTE_PX, _PALETTE_PX, 3)
    enlarged = np.repeat(np.repeat(picture, SIZE_PX // _PALETTE_PX, axis=0), SIZE_PX // _PALETTE_PX, axis=1)
    return _Skin(Mesh(asset.vertices_m * item.scale, asset.faces), enlarged, uv)
