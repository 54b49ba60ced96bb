#!/usr/bin/env python3
"""A link with delay, loss and rate between two network namespaces, in user space: not every kernel has netem.

    tunem.py --sides PID,PID --delay-ms 50 --loss 0.001 --rate-mbit 400 [--queue-ms 200] [--seconds 60]

Each side is named by a process in it. Delay is one way (50 gives a round trip of 100 ms), loss a fraction per packet and
direction, the queue a drop-tail FIFO. Long fat links need larger buffers than the default: it raises tcp_wmem and
tcp_rmem to 64 MiB on both sides.
"""
import argparse
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import time

TUNSETIFF, IFF_TUN_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1001, 0x40000000
DEVICE, MTU, BATCH = "tunem0", 1500, 64
BUFFER_BYTES = 64 << 20

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sides", required=True)
parser.add_argument("--addresses", default="198.18.128.1,198.18.128.2")
parser.add_argument("--delay-ms", type=float, default=0)
parser.add_argument("--loss", type=float, default=0)
parser.add_argument("--rate-mbit", type=float, default=0)
parser.add_argument("--queue-ms", type=float, default=200)
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--seed", type=int, default=1)
a = parser.parse_args()
libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    space = os.open(path, os.O_RDONLY)
    if libc.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns " + path)
    os.close(space)


def tun(side, address):
    enter("/proc/%s/ns/net" % side)
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN_NO_PI))
    for words in ("addr add %s/24 dev %s" % (address, DEVICE),
                  "link set %s up mtu %d txqueuelen 10000" % (DEVICE, MTU), "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    for kind in ("wmem", "rmem"):
        sizes = "net.ipv4.tcp_%s=4096 131072 %d" % (kind, BUFFER_BYTES)
        subprocess.run(["sysctl", "-qw", sizes], check=True)
    return file


one, two = map(tun, a.sides.split(","), a.addresses.split(","))
other, free = {one: two, two: one}, {one: 0.0, two: 0.0}
delay, rate, roof = a.delay_ms / 1000, a.rate_mbit * 1e6 / 8, a.queue_ms / 1000
roll = random.Random(a.seed).random
due, number, end = [], 0, time.monotonic() + a.seconds
print("up", flush=True)
while (now := time.monotonic()) < end:
    while due and due[0][0] <= now:
        _, _, file, packet = heapq.heappop(due)
        try:
            os.write(file, packet)
        except BlockingIOError:
            pass
    wait = max(0.0, min(0.2, due[0][0] - time.monotonic())) if due else 0.2
    ready, _, _ = select.select([one, two], [], [], wait)
    for file in ready:
        for _ in range(BATCH):
            try:
                packet = os.read(file, MTU + 500)
            except BlockingIOError:
                break
            if roll() < a.loss:
                continue
            at = time.monotonic()
            if rate:
                if free[file] - at > roof:
                    continue
                at = free[file] = max(free[file], at) + len(packet) / rate
            number += 1
            heapq.heappush(due, (at + delay, number, other[file], packet))
