"""A policy as a service: every client has one of its own, so that what it remembers belongs to one episode."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simtoreal.contracts import Policy
from simtoreal.serving.messages import (
    ACKNOWLEDGED,
    ACTION_DIM,
    ACTIONS,
    CAMERA,
    CONTROL,
    CONTROL_HZ,
    DEPTH,
    EPISODE_START,
    IMAGE_KEY,
    K_KEY,
    PROTOCOL,
    PROTOCOL_KEY,
    REQUIRED_KEYS,
    SENT,
    SEQUENCE,
    SERVES,
    TIMING,
    TOOL,
    WIDTH,
    WRIST_IMAGE,
    action_row,
    read_action,
    read_observation,
)

SERVES_POLICY = "policy"


@dataclass(frozen=True)
class PolicyDescription:
    """What a client has to know of a policy before it asks."""

    name: str
    control_hz: float
    image_key: str = WRIST_IMAGE
    sees_colour: bool = True
    sees_depth: bool = True

    @property
    def required_keys(self) -> tuple[str, ...]:
        pictures = ((self.image_key, self.sees_colour), (DEPTH, self.sees_depth))
        return (*(key for key, is_seen in pictures if is_seen), K_KEY, CAMERA, TOOL, WIDTH)

    @property
    def pictures(self) -> tuple[str, ...]:
        """Keys of pictures that may not be missing."""
        return tuple(key for key in self.required_keys if key in (self.image_key, DEPTH))


class PolicyService:
    """Opens a policy for each client.

    Args:
        make_policy: a new policy, as at the beginning of an episode.
        description: what it wants to see.
    """

    def __init__(self, make_policy: Callable[[], Policy], description: PolicyDescription) -> None:
        self._make_policy, self._description = make_policy, description

    @property
    def metadata(self) -> dict[str, Any]:
        description = self._description
        return {
            SERVES: SERVES_POLICY,
            PROTOCOL_KEY: PROTOCOL,
            CONTROL_HZ: description.control_hz,
            IMAGE_KEY: description.image_key,
            REQUIRED_KEYS: list(description.required_keys),
            "name": description.name,
            "action_dim": ACTION_DIM,
            "action_horizon": 1,
            "action_names": [*(f"delta_m.{i}" for i in "xyz"), *(f"delta_rotation_rad.{i}" for i in "xyz"),
                             "gripper_width_m"],
        }  # fmt: skip

    def open(self) -> "PolicySession":
        return PolicySession(self._make_policy(), self._description)

    def stop(self) -> bool:
        return False

    def close(self) -> None:
        """A policy holds nothing that has to be given back."""


class PolicySession:
    """A policy in the hands of one client."""

    def __init__(self, policy: Policy, description: PolicyDescription) -> None:
        self._policy, self._description = policy, description
        policy.reset()

    def is_urgent(self, message: Mapping[str, Any]) -> bool:
        return False

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """An action for an observation, or a new episode."""
        control = message.get(CONTROL)
        if control is not None:
            if control == EPISODE_START:
                self._policy.reset()
            return {ACKNOWLEDGED: control if control == EPISODE_START else "ignored"}
        description = self._description
        observation = read_observation(message, description.image_key, description.pictures, time.monotonic())
        if message.get(SENT) is not None:
            self._policy.sent(read_action(message, SENT))
        started_s = time.perf_counter()
        action = self._policy.act(observation)
        infer_s = time.perf_counter() - started_s
        row = action_row(action)
        if not np.isfinite(row).all():
            raise RuntimeError(f"the policy answers {action}, which is not finite")
        if message.get(SEQUENCE) is None:
            self._policy.sent(action)  # openpi's clients do not tell: what they were given is what they send
        return {ACTIONS: row[None], TIMING: {"infer_ms": 1e3 * infer_s}}

    def close(self) -> None:
        """A policy holds nothing that has to be given back."""
