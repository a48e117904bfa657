"""A controller with two cameras and a policy in one, for the recorder to look at."""

import numpy as np
from episode_samples import HEIGHT_PX, WIDTH_PX, K, depth_image, rgb_image

from simtoreal import frames
from simtoreal.contracts import Action, CameraImage, Observation
from simtoreal.runtime import Step

T_TCP_CAM = frames.transform([0.0, 0.05, -0.1])
T_BASE_TABLE_CAM = frames.look_at([1.0, 0.0, 0.7], [0.5, 0.0, 0.0])
MOUNTS = {"wrist": "wrist", "table": "external"}


class Rig:
    """A controller with two cameras that reuse their memory, and a policy that asks for twice what is sent."""

    control_hz = 20.0

    def __init__(self, more_name: str = "table") -> None:
        self._rgb = np.zeros((HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
        self._more_name = more_name
        self._index = 0

    def observe(self) -> Observation:
        t_s = 0.05 * self._index
        T_base_tcp = frames.top_down([0.4, 0.01 * self._index, 0.3], 0.0)
        self._rgb[:] = rgb_image(self._index)
        mirrored = np.ascontiguousarray(rgb_image(100 + self._index)[:, ::-1])
        table = CameraImage(t_s - 0.01, mirrored[:, ::-1], None, K, T_BASE_TABLE_CAM)  # as a view, not contiguous
        return Observation(
            t_s, self._rgb, depth_image(self._index), K, T_base_tcp @ T_TCP_CAM, T_base_tcp, 0.08, np.zeros(7),
            more_cameras={self._more_name: table},
        )  # fmt: skip

    def get_observation(self) -> Observation:
        self._index += 1
        return self.observe()

    def send_action(self, action: Action) -> Action:
        return action._replace(delta_m=action.delta_m / 2)

    def stop(self) -> None: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...

    def reset(self) -> Observation:
        self._index = 0
        return self.observe()

    def act(self, observation: Observation) -> Action:
        return Action(np.array([0.02, 0.0, 0.0]), np.zeros(3), 0.04)

    def sent(self, action: Action) -> None: ...


def clock(step: Step) -> float:
    return 0.05 * step.index
