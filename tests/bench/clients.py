"""The clients that take part, one class each. All bind to addresses of their own; nothing is found but by the tracker.

`CLIENTS[name](job)` starts a client for one job. A seed is ready when `ready` returns; a leech is complete by its own
word, when `done_at` says so. Standard library only.
"""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import xmlrpc.client

from process import Failed, Process

HERE = os.path.dirname(os.path.abspath(__file__))
# Where the programs are, set by `bench.py`: gaggle's path, and the folder of `cargo xtask rivals`.
PLACES = {}


class Job:
    """What one client is to do, and where."""

    def __init__(self, role, torrents, folder, ip, port, work, peers=(), cap=0, stay=False, held=False,
                 wrap=(), extra=()):
        self.role = role  # "seed", "leech" or "check"
        self.torrents, self.folder, self.ip, self.port, self.work = torrents, folder, ip, port, work
        self.peers, self.cap = list(peers), cap  # "IP:PORT" to dial at once; bytes per second to send, 0 is no cap
        self.stay = stay  # whether a leech goes on to serve others
        self.held = held  # whether a command-line client waits for `begin`
        self.wrap, self.extra = list(wrap), list(extra)  # a command that runs the client; more flags for it
        os.makedirs(work, exist_ok=True)
        os.makedirs(folder, exist_ok=True)

    @property
    def torrent(self):
        return self.torrents[0]

    @property
    def files(self):
        return [torrent.file for torrent in self.torrents]


class Gaggle(Process):
    def __init__(self, job):
        self.job = job
        argv = job.wrap + [PLACES["gaggle"]]
        if job.role == "check":
            argv += ["verify", job.torrent.file, job.folder]
        else:
            argv += ["seed", *job.files, "--data"] if job.role == "seed" else ["get", *job.files, "-o"]
            argv += [job.folder, "--listen", "%s:%d" % (job.ip, job.port)]
            argv += [part for peer in job.peers for part in ("--peer", peer)]
            argv += ["--up", str(job.cap)] if job.cap else []
            if job.role == "leech":
                argv += ["--seed", "forever" if job.stay else "never"]
        argv += ["--state-dir", os.path.join(job.work, "state"), "--json", *job.extra]
        alone = {"GAGGLE_NO_LSD": "1", "GAGGLE_NO_DHT": "1", "GAGGLE_DHT_BOOTSTRAP": "none"}
        super().__init__(argv, job.work, env=alone, held=job.held)
        self.seen, self.complete_at = 0, None

    def ready(self, timeout):
        wanted = len(self.job.torrents)

        def all_seeding(text):
            nonlocal wanted
            wanted -= '"type":"seeding"' in text
            return wanted == 0
        return self.line(all_seeding, timeout)

    def done_at(self):
        if self.job.role == "check":
            return super().done_at()
        with self.said:
            for at, text in self.lines[self.seen:]:
                self.seen += 1
                if '"type":"complete"' in text:
                    self.complete_at = at
        return self.complete_at

    def uploaded(self):
        with self.said:
            for _, text in reversed(self.lines):
                if '"uploaded":' in text:
                    return json.loads(text)["uploaded"]
        return 0

    @staticmethod
    def startup_s():
        """What it takes until the process is up: it says its version and ends."""
        began = time.monotonic()
        subprocess.run([PLACES["gaggle"], "--version"], stdout=subprocess.DEVNULL, check=True)
        return time.monotonic() - began


def chooses_congestion():
    """Whether this gaggle has `--congestion`; else it takes what its side of a link has."""
    return b"--congestion" in subprocess.run([PLACES["gaggle"], "get", "--help"], capture_output=True).stdout


class Libtorrent(Process):
    """Its Python bindings in a process of their own; the clock starts when that is up."""

    tuned = ""
    stop_wait_s = 15

    def __init__(self, job):
        self.job = job
        config = {
            "role": job.role, "torrents": job.files, "dir": job.folder, "ip": job.ip, "port": job.port,
            "peers": job.peers, "cap": job.cap, "tuned": self.tuned}
        python = os.path.join(PLACES["rivals"], "venv/bin/python")
        driver = os.path.join(HERE, "libtorrent_driver.py")
        argv = job.wrap + [python, driver, json.dumps(config)]
        super().__init__(argv, job.work, stdin=subprocess.PIPE)
        self.line(lambda text: '"up"' in text, 60)
        self.seen, self.complete_at = 0, None

    def begin(self):
        self.mark()
        began = time.monotonic()
        self._tell(b"go\n")
        return began

    def _tell(self, words):
        self.child.stdin.write(words)
        self.child.stdin.flush()

    def ready(self, timeout):
        return self.wait_done(timeout)

    def done_at(self):
        with self.said:
            for at, text in self.lines[self.seen:]:
                self.seen += 1
                if '"done"' in text:
                    self.complete_at = at
        return self.complete_at

    def uploaded(self):
        self._tell(b"sent\n")
        self.line(lambda text: '"uploaded"' in text, 5)
        return json.loads(self.lines[-1][1])["uploaded"]

    def stop(self):
        try:
            self._tell(b"quit\n")
            end = time.monotonic() + self.stop_wait_s
            while self.alive() and time.monotonic() < end:
                time.sleep(0.01)
        except OSError:
            pass  # it has ended already
        super().stop()


class TunedLibtorrent(Libtorrent):
    tuned = "fast"


class FarLibtorrent(Libtorrent):
    tuned = "far"


class Rqbit(Process):
    def __init__(self, job):
        self.job, self.tracker = job, PLACES["tracker"]
        argv = [os.path.join(PLACES["rivals"], "bin/rqbit"), "--disable-dht", "--disable-dht-persistence",
                "--disable-upnp-port-forward", "--disable-lsd", "--listen-port", str(job.port), "--listen-ip", job.ip,
                "--ipv4-only", "--peer-limit", "500", "-v", "info",
                "download", "-o", job.folder, "--overwrite", "--disable-http-api"]
        argv += ["-e"] if job.role != "seed" else []
        super().__init__(argv + job.files, job.work, held=job.held)

    def ready(self, timeout):
        if not self.tracker.seed_announced(self.job.ip, timeout):
            raise Failed("rqbit did not announce itself as a seed: " + self.tail())


class Rtorrent(Process):
    """The daemon first; the clock starts when it is told the torrent."""

    poll_s = 0.05

    def __init__(self, job):
        self.job = job
        self.home = tempfile.mkdtemp(prefix="rt-")  # a socket's path must be short
        self.socket = os.path.join(self.home, "s")
        config = os.path.join(job.work, "rtorrent.rc")
        session = os.path.join(job.work, "session")
        os.makedirs(session, exist_ok=True)
        with open(config, "w") as file:
            file.write(RTORRENT_RC.format(
                session=session, folder=job.folder, ip=job.ip, port=job.port, socket=self.socket))
        super().__init__(["rtorrent", "-n", "-o", "import=" + config], job.work)
        end = time.monotonic() + 20
        while True:
            try:
                self.call("system.client_version")
                break
            except (OSError, ValueError):
                if time.monotonic() > end or not self.alive():
                    raise Failed("rtorrent did not start: " + self.tail())
                time.sleep(0.05)

    def call(self, method, *arguments):
        body = xmlrpc.client.dumps(arguments, method).encode()
        head = b"CONTENT_LENGTH\0%d\0SCGI\x001\0" % len(body)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.socket)
            connection.sendall(b"%d:" % len(head) + head + b"," + body)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        if b"\r\n\r\n" not in answer:
            raise ValueError("no answer")
        return xmlrpc.client.loads(answer.split(b"\r\n\r\n", 1)[1])[0][0]

    def begin(self):
        self.mark()
        began = time.monotonic()
        for file in self.job.files:
            self.call("load.start", "", file)
        return began

    def ready(self, timeout):
        return self.wait_done(timeout)

    def done_at(self):
        try:
            torrents = self.call("d.multicall2", "", "main", "d.complete=", "d.hashing=")
        except (OSError, ValueError, xmlrpc.client.Fault):
            return None
        whole = all(complete and not hashing for complete, hashing in torrents)
        return time.monotonic() if whole and len(torrents) == len(self.job.torrents) else None

    def stop(self):
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)


RTORRENT_RC = """system.daemon.set = true
session.path.set = {session}
directory.default.set = {folder}
network.bind_address.set = {ip}
network.local_address.set = {ip}
network.port_range.set = {port}-{port}
network.port_random.set = no
trackers.use_udp.set = no
dht.mode.set = disable
protocol.pex.set = no
protocol.encryption.set = allow_incoming,prefer_plaintext
throttle.max_uploads.set = 100
throttle.max_uploads.global.set = 500
throttle.max_downloads.global.set = 500
throttle.global_up.max_rate.set_kb = 0
throttle.global_down.max_rate.set_kb = 0
throttle.min_peers.normal.set = 1
throttle.max_peers.normal.set = 200
pieces.hash.on_completion.set = no
pieces.memory.max.set = 2048M
pieces.preload.type.set = 0
network.max_open_files.set = 2000
network.max_open_sockets.set = 2000
network.xmlrpc.size_limit.set = 16M
network.scgi.open_local = {socket}
"""


class Transmission(Process):
    """The daemon first; the clock starts when it is told the torrent."""

    poll_s = 0.05

    def __init__(self, job):
        self.job, self.session, self.control = job, "", job.port + 20000
        with open(os.path.join(job.work, "settings.json"), "w") as file:
            json.dump({
                "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False,
                "port-forwarding-enabled": False, "encryption": 0, "peer-port": job.port,
                "bind-address-ipv4": job.ip, "bind-address-ipv6": "::1", "rpc-port": self.control,
                "rpc-bind-address": "127.0.0.1", "rpc-whitelist-enabled": False,
                "rpc-host-whitelist-enabled": False, "rpc-authentication-required": False,
                "ratio-limit-enabled": False, "download-queue-enabled": False, "seed-queue-enabled": False,
                "download-dir": job.folder, "incomplete-dir-enabled": False, "message-level": 1}, file)
        super().__init__(["transmission-daemon", "-f", "-g", job.work], job.work)
        end = time.monotonic() + 20
        while True:
            try:
                self.rpc("session-get")
                break
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end or not self.alive():
                    raise Failed("transmission-daemon did not start: " + self.tail())
                time.sleep(0.02)

    def rpc(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments})
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=20)
            connection.request("POST", "/transmission/rpc", body, {"X-Transmission-Session-Id": self.session})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            if response.status != 409:
                return json.loads(answer)["arguments"]
            self.session = response.getheader("X-Transmission-Session-Id")
        raise OSError("transmission gives no session")

    def begin(self):
        self.mark()
        began = time.monotonic()
        for file in self.job.files:
            added = self.rpc("torrent-add", filename=file, **{"download-dir": self.job.folder, "paused": False})
            if self.job.role == "seed":  # else it takes what lies there for nothing
                self.rpc("torrent-verify", ids=[added["torrent-added"]["id"]])
        return began

    def ready(self, timeout):
        return self.wait_done(timeout)

    def done_at(self):
        torrents = self.rpc("torrent-get", fields=["percentDone", "status"])["torrents"]
        seeding = (5, 6)
        whole = torrents and all(one["percentDone"] >= 1 and one["status"] in seeding for one in torrents)
        return time.monotonic() if whole else None


class Null(Process):
    """No client, just the wire (btnull.c): serves from memory; as a leech throws away, or hashes and writes."""

    mode = "discard"

    def __init__(self, job):
        self.job = job
        torrent = job.torrent
        content = torrent.content
        where, at = job.ip, job.port
        if job.role == "leech":
            where, _, at = job.peers[0].rpartition(":")
        argv = [PLACES["null"], job.role, where, str(at), torrent.info_hash.hex(),
                os.path.join(job.folder, content.name), str(content.size), str(torrent.piece)]
        if job.role == "leech":
            hashes = os.path.join(job.work, "hashes")
            with open(hashes, "wb") as file:
                file.write(torrent.pieces)
            argv += [hashes, self.mode]
        super().__init__(argv, job.work)

    def ready(self, timeout):
        return self.line(lambda text: text == "ready", timeout)


class FullNull(Null):
    mode = "full"


def build_null(folder):
    """Compiles btnull.c."""
    program = os.path.join(folder, "btnull")
    source = os.path.join(HERE, "btnull.c")
    libraries = ["-lcrypto", "-lpthread"]
    subprocess.run(["cc", "-O2", "-march=native", source, "-o", program, *libraries], check=True)
    return program


CLIENTS = {
    "gaggle": Gaggle, "lt": Libtorrent, "lt-tuned": TunedLibtorrent, "lt-far": FarLibtorrent, "rqbit": Rqbit,
    "rt": Rtorrent, "transmission": Transmission, "null": Null, "null-full": FullNull,
}


def many(who):
    """`gaggle*4+lt*2` as a list of names."""
    names = []
    for part in who.split("+"):
        name, count = re.fullmatch(r"([a-z-]+)(?:\*(\d+))?", part).groups()
        names += [name] * int(count or 1)
    return names
