"""A small HTTP tracker for one swarm after the other, which remembers every announce. Standard library only."""
import socket
import struct
import threading
import time
import urllib.parse

from content import bencode

INTERVAL_S = 1800
PEERS_MAX = 60


class Tracker:
    def __init__(self, ip, port):
        self.url = "http://%s:%d/announce" % (ip, port)
        self.changed = threading.Condition()
        self.swarms, self.announces = {}, []
        self.socket = socket.create_server((ip, port), backlog=1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, address = self.socket.accept()
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection, address):
        try:
            connection.settimeout(20)
            while True:
                request = b""
                while b"\r\n\r\n" not in request:
                    more = connection.recv(8192)
                    if not more:
                        return
                    request += more
                head = request.decode("latin-1")
                path = head.split(" ", 2)[1]
                body = bencode({"files": {}})
                if path.split("?")[0].endswith("/announce"):
                    body = self._announce(path.partition("?")[2], address[0])
                close = "HTTP/1.0" in head.split("\r\n")[0] or "connection: close" in head.lower()
                kept = b"close" if close else b"keep-alive"
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                    b"Connection: %s\r\n\r\n%s" % (len(body), kept, body))
                if close:
                    return
        except (OSError, IndexError, ValueError):
            pass  # a client went away, or asked nonsense
        finally:
            connection.close()

    def _announce(self, query, ip):
        asked = {}
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            asked[key] = urllib.parse.unquote_to_bytes(value.replace("+", " "))
        info_hash, port = asked.get("info_hash", b""), int(asked.get("port", b"0"))
        left = int(asked.get("left") or b"-1")
        with self.changed:
            swarm = self.swarms.setdefault(info_hash, {})
            if asked.get("event") == b"stopped":
                swarm.pop((ip, port), None)
            else:
                swarm[ip, port] = left
            self.announces.append((info_hash, ip, port, left))
            peers = [peer for peer in swarm if peer != (ip, port)]
            seeds = sum(1 for left in swarm.values() if left == 0)
            leeches = len(swarm) - seeds
            self.changed.notify_all()
        want = max(0, min(int(asked.get("numwant") or b"50"), PEERS_MAX))
        compact = b"".join(
            socket.inet_aton(ip) + struct.pack(">H", port) for ip, port in peers[:want])
        return bencode({"interval": INTERVAL_S, "min interval": 5, "complete": seeds,
                        "incomplete": leeches, "peers": compact})

    def reset(self):
        with self.changed:
            self.swarms.clear()
            self.announces.clear()

    def put(self, info_hash, ip, port):
        """Names a seed that may not announce itself in time."""
        with self.changed:
            self.swarms.setdefault(info_hash, {})[ip, port] = 0

    def seed_announced(self, ip, timeout):
        """Waits until somebody at this address has announced that nothing is left."""
        end = time.monotonic() + timeout
        with self.changed:
            while not any(who == ip and left == 0 for _, who, _, left in self.announces):
                wait = end - time.monotonic()
                if wait <= 0:
                    return False
                self.changed.wait(wait)
        return True

    def torrents_announced(self):
        with self.changed:
            return len({info_hash for info_hash, _, _, _ in self.announces})
