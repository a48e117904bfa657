"""The verb `serve`."""

from importlib.util import find_spec

from simtoreal.serving.settings import ServeConfig


def serve(config: ServeConfig) -> int:
    """Serves until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: what is served is not known, or the address is open to others and there is no token.
        ModuleNotFoundError: an extra is not installed; the message names it.
        OSError: the address cannot be listened on.
    """
    missing = [name for name in ("msgpack", "websockets") if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"simtoreal serve needs {' and '.join(missing)}: pip install 'simtoreal[serve]'")
    from simtoreal.serving.hosting import host

    return host(config)
