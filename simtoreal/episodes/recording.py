"""The `record` command: episodes from a controller into a dataset, going on where an earlier call ended."""

from collections.abc import Sequence

from simtoreal.episodes.controllers import Session, Take, open_session
from simtoreal.episodes.entries import EpisodeEntry
from simtoreal.episodes.recorder import Pressure, Recorder
from simtoreal.episodes.records import EpisodeInfo
from simtoreal.episodes.settings import RecordConfig
from simtoreal.episodes.writer import DatasetWriter, WriterSettings
from simtoreal.progress import Progress

SPARE_TAKES = 3  # that may be lost in a row before recording gives up


def record(config: RecordConfig) -> int:
    """Records until the dataset holds as many episodes as asked for; returns 1 where too many scenes were lost."""
    progress = Progress()
    settings = WriterSettings(lossless_rgb=config.lossless_rgb, depth_unit_m=config.depth_unit_m)
    with DatasetWriter(config.out, settings) as writer:
        missing = config.episodes - writer.num_episodes
        if missing <= 0:
            progress.say(f"{config.out} holds {writer.num_episodes} episodes already: ask for more with episodes=N")
            return 0
        session = open_session(config, progress)
        try:
            with Recorder(writer, session.mounts, session.clock) as recorder:
                complete = _record(session, recorder, (writer, missing), progress)
        finally:
            session.close()
        grasped = sum(bool(entry.end.success) for entry in writer.entries)
        progress.say(f"{config.out}: {writer.num_episodes} episodes, {writer.num_frames} frames, {grasped} grasped")
    return 0 if complete else 1


def _record(session: Session, recorder: Recorder, goal: tuple[DatasetWriter, int], progress: Progress) -> bool:
    writer, missing = goal
    held_up = Pressure()
    lost = 0
    with progress.task("record", missing) as bar:
        while missing and lost <= SPARE_TAKES:
            take = _next_take(session, writer.entries, lost)
            recorder.prepare(_about(session, take))
            end = session.run(take, recorder)
            if end is None:
                lost += 1
                progress.say(f"left out: episode {take.number}, {take.object_name}: the scene was lost")
                continue
            recorder.finish(end)
            held_up.num_waits += recorder.pressure.num_waits
            held_up.waited_s += recorder.pressure.waited_s
            missing, lost = missing - 1, 0
            bar.advance(note="grasped" if end.success else end.failure)
    if held_up.num_waits:
        progress.say(f"the loop waited {held_up.num_waits} times for the encoder, {held_up.waited_s:.1f} s in all")
    return not missing


def _next_take(session: Session, entries: Sequence[EpisodeEntry], lost: int) -> Take:
    """The first number after those recorded before, whoever recorded them."""
    numbers = [int(entry.end.labels.get("episode", entry.index)) for entry in entries]
    return session.takes([max(numbers, default=-1) + 1 + lost])[0]


def _about(session: Session, take: Take) -> EpisodeInfo:
    return EpisodeInfo(
        fps=session.control_hz,
        cameras={},
        domain=session.domain,
        robot=session.robot,
        object_name=take.object_name,
        source=f"simtoreal record, episode {take.number}",
    )
