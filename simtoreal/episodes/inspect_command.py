"""The `inspect` command: a dataset of episodes where one is given, else a bundle."""

from simtoreal.config import InspectConfig


def inspect(config: InspectConfig) -> int:
    """Looks at what the settings name; returns 1 where episodes could not be read, else 0.

    Raises:
        ValueError: what is to be looked at is none, or is broken.
        ModuleNotFoundError: the viewer is not installed; says what to install.
        OSError: the run folder cannot be written.
    """
    if config.episodes is not None:
        from simtoreal.episodes.inspection import inspect_episodes

        return inspect_episodes(config, config.episodes)
    from simtoreal.evaluation.inspection import inspect as inspect_bundle  # simulators and torch are not for datasets

    inspect_bundle(config)
    return 0
