"""Training curves: TensorBoard by default, Weights and Biases as an extra, or none."""

from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Takes one figure at a time."""

    def scalar(self, name: str, value: float, step: int) -> None: ...
    def close(self) -> None: ...


class NoTracker:
    """Keeps nothing."""

    def scalar(self, name: str, value: float, step: int) -> None: ...
    def close(self) -> None: ...


class TensorBoardTracker:
    """Writes event files that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """Sends curves to Weights and Biases."""

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("logger=wandb needs the extra: pip install 'simtoreal[wandb]'") from error
        self._run = wandb.init(project="simtoreal", dir=str(folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        self._run.log({name: value, "step": step})

    def close(self) -> None:
        self._run.finish()


def make_tracker(kind: str, folder: Path) -> Tracker:
    """A tracker by name: `tensorboard`, `wandb` or `none`."""
    if kind == "none":
        return NoTracker()
    folder.mkdir(parents=True, exist_ok=True)
    return WandbTracker(folder) if kind == "wandb" else TensorBoardTracker(folder)
