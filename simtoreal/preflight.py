"""Checks that take a second and save hours: device, run folder and bundle, before anything is started."""

import dataclasses
import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import simtoreal
from simtoreal.camera_record import CameraRecord, load_camera
from simtoreal.config import CameraMount, ConfigError, Device, PretrainConfig
from simtoreal.provenance import CONFIG_FILE, WALL_TIME_FILE, check_same_run
from simtoreal.schema import closest
from simtoreal.settings_files import find_settings

MIN_FREE_BYTES = 50 * 2**20  # an evaluation with its videos fits; long runs check their own needs


def check(config: Any) -> None:
    """Checks everything in a command's settings that would otherwise fail late.

    Raises:
        ConfigError: the device, the bundle, a settings file or the run folder cannot be used.
        OSError: the run folder cannot be written.
    """
    bundle = getattr(config, "bundle", None)
    if bundle is not None:
        find_bundle(bundle)
    for field in dataclasses.fields(config):
        group, value = field.metadata.get("file"), getattr(config, field.name)
        if group and value is not None:
            find_settings(field.name, value, group)
    for name in ("photos", "encoder_weights"):
        folder = getattr(config, name, None)
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{name}={folder}: there is no such folder")
    check_run_folder(config)
    if getattr(config, "device", Device.CPU) is Device.CUDA:
        check_cuda()


def find_bundle(name: str) -> Path:
    """Folder of a bundle, given as that folder, as the run that wrote it, or by the name of one that ships.

    Raises:
        ConfigError: there is no such bundle.
    """
    shipped = Path(simtoreal.__file__).parent / "bundles"
    names = sorted(path.name for path in shipped.iterdir() if path.is_dir()) if shipped.is_dir() else []
    if name in names:
        return shipped / name
    folder = Path(name).expanduser()
    if (folder / "bundle" / "bundle.yaml").is_file():
        return folder / "bundle"
    if folder.is_dir():
        return folder
    shipped_names = f"Shipped with the package: {', '.join(names)}" if names else "No bundle ships with this package"
    raise ConfigError(
        f"bundle={name}: no such folder{closest(name, names)} {shipped_names}; "
        "`simtoreal pretrain` writes one to the folder bundle/ of its run"
    )


class CameraChoice(NamedTuple):
    """What camera=... stands for."""

    placement: Literal["wrist", "external"]
    record: CameraRecord | None  # of a camera file


def find_camera(name: str) -> CameraChoice:
    """The camera of a command: `wrist`, `external`, or a camera file, whose placement counts.

    Raises:
        ConfigError: it is neither, or the file cannot be used.
    """
    choices = [mount.value for mount in CameraMount]
    if name == CameraMount.WRIST:
        return CameraChoice("wrist", None)
    if name == CameraMount.EXTERNAL:
        return CameraChoice("external", None)
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"camera={name} is not a choice{closest(name, choices)} Choose from: {', '.join(choices)}, or give the "
            "camera.yaml that `simtoreal calibrate` writes"
        )
    record = load_camera(path)
    return CameraChoice(record.placed, record)


def check_run_folder(config: Any) -> None:
    """Makes the run folder and makes sure that it can be written, and that no earlier run is lost in it.

    Raises:
        ConfigError: it holds a run that the settings would overwrite, or one with other settings.
        OSError: it cannot be made or written, or the disk is full.
    """
    out: Path = config.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"out={out} cannot be written: {reason}. Give another folder with out=") from error
    free = shutil.disk_usage(out).free
    if free < MIN_FREE_BYTES:
        text = f"out={out}: {free // 2**20} MiB are free there and {MIN_FREE_BYTES // 2**20} MiB are needed"
        raise OSError(errno.ENOSPC, f"{text}. Make room, or give another folder with out=")
    if getattr(config, "resume", False):
        check_same_run(out, config)
    elif isinstance(config, PretrainConfig) and _holds_run(out):
        raise ConfigError(f"out={out} already holds a run: add resume=true to go on with it, or give another folder")


def _holds_run(out: Path) -> bool:
    """Whether a run got anywhere: one that ended at a mistake in its settings left what every run begins with."""
    names = {path.name for path in out.iterdir()}
    return CONFIG_FILE in names and bool(names - {CONFIG_FILE, WALL_TIME_FILE})


def check_cuda() -> None:
    """Makes sure that a GPU is there.

    Raises:
        ConfigError: torch sees none; the message says whether torch or the machine is at fault.
    """
    import torch

    if torch.cuda.is_available():
        return
    why = "the installed torch is a CPU build" if torch.version.cuda is None else "torch sees no GPU on this machine"
    raise ConfigError(f"device=cuda: {why}. Use device=cpu or device=auto, or install torch with CUDA")


def resolve_device(device: Device) -> str:
    """`cpu` or `cuda`: `auto` is a GPU if there is one.

    Raises:
        ConfigError: a GPU was asked for and there is none.
    """
    if device is Device.CUDA:
        check_cuda()
    if device is not Device.AUTO:
        return device.value
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
