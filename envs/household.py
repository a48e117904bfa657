"""`household_train` and `household_test`: shapes that people really grasp, made by a seeded generator.

Object i of a split is a function of the split and i alone. The two splits use other seeds and other parts of every
parameter's range (see `household_draw`). Files are made when an object is first asked for.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simtoreal.envs import (
    asset_store,
    household_draw,
    household_shapes,
    household_solids,
    household_tools,
    household_vessels,
    solids,
)
from simtoreal.envs.asset_store import Blueprint
from simtoreal.envs.assets import AssetError, ObjectAsset, content_hash
from simtoreal.envs.household_draw import Draw
from simtoreal.envs.household_shapes import Body
from simtoreal.envs.solids import Mesh, convex_hull, mass_properties, union

NUM_PER_SPLIT = {"household_train": 1400, "household_test": 280}
SEEDS = {"household_train": 20_231, "household_test": 77_003}
HELD_OUT = frozenset({"household_test"})
MASS_RANGE_KG = (0.02, 0.6)

# Shape group: generator, and range of density in kg/m3 of what the surface encloses (a bottle may be empty or full).
GROUPS: dict[str, tuple[Callable[[Draw], list[Body]], tuple[float, float]]] = {
    "box": (household_solids.box, (90.0, 450.0)),
    "can": (household_vessels.can, (120.0, 1000.0)),
    "bottle": (household_vessels.bottle, (100.0, 950.0)),
    "bowl": (household_vessels.bowl, (900.0, 2300.0)),
    "mug": (household_vessels.mug, (900.0, 2300.0)),
    "plate": (household_vessels.plate, (900.0, 2300.0)),
    "tool": (household_tools.tool, (900.0, 3000.0)),
    "l_shape": (household_solids.l_shape, (300.0, 1200.0)),
    "t_shape": (household_solids.t_shape, (300.0, 1200.0)),
    "tube": (household_vessels.tube, (300.0, 1400.0)),
    "fruit": (household_solids.fruit, (500.0, 1000.0)),
    "superquadric": (household_solids.superquadric, (200.0, 1000.0)),
    "thin": (household_solids.thin, (500.0, 1600.0)),
    "soft_edge": (household_solids.soft_edge, (300.0, 1100.0)),
}
GROUP_NAMES = tuple(GROUPS)


def object_names(split: str) -> tuple[str, ...]:
    """Names of the objects of a split, `<group>_<index>`; the groups take turns, so any prefix is balanced."""
    return tuple(f"{_group_of(index)}_{index:04d}" for index in range(NUM_PER_SPLIT[split]))


def household_asset(split: str, name: str, cache_dir: Path) -> ObjectAsset:
    """An object by name, from the cache or made now.

    Raises:
        OSError: the cache cannot be written.
    """
    folder = cache_dir / f"household_{_generator_hash()}" / split / name
    cached = asset_store.load(folder)
    if cached is not None:
        return cached
    asset_store.save(design(split, int(name.rsplit("_", 1)[1])), folder)
    built = asset_store.load(folder)
    if built is None:
        raise AssetError(f"{folder} cannot be read back after it was written: check the disk, or delete the folder")
    return built


def design(split: str, index: int) -> Blueprint:
    """Shape, colours, mass and inertia of object `index` of a split; the same on every call."""
    group = _group_of(index)
    draw = Draw(np.random.default_rng([SEEDS[split], index]), held_out=split in HELD_OUT)
    generate, density_kg_m3 = GROUPS[group]
    bodies = generate(draw)
    visual, sources = union([body.mesh for body in bodies])
    properties = mass_properties(visual)
    mass_kg = float(np.clip(draw.ratio(*density_kg_m3) * properties.volume_m3, *MASS_RANGE_KG))
    center = properties.center_m
    return Blueprint(
        name=f"{group}_{index:04d}",
        group=group,
        visual=Mesh(visual.vertices_m - center, visual.faces),
        vertex_rgb=np.array([body.rgb for body in bodies], dtype=np.uint8)[sources],
        hulls=tuple(convex_hull(part - center) for body in bodies for part in body.parts),
        mass_kg=mass_kg,
        inertia_kg_m2=properties.inertia_m5 * (mass_kg / properties.volume_m3),
    )


def _group_of(index: int) -> str:
    return GROUP_NAMES[index % len(GROUP_NAMES)]


@functools.cache
def _generator_hash() -> str:
    """Hash of the generator's own code: files of an older generator are never mistaken for those of this one."""
    modules = (household_draw, household_shapes, household_solids, household_tools, household_vessels, solids)
    paths = [__file__, *(module.__file__ for module in (*modules, asset_store))]
    return content_hash([Path(str(path)).read_bytes() for path in paths])[:12]
