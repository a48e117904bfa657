"""Registers the environments with Gymnasium; called through its entry point, so `gymnasium.make` is enough."""

import gymnasium

_ENVS = {
    "simtoreal/GraspState-v0": "simtoreal.envs.gym_envs:GraspStateEnv",
    "simtoreal/GraspCamera-v0": "simtoreal.envs.gym_envs:GraspCameraEnv",
}


def register_envs() -> None:
    """Makes `simtoreal/GraspState-v0` and `simtoreal/GraspCamera-v0` known; calling it twice does no harm."""
    for name, entry_point in _ENVS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=entry_point)
