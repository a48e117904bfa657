"""The `inspect` command: a dataset of episodes where one is given, else a bundle; with both, what that sees in it."""

import dataclasses

from simtoreal.config import InspectConfig


def inspect(config: InspectConfig) -> int:
    """Looks at what the settings name; returns 1 where episodes could not be read, else 0.

    Raises:
        ValueError: what is to be looked at is none, or is broken.
        ModuleNotFoundError: the viewer is not installed; says what to install.
        OSError: the run folder cannot be written.
    """
    if config.episodes is None:
        from simtoreal.evaluation.inspection import inspect as inspect_bundle  # simulators are not for datasets

        inspect_bundle(dataclasses.replace(config, bundle=config.bundle or "default"))
        return 0
    from simtoreal.episodes.inspection import inspect_episodes

    status = inspect_episodes(config, config.episodes)
    if config.bundle is not None:
        from simtoreal.transfer.ledger.probing import probe_on_episodes  # torch is not for datasets alone

        probe_on_episodes(config.bundle, config.episodes, config.out, config.seed)
    return status
