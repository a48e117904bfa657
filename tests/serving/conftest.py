"""A policy server and its client, for every test of serving."""

from collections.abc import Iterator

import pytest
from serving_rig import Policies, Running, running

from simtoreal.serving.client import RemotePolicy


@pytest.fixture
def policies() -> Policies:
    return Policies()


@pytest.fixture
def server(policies: Policies) -> Iterator[Running]:
    with running(policies.service, max_clients=3, max_message_bytes=100_000) as started:
        yield started


@pytest.fixture
def client(server: Running) -> Iterator[RemotePolicy]:
    with RemotePolicy(server.address, deadline_s=2.0) as policy:
        policy.reset()
        yield policy
