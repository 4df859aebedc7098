"""A proxy of deploy/proxies, as the distribution's program runs it, and what a client sees of it."""

import re
import socket
import ssl

import websocket

from conftest import DEPLOY

NAME = "shop.example"
# The machines of the shipped configurations, here as addresses of loopback.
MACHINES = {"10.0.0.1": "127.0.10.1", "10.0.0.2": "127.0.10.2"}
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; include {file}; }}
"""


def written(name: str, folder, ports: dict):
    """A shipped configuration with the addresses, ports and certificates of the test; nothing else differs."""
    text = (DEPLOY / "proxies" / name).read_text()
    for machine, address in MACHINES.items():
        assert machine in text
        text = text.replace(machine, address)
    text = re.sub(r"\b8080\b", str(ports["public"]), re.sub(r"\b8081\b", str(ports["operations"]), text))
    text = text.replace("/etc/ssl", str(folder))
    (path := folder / name).write_text(text)
    return path


def nginx(folder, ports):
    path = written("nginx.conf", folder, ports)
    path.write_text(path.read_text().replace("listen 443 ssl", f"listen 127.0.0.1:{ports['tls']} ssl"))
    (main := folder / "main.conf").write_text(NGINX.format(folder=folder, file=path))
    return ["nginx", "-p", folder, "-c", main], {}


def haproxy(folder, ports):
    path = written("haproxy.cfg", folder, ports)
    # Two file descriptors for each: more than a test may have.
    text = path.read_text().replace("maxconn 40000", "maxconn 4000")
    path.write_text(text.replace("bind :443", f"bind 127.0.0.1:{ports['tls']}"))
    return ["haproxy", "-db", "-f", path], {}


def caddy(folder, ports):
    path = written("Caddyfile", folder, ports)
    # No certificate of a public authority can be had here, and no port below 1024.
    options = "admin off\n\tauto_https off\n\tstorage file_system " + str(folder / "caddy") + "\n\tgrace_period 1s"
    site = f"https://{NAME}:{ports['tls']} {{\n\tbind 127.0.0.1\n\ttls {folder}/{NAME}.pem {folder}/{NAME}.key"
    path.write_text(path.read_text().replace("grace_period 10s", options).replace(f"{NAME} {{", site))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", path], {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


PROXIES = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}


class Front:
    """A proxy before nodes, as a client of NAME sees it."""

    def __init__(self, port: int, folder):
        self.port = port
        self.trust = ssl.create_default_context(cafile=folder / "one.pem")

    def connect(self) -> ssl.SSLSocket:
        return self.trust.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=10), server_hostname=NAME)

    def request(self, method: str, path: str, body: str = "", headers: str = "") -> tuple[int, str]:
        """Status and text of the answer on a connection of its own; the status is 0 where there is none."""
        try:
            with self.connect() as stream:
                stream.sendall(f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{headers}"
                               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                answer = b"".join(iter(lambda: stream.recv(65536), b"")).decode()
                return int(answer.split(" ", 2)[1]), answer
        except OSError as error:
            return 0, str(error)

    def websocket(self, origin: str | None = None) -> websocket.WebSocket:
        """Opens one, or raises what the handshake was answered."""
        return websocket.create_connection(f"wss://{NAME}/v1/ws", socket=self.connect(), timeout=10, origin=origin,
                                           suppress_origin=origin is None)
