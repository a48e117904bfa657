"""Policies and controllers over the network: websocket and msgpack, compatible with openpi's clients."""
