"""Who is let in to a server, and what it answers over plain HTTP."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from serving_rig import TOKEN, Policies, Running, observation, running, wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from simtoreal.contracts import LinkLost
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.server import Place, Server, tls_context


def test_without_the_token_nobody_is_let_in(policies: Policies) -> None:
    with running(policies.service, token=TOKEN) as server:
        for token in (None, "wrong", TOKEN[:-1], TOKEN + "x", ""):
            with RemotePolicy(server.address, token=token) as client, pytest.raises(LinkLost, match="token is missing"):
                client.reset()
        with RemotePolicy(server.address, token=TOKEN) as client:
            client.reset()
            client.act(observation())
        assert server.metric('simtoreal_rejected_total{reason="token"}') == 5
        assert len(policies.made) == 1


def test_pages_in_a_browser_are_not_let_in(server: Running) -> None:
    with pytest.raises(InvalidStatus), connect(server.address, origin="http://evil.example", proxy=None):  # type: ignore[arg-type]
        pass


def test_one_client_too_many_is_told_so(server: Running) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(RemotePolicy(server.address)) for _ in range(4)]
        for client in clients[:3]:
            client.reset()
        with pytest.raises(LinkLost, match="at most 3 clients"):
            clients[3].reset()
        clients[0].close()
        wait_until(lambda: server.metric("simtoreal_clients") == 2)
        clients[3].reset()


def test_other_addresses_need_a_token(policies: Policies) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "robot.local", ""):
        with pytest.raises(ValueError, match="there is no token"):
            Server(policies.service, Place(host=host))
    Server(policies.service, Place(host="0.0.0.0", token=TOKEN))


def test_paths_of_plain_http(policies: Policies) -> None:
    with running(policies.service, token=TOKEN) as server:
        assert server.get("/healthz") == (200, "OK\n")
        for path in ("/metrics", "/stop", "/nowhere"):
            assert server.get(path)[0] == 401
            assert server.get(path, "wrong")[0] == 401
        status, text = server.get("/metrics", TOKEN)
        assert status == 200
        assert 'simtoreal_rejected_total{reason="token"} 6' in text
        assert server.get("/stop", TOKEN) == (404, "nothing moves here\n")
        assert server.get("/nowhere", TOKEN)[0] == 404


def test_metrics_are_in_the_format_of_prometheus(client: RemotePolicy, server: Running) -> None:
    for _ in range(3):
        client.act(observation())
    status, text = server.get("/metrics")
    assert status == 200
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['simtoreal_requests_total{outcome="answered"}'] == "4"  # with the beginning of the episode
    assert samples["simtoreal_clients"] == "1"
    buckets = [int(value) for name, value in samples.items() if name.startswith("simtoreal_request_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert samples['simtoreal_request_seconds_bucket{le="+Inf"}'] == samples["simtoreal_request_seconds_count"] == "4"
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    for name in samples:
        assert any(name.startswith(one) for one in typed)


def test_tls_is_verified_both_that_it_is_there_and_whose_it_is(policies: Policies, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    stranger.cert_pem.write_to_path(tmp_path / "other.pem")
    with running(policies.service, tls=tls_context(str(certificate), str(key))) as server:
        with RemotePolicy(server.address, tls_ca=ca) as client:
            client.reset()
            client.act(observation())
        for trusted in (tmp_path / "other.pem", None):
            with RemotePolicy(server.address, tls_ca=trusted) as client, pytest.raises(LinkLost, match="certificate"):
                client.reset()
        with RemotePolicy(f"ws://localhost:{server.port}") as client, pytest.raises(LinkLost):
            client.reset()
