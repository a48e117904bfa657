"""Pictures without calibration: what is drawn into one is what is learned from it, and what is read off a map again."""

import math

import numpy as np
import pytest
import torch
from bar_scenes import simulated_frames

from simtoreal.episodes.grasp_rectangles import GraspRectangle, agrees
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import ViewSpec, to_tensor
from simtoreal.transfer.data.augmentation import Augmentation
from simtoreal.transfer.data.batches import BatchMaker
from simtoreal.transfer.data.image_plane import (
    EDGE_M,
    Labelled,
    Region,
    as_frame_set,
    best_rectangle,
    label_picture,
    nearness,
    picture_view,
    plane_view,
    simulated_pictures,
    stack_pictures,
    symmetric_maps,
    with_shifted,
)
from simtoreal.transfer.data.real_frames import view_rows

REGION = Region(20, 10, 128)
PIXELS = 64
VIEW = ViewSpec("external", "rgb", PIXELS)
RECTANGLES = [GraspRectangle((84.0, 70.0), 0.4, 40.0, 20.0), GraspRectangle((50.0, 100.0), -1.2, 22.0, 14.0)]


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)


@pytest.mark.parametrize("rectangle", RECTANGLES)
def test_a_rectangle_that_is_learned_is_read_again(rectangle: GraspRectangle):
    labelled = label_picture(picture(), [rectangle], REGION, PIXELS)
    rows = view_rows(labelled.grasps, labelled.view)
    found = best_rectangle(targets(rows, PIXELS), labelled.view, REGION, rectangle.jaw_px)
    assert found is not None
    assert found.center_px == pytest.approx(rectangle.center_px, abs=0.01)
    assert found.angle_rad == pytest.approx(rectangle.angle_rad, abs=1e-3)
    assert found.opening_px == pytest.approx(rectangle.opening_px, rel=1e-3)


def test_a_map_without_a_cell_that_reaches_the_plane_gives_no_rectangle():
    labelled = label_picture(picture(), RECTANGLES, REGION, PIXELS)
    nowhere = targets(view_rows(labelled.grasps, labelled.view), PIXELS)
    nowhere[:, 2] = np.inf
    assert best_rectangle(nowhere, labelled.view, REGION, 20.0) is None


def test_a_region_beyond_the_picture_is_black_and_not_valid():
    view = picture_view(picture(), Region(-64, 0, 128), PIXELS)
    assert not view.valid[:, :32].any()
    assert view.valid[:, 32:].all()
    assert (view.rgb[:, :32] == 0).all()
    assert view.rgb[:, 32:].std() > 10
    with pytest.raises(ValueError, match="edge_px must be positive"):
        Region(0, 0, 0)


def test_a_region_that_misses_the_picture_is_all_black():
    assert not picture_view(picture(), Region(500, 500, 64), PIXELS).valid.any()


@pytest.mark.parametrize("window_px", [0, 56])
def test_a_turned_picture_turns_its_rectangle_and_a_larger_one_widens_it(window_px: int):
    """The label moves with the pixels: checked by where a bright bar comes to lie."""
    rgb = np.zeros((128, 128, 3), np.uint8)
    rgb[60:68, 50:78] = 255  # a level bar, to be grasped across: the jaws open up and down
    frames = stack_pictures([label_picture(rgb, [GraspRectangle((63.5, 63.5), math.pi / 2, 24.0, 20.0)],
                                           Region(0, 0, 128), PIXELS)])  # fmt: skip
    config = Augmentation(roll_rad=math.pi, zoom=0.5, shift_frac=0.05, noise=0.0, scale_free=True, window_px=window_px)
    maker = BatchMaker(frames, VIEW, True, 1.0, config)
    widths, size = [], window_px or PIXELS
    for seed in range(12):
        batch = maker.make(np.array([0]), np.random.default_rng(seed))
        if batch.wanted[0, :, 0].max() < 0.5:  # a window without the grasp
            continue
        best = np.unravel_index(int(batch.wanted[0, :, 0].argmax()), batch.wanted[0, :, 0].shape)
        fields = batch.wanted[0, best[0], :, best[1], best[2]].numpy()
        shown = plane_view(np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.bool_))
        found = best_rectangle(batch.wanted[0].numpy(), shown, Region(0, 0, size), 10.0)
        assert found is not None
        v, u = np.nonzero(batch.inputs[0, :3].mean(0).numpy() > 0.0)
        spread = np.linalg.eigh(np.cov(np.stack([u, v])))[1][:, 1]  # along the bar
        along = abs(spread @ [math.cos(found.angle_rad), math.sin(found.angle_rad)])
        assert along < 0.15
        assert np.hypot(u.mean() - found.center_px[0], v.mean() - found.center_px[1]) < 3.0
        widths.append(fields[1])
    assert len(widths) > 6
    assert max(widths) > 1.3 * min(widths)


def test_without_a_known_scale_the_size_of_the_region_stays():
    frames = stack_pictures([label_picture(picture(), RECTANGLES, REGION, PIXELS)])
    for free, kept in ((True, True), (False, False)):
        maker = BatchMaker(frames, VIEW, True, 1.0, Augmentation(zoom=0.5, scale_free=free))
        sizes = maker.make(np.zeros(4, np.int64), np.random.default_rng(1)).inputs[:, -1].amax((1, 2))
        assert np.allclose(sizes, math.log(EDGE_M / 0.25), atol=1e-5) == kept
    assert (frames.known(0)[:, 4] == label_picture(picture(), RECTANGLES, REGION, PIXELS).grasps[:, 4]).all()


def test_simulated_grasps_are_where_they_appear():
    """Seen obliquely or not, the label lies over the pixels of the grasp, and is as wide as it looks."""
    scenes = simulated_frames(6)
    for i, labelled in enumerate(simulated_pictures(scenes, 0.0, 0.6)):
        rows = scenes.rows(i)
        rows = rows[rows[:, 5] >= 0.6 * rows[:, 5].max()]
        again = view_rows(labelled.grasps, labelled.view)
        assert len(again) == len(rows) > 0
        assert again[:, :2] == pytest.approx(rows[:, :2], abs=0.6)
        assert (labelled.grasps[:, 4] > 0).all()


def test_the_middle_of_a_thing_is_its_best_grasp_and_things_far_apart_have_one_each():
    for labelled in simulated_pictures(simulated_frames(6), 0.0, 0.6):
        assert labelled.grasps[:, 5].max() == pytest.approx(1.0)
        assert (labelled.grasps[:, 5] > 0.1).all()  # none counts as failed
    along = np.linspace(-0.02, 0.02, 9)
    bar = np.column_stack([along, np.zeros(9)])
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.column_stack([0.03 * np.cos(angle), 0.05 + 0.03 * np.sin(angle)])
    found = nearness(np.concatenate([bar, ring]))
    assert found[4] == 1.0
    assert (np.diff(found[:5]) > 0).all()
    assert found[:9] == pytest.approx(found[8::-1])
    assert found[0] < 0.2
    assert (found[9:] > 0.99).all()  # all of a rim is as near to its middle


def test_of_grasps_that_look_about_as_good_the_narrower_one_is_chosen():
    labelled = label_picture(picture(), RECTANGLES[:1], REGION, PIXELS)
    spots = ((10.0, 10.0, 0.06), (22.0, 22.0, 0.02))
    for better, chosen_m in ((0.0, 0.02), (0.03, 0.02), (0.2, 0.06)):
        rows = np.array([[u, v, 0.0, 0.1, width, 0.7] for u, v, width in spots], np.float32)
        rows[0, 5] += better  # the wide one
        found = best_rectangle(targets(rows, PIXELS), labelled.view, REGION, 20.0)
        assert found is not None
        assert found.opening_px == pytest.approx(chosen_m / EDGE_M * REGION.edge_px, rel=1e-3)


def test_clearance_widens_and_nothing_else():
    scenes = simulated_frames(3)
    for tight, loose in zip(simulated_pictures(scenes, 0.0, 0.6), simulated_pictures(scenes, 0.01, 0.6), strict=True):
        assert (loose.grasps[:, 4] > tight.grasps[:, 4]).all()
        assert loose.grasps[:, :2] == pytest.approx(tight.grasps[:, :2], abs=2e-3)


def test_pictures_of_several_sizes_of_labels_stack():
    pictures = [label_picture(picture(), RECTANGLES[:n], REGION, PIXELS) for n in (1, 2)]
    frames = stack_pictures(pictures)
    assert frames.num_grasps.tolist() == [1, 2]
    assert frames.is_labelled.all()
    assert frames.episode.tolist() == [0, 1]
    rectangle = best_rectangle(
        targets(view_rows(frames.known(1), frames.view(1)), PIXELS), frames.view(1), REGION, 17.0
    )
    assert rectangle is not None
    assert agrees(rectangle, RECTANGLES)


@pytest.mark.parametrize("rectangle", RECTANGLES)
def test_shifted_rectangles_lie_along_the_jaws_and_still_agree(rectangle: GraspRectangle):
    copies = with_shifted([rectangle])
    assert rectangle in copies
    assert len(copies) == 5
    assert all(agrees(copy, [rectangle]) for copy in copies)
    opening = np.array([math.cos(rectangle.angle_rad), math.sin(rectangle.angle_rad)])
    offsets = np.array([copy.center_px for copy in copies]) - rectangle.center_px
    assert offsets @ opening == pytest.approx(0.0, abs=1e-9)
    assert np.abs(offsets).max() > 0.2 * rectangle.jaw_px


def test_pictures_can_be_mixed_in_as_simulated_frames():
    pictures = [label_picture(picture(), RECTANGLES[:n], REGION, PIXELS) for n in (2, 1)]
    frames = as_frame_set(pictures)
    assert len(frames) == 2
    for i, labelled in enumerate(pictures):
        assert frames.rows(i) == pytest.approx(view_rows(labelled.grasps, labelled.view))
        assert (frames.rgb[i] == labelled.view.rgb).all()


class Labels(torch.nn.Module):
    """A net that knows: the red channel of a view is a code of the labels that it shows."""

    def __init__(self, labelled: Labelled) -> None:
        super().__init__()
        self.labelled = labelled
        self.asked: list[int] = []

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """The map of the labels as they lie in the view, whichever way it was turned."""
        view, answers = self.labelled.view, []
        original = torch.from_numpy(to_tensor(view, VIEW))
        for seen in views:
            for quarters in range(4):
                for is_mirrored in (False, True):
                    turned = torch.rot90(original.flip(-1) if is_mirrored else original, quarters, (-2, -1))
                    if torch.equal(turned, seen):
                        answers.append(self.answer(quarters, is_mirrored))
                        self.asked.append(2 * quarters + is_mirrored)
        return torch.from_numpy(np.stack(answers))

    def answer(self, quarters: int, is_mirrored: bool) -> np.ndarray:
        """Rectangles turned in the plane, drawn anew."""
        rows = view_rows(self.labelled.grasps, self.labelled.view)
        if is_mirrored:
            rows[:, 0], rows[:, 3] = PIXELS - 1 - rows[:, 0], -rows[:, 3]
        for _ in range(quarters):
            rows[:, 0], rows[:, 1] = rows[:, 1].copy(), PIXELS - 1 - rows[:, 0]
            rows[:, 3] = (rows[:, 3] + math.pi) % math.pi - math.pi / 2
        wanted = targets(rows, PIXELS)
        wanted[:, 0] = np.log(np.clip(wanted[:, 0], 1e-6, 1 - 1e-6) / (1 - np.clip(wanted[:, 0], 1e-6, 1 - 1e-6)))
        return wanted


def test_eight_ways_to_look_agree_where_the_net_is_right():
    labelled = label_picture(picture(), RECTANGLES, REGION, PIXELS)
    net = Labels(labelled)
    maps = symmetric_maps(net, torch.from_numpy(to_tensor(labelled.view, VIEW))[None])  # type: ignore[arg-type]
    assert sorted(net.asked) == list(range(8))
    wanted = targets(view_rows(labelled.grasps, labelled.view), PIXELS)
    there = wanted[:, 0] > 0.1
    assert maps[0, :, 0] == pytest.approx(wanted[:, 0], abs=0.02)
    for field in range(1, 6):
        assert maps[0, :, field][there] == pytest.approx(wanted[:, field][there], abs=0.02)
