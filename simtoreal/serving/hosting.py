"""What `simtoreal serve` does: opens what is served, and serves it until it is told to end."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path

from simtoreal.controllers.clock import times_of
from simtoreal.controllers.registry import ControllerSettings, find_entry, open_controller
from simtoreal.preflight import find_bundle
from simtoreal.safety.events import SafetyEvent
from simtoreal.safety.guard import Guard
from simtoreal.safety.limits import SafetyLimits, load_limits
from simtoreal.serving import tokens
from simtoreal.serving.controller_service import ControllerService
from simtoreal.serving.server import Place, Server, tls_context
from simtoreal.serving.service import Service
from simtoreal.serving.settings import ServeConfig

_MAX_LOG_BYTES = 10 * 2**20

LOG = logging.getLogger("simtoreal.serving")


def host(config: ServeConfig) -> int:
    """Serves until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: what is served is not known, or the address is open to others and there is no token.
        OSError: the address cannot be listened on.
    """
    token = tokens.read_token(config.token_file)
    tokens.check_exposure(config.host, token)
    tls = None if config.tls_cert is None else tls_context(str(config.tls_cert), str(config.tls_key))
    place = Place(
        config.host,
        config.port,
        token,
        tls,
        max_clients=1 if config.controller is not None else config.max_clients,
        max_message_bytes=round(config.max_message_mb * 1e6),
    )
    with _logging_to(config.out / "serve.log"):
        server = Server(_open(config), place)
        try:
            asyncio.run(server.run(lambda port: _say_where(config, place, port)))
        except OSError as error:
            where = f"host={config.host} port={config.port} cannot be listened on"
            raise OSError(error.errno, f"{where}: {error.strerror or error}. Give another port=, or port=0") from error
    print(f"served {server.metrics.num_answered} requests; the log is {config.out / 'serve.log'}")
    return 0


def _open(config: ServeConfig) -> Service:
    if config.controller is None:
        from simtoreal.serving.bundle_service import open_bundle

        return open_bundle(find_bundle(config.bundle), config.device)
    find_entry(config.controller)
    limits = load_limits(config.safety or config.robot)
    return ControllerService(partial(_guarded, config.controller, config.robot, limits), config.silence_s)


def _guarded(name: str, robot: str, limits: SafetyLimits) -> Guard:
    """A controller that no client can send outside of the limits, whatever it guards itself."""
    controller = open_controller(name, ControllerSettings(robot=robot))
    return Guard(controller, limits, times=times_of(controller), on_event=_log_stop)


def _log_stop(event: SafetyEvent) -> None:
    if event.stops:
        LOG.warning("%s", event)


def _say_where(config: ServeConfig, place: Place, port: int) -> None:
    what = f"controller {config.controller}" if config.controller is not None else f"bundle {config.bundle}"
    scheme = "ws" if place.tls is None else "wss"
    print(f"serving {what} on {scheme}://{place.host}:{port}; Ctrl-C ends it", flush=True)
    if place.tls is None and not tokens.is_loopback(place.host):
        print("the token and the pictures can be read on the way: give tls_cert and tls_key", file=sys.stderr)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Everything that the server has to say, in a file that does not grow without end, and on standard error."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    file = RotatingFileHandler(path, maxBytes=_MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    handlers: list[logging.Handler] = [file, logging.StreamHandler()]
    for handler in handlers:
        handler.setFormatter(formatter)
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()
