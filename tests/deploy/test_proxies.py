"""The proxies' configurations, run by the real programs in front of two real nodes: HTTP, WebSocket, events, drain, readiness."""

import contextlib
import http.server
import json
import re
import signal
import struct
import subprocess
import threading
import time

import pytest
import websocket

from conftest import Node, Process, fetch, free_port, wait_until
from fronts import MACHINES, NAME, PROXIES, Front

# Between requests of one client, which the shipped limits allow.
PACE = 0.05


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A folder with a certificate for NAME and its key, apart and in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / f"{NAME}.key", folder / "one.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    (folder / f"{NAME}.pem").write_text(certificate.read_text() + key.read_text())
    return folder


@pytest.fixture(params=PROXIES)
def front(request, start, certificate, tmp_path):
    """A function that puts the proxy before what listens at the two machines."""
    ports = {"public": free_port(), "operations": free_port(), "tls": free_port()}

    def before() -> Front:
        for file in certificate.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        command, env = PROXIES[request.param](tmp_path, ports)
        proxy = start(Process, command, env=env)
        front = Front(ports["tls"], tmp_path)

        def answers():
            assert proxy.process.poll() is None, f"{request.param} ended:\n{proxy.text()}"
            return front.request("GET", "/v1/products/none")[0] in (200, 404)

        wait_until(f"{request.param} answers", answers)
        return front

    before.ports, before.name = ports, request.param
    return before


@pytest.fixture
def nodes(front, start):
    """Two nodes with records of their own, at the two machines."""
    ports = (front.ports["public"], front.ports["operations"])
    env = {"FRESHET__GATEWAY__HOSTS": f"['{NAME}']"}
    return [start(Node, ["--memory"], address=address, ports=ports, env=env) for address in MACHINES.values()]


def put(node: Node, key: str, price: int):
    status, _, text = fetch(f"{node.public}/v1/products/{key}", "PUT", {"name": key, "price": price})
    assert status in (200, 201), text


def ask(client, method: str, **params):
    client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))


def take(client, method: str) -> dict:
    """The next notification of `method`."""
    while True:
        message = json.loads(client.recv())
        if message.get("method") == method:
            return message["params"]


def test_requests_sockets_and_events_pass(front, nodes):
    before = front()
    for node in nodes:
        put(node, "a", 100)
    # As every browser asks: compressing would weaken the ETag.
    status, answer = before.request("GET", "/v1/products/a", headers="Accept-Encoding: gzip\r\n")
    stamp = re.search(r"^etag: (\S+)", answer, re.I | re.M)[1]
    assert (status, stamp[0]) == (200, '"'), answer
    assert before.request("GET", "/v1/products/a", headers=f"If-None-Match: {stamp}\r\n")[0] == 304
    # The stamp is still a strong one, so it can be a condition.
    assert before.request("PUT", "/v1/products/a", '{"name":"a","price":101}', f"If-Match: {stamp}\r\n")[0] == 200
    with contextlib.closing(before.websocket(f"https://{NAME}")) as client:
        ask(client, "subscribe", collection="products", key="b")
        take(client, "freshet_subscription")
        for node in nodes:
            put(node, "b", 7)
        assert take(client, "freshet_subscription")["result"]["value"]["price"] == 7
    with before.connect() as stream:
        stream.sendall(f"GET /v1/products/c/events HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        seen = ""
        while '"key":"c"' not in seen:
            seen += stream.recv(65536).decode()
        for node in nodes:
            put(node, "c", 9)
        began = time.monotonic()
        while '"price":9' not in seen.replace(" ", ""):
            seen += stream.recv(65536).decode()
        assert time.monotonic() - began < 2, "events leave as they come"


def test_what_is_not_for_clients_is_refused(front, nodes):
    before = front()
    assert before.request("GET", "/metrics")[0] == 404
    assert before.request("GET", "/")[0] == 404
    status, _ = before.request("PUT", "/v1/products/a", json.dumps({"name": "x" * (2 << 20)}))
    # Caddy finds out while it passes the body on, and says 502.
    assert status in (0, 413, 502), "larger than gateway.body_max"
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        before.websocket("https://evil.example")
    assert refused.value.status_code == 403


@pytest.mark.parametrize("front", ["nginx", "haproxy"], indirect=True)
def test_one_address_gets_a_hundred_sockets(front, nodes):
    before = front()
    with contextlib.ExitStack() as open_sockets:
        with pytest.raises((websocket.WebSocketException, OSError)) as refused:
            for count in range(150):
                open_sockets.enter_context(contextlib.closing(before.websocket()))
        # nginx counts requests under way, HAProxy a connection that has just been closed as well.
        assert 95 <= count <= 105, repr(refused.value)


def test_a_drain_is_told_to_its_clients_and_not_felt_by_others(front, nodes):
    before = front()
    with contextlib.ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(contextlib.closing(before.websocket())) for _ in range(4)]
        for client in clients:
            ask(client, "subscribe", collection="products", key="a")
            take(client, "freshet_subscription")
        served = [fetch(f"{node.operations}/metrics")[2] for node in nodes]
        assert all(re.search(r"^freshet_session_open 2$", text, re.M) for text in served), "connections are spread evenly"
        answers, done = [], threading.Event()

        def others():
            while not done.wait(PACE):
                answers.append(before.request("GET", "/v1/products/none"))

        asking = threading.Thread(target=others)
        asking.start()
        wait_until("others ask", lambda: len(answers) > 5)
        nodes[0].tell(signal.SIGTERM)
        nodes[0].process.wait(30)
        after = len(answers)
        wait_until("others go on", lambda: len(answers) > after + 20)
        done.set()
        asking.join()
        assert [answer for answer in answers if answer[0] != 404] == [], "another node answers what the one that drains does not"
        assert sorted(map(last_words, clients)) == [False, False, True, True], "half of them were on that node"
    with contextlib.closing(before.websocket()) as client:
        ask(client, "get", collection="products", key="a")
        client.recv()


def last_words(client) -> bool:
    """Whether the client was told to leave, and then closed with 1001; else it is still served."""
    told = False
    with contextlib.suppress(OSError, websocket.WebSocketException):
        ask(client, "describe", collection="products")
    while True:
        # A frame as it came: the close is not answered, since the proxy may be gone.
        frame = client.recv_frame()
        if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
            assert told and struct.unpack("!H", frame.data[:2]) == (1001,)
            return True
        message = json.loads(frame.data)
        if "columns" in message.get("result", ""):
            return False
        told = told or message.get("method") == "freshet_drain"


class Stub(http.server.BaseHTTPRequestHandler):
    """A node that answers reads, and breaks the connection of a write."""

    readyz = 200
    writes: list[str] = []

    def do_GET(self):
        self.send_response(Stub.readyz if self.path.startswith("/readyz") else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_PUT(self):
        self.writes.append(self.command)
        self.close_connection = True

    do_PATCH = do_PUT

    def log_message(self, *_):
        pass


@pytest.fixture
def stubs(front):
    """One at each of the two machines."""
    Stub.readyz, Stub.writes = 200, []
    servers = [http.server.ThreadingHTTPServer((address, front.ports[port]), Stub)
               for address in MACHINES.values() for port in ("public", "operations")]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


def test_clients_are_sent_on_while_no_node_is_ready(front, stubs):
    # As when the only database is away.
    Stub.readyz = 503
    before = front()
    began = time.monotonic()
    # Longer than any of the proxies needs to take both nodes for unready.
    while time.monotonic() - began < 3:
        time.sleep(PACE)
        asked = time.monotonic()
        status, text = before.request("GET", "/v1/products/a")
        assert status == 200 and time.monotonic() - asked < 2, text


@pytest.mark.parametrize(("method", "by_nginx"), [("PATCH", 1), ("PUT", 2)])
def test_a_write_that_may_have_happened_is_repeated_only_where_the_guide_says_so(front, stubs, method, by_nginx):
    status, text = front().request(method, "/v1/products/a", "{}")
    assert status == 502, text
    assert Stub.writes == [method] * (by_nginx if front.name == "nginx" else 1)
