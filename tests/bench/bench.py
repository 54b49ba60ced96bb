#!/usr/bin/env python3
"""Measures BitTorrent clients beside each other. See README.md.

Each MEASUREMENT is `NAME: VERB ARGUMENTS`; all of them are run once a round, in turn forwards and backwards, so that
what drifts hits all alike. Every run prints one JSON object.
"""
import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import clients
import link
from clients import CLIENTS, Job, many
from content import Content, Torrent, fill
from process import TICKS_PER_S, Failed, Process
from tracker import Tracker

TRACKER_IP, SEED_IP, LEECH_IP = "198.18.0.1", "198.18.1.1", "198.18.2.%d"
SETTLE_S = 0.5  # after the seed is ready: its own start-up is over
SAMPLE_S = 0.05  # between two looks at memory
TIMEOUT_S = 300
UNITS = {"K": 10, "M": 20, "G": 30}


def size(text):
    return int(text[:-1]) << UNITS[text[-1]] if text[-1] in UNITS else int(text)


def machine_s():
    """CPU seconds that the whole machine has used."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def own_s():
    times = os.times()
    return times.user + times.system


class Watch:
    """The time that a measurement takes, with memory looked at now and then and the machine's noise.

    `foreign` is CPU seconds a second that neither the clients nor the harness used: above about 0.15 a run was disturbed.
    """

    def __init__(self, processes):
        self.processes, self.over = processes, threading.Event()
        self.machine, self.own = machine_s(), own_s()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()

    def _sample(self):
        while not self.over.wait(SAMPLE_S):
            for process in self.processes:
                process.sample()

    def end(self, wall):
        self.over.set()
        self.sampler.join()
        for process in self.processes:
            process.sample()
        used = machine_s() - self.machine
        known = own_s() - self.own + sum(process.cpu_s() for process in self.processes)
        return max(0.0, used - known) / wall


class Bench:
    def __init__(self, options):
        self.options, self.runs, self.port = options, 0, 21000
        self.tracker = Tracker(TRACKER_IP, 6969)
        clients.PLACES.update(
            gaggle=os.path.abspath(options.gaggle), rivals=os.path.abspath(options.rivals),
            tracker=self.tracker)
        if any("null" in measurement for measurement in options.measurements):
            clients.PLACES["null"] = clients.build_null(options.work)

    def base(self, disk):
        base = self.options.disk if disk else os.path.join(self.options.work, "content")
        os.makedirs(base, exist_ok=True)
        return base

    def content(self, a):
        return Content(self.base(getattr(a, "disk", False)), size(a.size), getattr(a, "files", 1))

    def torrent(self, a):
        return Torrent(self.content(a), size(a.piece), self.tracker.url)

    def start(self, name, role, torrents, folder, ip, **more):
        self.runs += 1
        self.port += 1
        self.tracker.homes[self.port] = ip
        work = os.path.join(self.options.work, "run-%d" % self.runs)
        return CLIENTS[name](Job(role, torrents, folder, ip, self.port, work, **more))

    def clean(self, processes, out=None):
        for process in processes:
            process.stop()
            shutil.rmtree(process.work, ignore_errors=True)
        if out:
            shutil.rmtree(out, ignore_errors=True)
        self.tracker.reset()

    # ---- one seed and its leeches

    def transfer(self, a):
        torrent, out = self.torrent(a), os.path.join(self.base(a.disk), "out")
        names, running = many(a.leeches), []
        cap = size(a.cap)
        if a.disk:
            # Nobody comes first: memory that lay idle is slow, as a virtual machine gives it back to its host, and so
            # is content that nobody has read for a while. What an earlier run has written must not be written now.
            self.touch_memory(self.base(True), torrent.content.size)
            for _ in torrent.content.chunks(torrent.content.root):
                pass
            os.sync()
        try:
            seed = self.start(a.seed, "seed", [torrent], torrent.content.dir, SEED_IP, cap=cap)
            running.append(seed)
            seed.begin()
            seed.ready(TIMEOUT_S)
            address = "%s:%d" % (SEED_IP, seed.job.port)
            self.tracker.put(torrent.info_hash, SEED_IP, seed.job.port)
            time.sleep(SETTLE_S)
            # One whole start of the program: what a leech of it has no part in.
            startup = clients.Gaggle.startup_s() if names == ["gaggle"] else None
            seed.mark()
            # Daemons are up before the clock starts; command-line clients start with it.
            leeches = []
            watch = Watch(running)
            for number, name in enumerate(names):
                peers = [address] if name.startswith("null") else []
                leech = self.start(name, "leech", [torrent], os.path.join(out, str(number)), LEECH_IP % (number + 1),
                                   peers=peers, cap=cap, stay=len(names) > 1, held=len(names) > 1)
                leeches.append(leech)
                running.append(leech)
            begins = [leech.begin() for leech in leeches]
            began = min(begins)
            ends = self.wait_all(leeches, seed)
            wall = max(ends) - began
            record = {"foreign": watch.end(time.monotonic() - began)}
            record.update(self.figures(torrent, seed, leeches, names, began, ends))
            if startup:
                record["since_up_ms"] = (wall - startup) * 1000
            if cap or len(names) > 1:
                time.sleep(SETTLE_S)  # one more progress line of everybody
                if hasattr(seed, "uploaded"):
                    record["copies"] = seed.uploaded() / torrent.content.size
            for leech, name in zip(leeches, names):
                if name != "null" and not torrent.content.proves(leech.job.folder):
                    raise Failed("%s: the copy differs" % name)
            return record
        finally:
            self.clean(running, out)

    def wait_all(self, leeches, seed):
        ends = [None] * len(leeches)
        give_up = time.monotonic() + TIMEOUT_S
        while None in ends:
            for at, leech in enumerate(leeches):
                if ends[at] is None:
                    alive, ends[at] = leech.alive(), leech.done_at()
                    if ends[at]:
                        leech.sample()
                        leech.cpu_at_end = leech.cpu_s()
                    elif not alive:
                        raise Failed("%s ended with %s: %s" % (leech.name, leech.code, leech.tail()))
            if not seed.alive():
                raise Failed("the seed ended with %s: %s" % (seed.code, seed.tail()))
            if time.monotonic() > give_up:
                raise Failed("not complete in %d s" % TIMEOUT_S)
            if None in ends:
                time.sleep(min(leech.poll_s for leech in leeches))
        return ends

    def figures(self, torrent, seed, leeches, names, began, ends):
        wall, moved = max(ends) - began, torrent.content.size * len(leeches)
        cpu = seed.cpu_s() + sum(leech.cpu_at_end for leech in leeches)
        figures = {
            "wall_s": wall, "mb_s": moved / wall / 1e6, "cpu_s_gib": cpu / (moved / 2 ** 30),
            "seed_mib": seed.peak_kib / 1024, "leech_mib": max(leech.peak_kib for leech in leeches) / 1024}
        for name in set(names) if len(names) > 1 else ():
            mine = sorted(end - began for end, who in zip(ends, names) if who == name)
            figures["median_s " + name] = (mine[(len(mine) - 1) // 2] + mine[len(mine) // 2]) / 2
        return figures

    # ---- content that is there already

    def check(self, a):
        torrent, running = self.torrent(a), []
        try:
            process = self.start(a.client, "check", [torrent], torrent.content.dir, SEED_IP)
            running.append(process)
            watch = Watch(running)
            began = process.begin()
            wall = process.wait_done(TIMEOUT_S) - began
            foreign = watch.end(wall)
            return {"wall_s": wall, "mb_s": torrent.content.size / wall / 1e6, "foreign": foreign}
        finally:
            self.clean(running)

    def create(self, a):
        content = self.content(a)
        made = os.path.join(self.options.work, "made.torrent")
        piece = size(a.piece)
        argv = {
            "gaggle": [clients.PLACES["gaggle"], "create", content.root, "-o", made, "--piece-length", str(piece)],
            "mktorrent": ["mktorrent", "-l", str(piece.bit_length() - 1), "-a", "http://localhost/", "-o", made, content.root],
            "transmission": ["transmission-create", "-s", str(piece >> 10), "-o", made, content.root],
        }[a.tool]
        self.runs += 1
        work = os.path.join(self.options.work, "run-%d" % self.runs)
        os.makedirs(work)
        if os.path.exists(made):
            os.unlink(made)
        process = Process(argv, work)
        try:
            watch = Watch([process])
            wall = process.wait_done(TIMEOUT_S) - process.begin()
            foreign = watch.end(wall)
            with open(made, "rb") as file:
                if Torrent(content, piece).pieces not in file.read():
                    raise Failed("%s: other hashes" % a.tool)
            return {"wall_s": wall, "mb_s": content.size / wall / 1e6, "foreign": foreign}
        finally:
            self.clean([process])

    # ---- many torrents that nobody wants

    def idle(self, a):
        base = os.path.join(self.base(False), "idle")
        torrents = []
        for number in range(a.torrents):
            content = Content(base, (64 << 10) + number)
            torrents.append(Torrent(content, 16 << 10, self.tracker.url))
            together = os.path.join(base, "together", content.name)
            if not os.path.exists(together):
                os.makedirs(os.path.dirname(together), exist_ok=True)
                os.link(content.root, together)
        process = self.start(a.client, "seed", torrents, os.path.join(base, "together"), SEED_IP)
        try:
            process.begin()
            process.ready(TIMEOUT_S)
            end = time.monotonic() + 60
            while self.tracker.torrents_announced() < a.torrents:
                if time.monotonic() > end:
                    raise Failed("only %d torrents were announced" % self.tracker.torrents_announced())
                time.sleep(0.1)
            time.sleep(3)
            cpu, began = ran_s(process.pid), time.monotonic()
            time.sleep(a.seconds)
            share = (ran_s(process.pid) - cpu) / (time.monotonic() - began)
            memory = process.memory()
            return {"anon_mb": memory["RssAnon"] * 1024 / 1e6, "peak_mib": memory["VmHWM"] / 1024,
                    "core_percent": share * 100, "descriptors": len(os.listdir("/proc/%d/fd" % process.pid))}
        finally:
            self.clean([process])

    # ---- a long link

    def link(self, a):
        # From one minute of the rate: nobody is to be done within the measurement.
        content = Content(self.base(False), size(a.size))
        out = os.path.join(self.base(False), "out")
        running = []
        with link.Link(a.round_trip_ms, a.mbit, a.loss_percent, a.seconds + 60, a.run) as wire:
            try:
                own = ["--congestion", a.congestion] if a.client == "gaggle" and clients.chooses_congestion() else []
                if not own:
                    wire.congestion(a.congestion)
                if a.client == "iperf3":
                    server = ["iperf3", "-s", "-1"]
                    client = ["iperf3", "-c", link.SECOND_IP, "-t", str(a.seconds + 2), "-C", a.congestion]
                    for side, argv in ((1, server), (0, client)):
                        self.runs += 1
                        work = os.path.join(self.options.work, "run-%d" % self.runs)
                        os.makedirs(work)
                        running.append(Process(wire.inside(side) + argv, work))
                        time.sleep(0.3)
                else:
                    torrent = Torrent(content, size(a.piece))
                    seed = self.start(a.client, "seed", [torrent], content.dir, link.FIRST_IP, wrap=wire.inside(0), extra=own)
                    running.append(seed)
                    seed.begin()
                    seed.ready(TIMEOUT_S)
                    time.sleep(SETTLE_S)
                    peer = "%s:%d" % (link.FIRST_IP, seed.job.port)
                    leech = self.start(a.client, "leech", [torrent], out, link.SECOND_IP, peers=[peer],
                                       wrap=wire.inside(1), extra=own)
                    running.append(leech)
                    leech.begin()
                time.sleep(link.SLOW_START_S)
                before, began = wire.received(), time.monotonic()
                time.sleep(a.seconds - link.SLOW_START_S)
                rate = (wire.received() - before) * 8 / (time.monotonic() - began)
                for process in running:
                    if not process.alive():
                        raise Failed("%s ended with %s: %s" % (process.name, process.code, process.tail()))
                return {"mbit_s": rate / 1e6}
            finally:
                self.clean(running, out)

    def warm_up(self, measurements):
        """Memory that was never used is slow the first time, and would punish whoever comes first."""
        largest = max((size(a.size) * getattr(a, "files", 1) for _, a in measurements if hasattr(a, "size")), default=0)
        self.touch_memory(self.options.work, largest)

    @staticmethod
    def touch_memory(folder, length):
        path = os.path.join(folder, "warm")
        os.makedirs(folder, exist_ok=True)
        fill(path, length)
        os.unlink(path)


def ran_s(pid):
    """CPU seconds of a process, those of threads that have ended included."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def verbs():
    parser = argparse.ArgumentParser(prog="MEASUREMENT")
    sub = parser.add_subparsers(dest="verb", required=True)
    one = sub.add_parser("transfer", help="a seed to its leeches, like gaggle*4+lt*4")
    one.add_argument("seed")
    one.add_argument("leeches")
    one.add_argument("--files", type=int, default=1, help="so many, each of --size")
    one.add_argument("--disk", action="store_true", help="on a disk instead of in memory")
    one.add_argument("--cap", default="0", help="bytes a second that each may send")
    two = sub.add_parser("check", help="hash what is there")
    two.add_argument("client")
    three = sub.add_parser("create", help="make a torrent")
    three.add_argument("tool")
    four = sub.add_parser("idle", help="seed torrents that nobody wants")
    four.add_argument("client")
    four.add_argument("--torrents", type=int, default=1000)
    four.add_argument("--seconds", type=float, default=20)
    five = sub.add_parser("link", help="a seed to a leech over a long link, or iperf3")
    five.add_argument("client")
    five.add_argument("--round-trip-ms", type=float, required=True)
    five.add_argument("--mbit", type=float, required=True)
    five.add_argument("--loss-percent", type=float, default=0)
    five.add_argument("--congestion", default="cubic")
    five.add_argument("--seconds", type=int, default=60)
    for verb in (one, two, three, five):
        verb.add_argument("--size", default="1G")
        verb.add_argument("--piece", default="1M")
    return parser


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaggle", required=True, help="the program to measure")
    parser.add_argument("--rivals", required=True, help="the folder of `cargo xtask rivals`")
    parser.add_argument("--work", required=True, help="a folder in memory")
    parser.add_argument("--disk", required=True, help="a folder on a disk")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("measurements", nargs="+", metavar="MEASUREMENT")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started
    measurements = []
    for text in options.measurements:
        name, _, words = text.partition(":")
        measurements.append((name, verbs().parse_args(shlex.split(words))))
    bench = Bench(options)
    bench.warm_up(measurements)
    for number in range(options.runs):
        for name, a in measurements if number % 2 == 0 else measurements[::-1]:
            a.run = number + 1
            record = {"name": name, "run": a.run}
            try:
                record.update(getattr(bench, a.verb)(a))
            except (Failed, OSError, subprocess.CalledProcessError) as error:
                record["error"] = str(error) or type(error).__name__
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    sys.exit(main())
