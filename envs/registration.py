"""Registers the environments with Gymnasium; called when the package is imported, so `gymnasium.make` is enough."""

_ENVS = {
    "simtoreal/GraspState-v0": "simtoreal.envs.gym_envs:GraspStateEnv",
    "simtoreal/GraspCamera-v0": "simtoreal.envs.gym_envs:GraspCameraEnv",
}


def register_envs() -> None:
    """Makes `simtoreal/GraspState-v0` and `simtoreal/GraspCamera-v0` known; calling it twice does no harm.

    The robot's computer has no Gymnasium, and nobody who could ask for them.
    """
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        return

    for name, entry_point in _ENVS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=entry_point)
