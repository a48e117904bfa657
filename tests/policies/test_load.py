"""From a bundle to a policy: the same weights give the same map, and a bundle that does not fit says where."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simtoreal import frames
from simtoreal.bundle import Bundle, BundleError, load_bundle, save_bundle
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import EncoderSpec, build_encoder
from simtoreal.policies.learned_head import LearnedHead
from simtoreal.policies.load import as_grasp_map, encoder_weights, load_encoder, make_policy
from simtoreal.policies.parts import make_head, view_of, view_record
from simtoreal.policies.servo import ServoHead
from simtoreal.policies.view import ViewSpec

VIEW = ViewSpec(pixels=32)
HEAD = {
    "layers.0.weight": np.zeros((ACTION_DIM, OBSERVATION_DIM), np.float32),
    "layers.0.bias": np.zeros(ACTION_DIM, np.float32),
}


def make_bundle(**changes: Any) -> Bundle:
    torch.manual_seed(0)
    spec = EncoderSpec(width=8)
    bundle = Bundle(
        encoder=dataclasses.asdict(spec),
        view=view_record(VIEW),
        head="servo",
        scale=HeadScale(),
        error=PerceptionError(),
        camera=CameraRecord("wrist", "rgbd", CameraModel.from_fov(48, 48, 1.0)),
        encoder_weights=encoder_weights(build_encoder(spec)),
        head_weights=HEAD,
    )
    return dataclasses.replace(bundle, **changes)


def observation_of(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    T_base_tcp = frames.top_down((0.5, 0.0, 0.25), 0.0)
    T_base_cam = T_base_tcp @ frames.transform((0.0, 0.05, -0.08))
    rgb = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    depth = np.full((48, 48), 0.33, dtype=np.float32)
    return Observation(0.0, rgb, depth, CameraModel.from_fov(48, 48, 1.0).K, T_base_cam, T_base_tcp, 0.08, None)


def test_a_view_survives_the_way_through_a_bundle(tmp_path: Path):
    view = ViewSpec("external", "depth", 96, 0.5, 0.1, 0.42, (0.45, 0.05))
    save_bundle(make_bundle(view=view_record(view)), tmp_path / "bundle")
    assert view_of(load_bundle(tmp_path / "bundle")) == view


def test_an_encoder_survives_the_way_through_a_bundle(tmp_path: Path):
    bundle = make_bundle()
    save_bundle(bundle, tmp_path / "bundle")
    views = np.random.default_rng(0).normal(size=(6, 32, 32)).astype(np.float32)
    before = as_grasp_map(load_encoder(bundle))(views)
    after = as_grasp_map(load_encoder(load_bundle(tmp_path / "bundle")))(views)
    assert np.array_equal(before, after)
    assert 0.0 <= before[:, 0].min() <= before[:, 0].max() <= 1.0, "qualities are probabilities, not logits"


def test_a_policy_acts_on_images_the_same_way_every_time():
    policies = [make_policy(make_bundle()) for _ in range(2)]
    actions = []
    for policy in policies:
        policy.reset()
        actions.append(policy.act(observation_of()))
        assert policy.estimate is not None
    assert np.array_equal(actions[0].delta_m, actions[1].delta_m)
    assert np.isfinite(actions[0].delta_m).all()


def test_a_given_source_replaces_the_encoder():
    class Known:
        def reset(self) -> None: ...
        def missed(self, T_base_tcp: np.ndarray, slipped: bool = False) -> None: ...
        def estimate(self, observation: Observation) -> GraspEstimate:
            return GraspEstimate(frames.top_down((0.52, 0.0, 0.02), 0.0), 0.04, 1.0)

    policy = make_policy(make_bundle(), source=Known())
    policy.reset()
    policy.act(observation_of()._replace(rgb=None, depth_m=None))
    assert policy.estimate is not None
    assert policy.estimate.quality == 1.0


@pytest.mark.parametrize(
    ("named", "choice", "kind"),
    [
        ("servo", "bundle", ServoHead),
        ("learned", "bundle", LearnedHead),
        ("servo", "learned", LearnedHead),
        ("learned", "servo", ServoHead),
    ],
)
def test_the_head_is_the_one_asked_for(named: str, choice: Any, kind: type):
    assert isinstance(make_head(make_bundle(head=named), choice), kind)


def test_a_learned_head_that_is_not_there_says_what_to_do():
    with pytest.raises(BundleError, match="head=servo or train stage=control"):
        make_head(make_bundle(head_weights={}), "learned")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"name": "conv_small", "modality": "rgbd", "width": 16}}, "encoder.safetensors does not fit"),
        ({"encoder": {"name": "vgg"}}, "'vgg'"),
        ({"encoder": {"depth": 3}}, "depth"),
        ({"encoder_weights": {}}, "encoder.safetensors does not fit"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(BundleError, match=message):
        load_encoder(make_bundle(**changes))


@pytest.mark.parametrize(
    "view", [{}, {"centre_m": 3}, {**view_record(VIEW), "pixels": 33}, {**view_record(VIEW), "zoom": 2.0}], ids=str
)
def test_a_view_that_makes_no_sense_is_refused(view: dict[str, Any]):
    with pytest.raises(BundleError, match=r"bundle\.yaml: view"):
        view_of(make_bundle(view=view))


def test_a_head_that_does_not_fit_is_refused():
    with pytest.raises(BundleError, match=r"head\.safetensors: .*outputs"):
        make_head(make_bundle(head_weights={"layers.0.weight": np.zeros((3, OBSERVATION_DIM), np.float32),
                                            "layers.0.bias": np.zeros(3, np.float32)}), "learned")  # fmt: skip
