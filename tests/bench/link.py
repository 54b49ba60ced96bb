"""Two network namespaces with a long link between them. Standard library only."""
import os
import subprocess
import sys

FIRST_IP, SECOND_IP, NET, DEVICE = "198.18.128.1", "198.18.128.2", "198.18.128.0/24", "tunem0"
SLOW_START_S = 5  # rates count from here on
HERE = os.path.dirname(os.path.abspath(__file__))


class Link:
    """A seed's side, a leech's side, and `tunem.py` between them for so many seconds.

    `number` chooses which packets are lost, counted over both directions. So the clients of one run meet the same losses as far
    as they send the same packets, and those of the next run others; with one pattern for all, the packets that a client begins
    with would decide at which of them its first burst ends, and with it the rate of all its runs.
    """

    def __init__(self, round_trip_ms, mbit, loss_percent, seconds, number):
        self.round_trip_ms, self.mbit, self.loss_percent = round_trip_ms, mbit, loss_percent
        self.seconds, self.number, self.children = seconds, number, []

    def __enter__(self):
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self):
        # A process that sleeps keeps a namespace; nothing is named outside of it.
        self.sides = []
        for _ in range(2):
            child = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo && exec sleep %d" % self.seconds],
                                     stdout=subprocess.PIPE)
            child.stdout.readline()
            self.children.append(child)
            self.sides.append(child.pid)
        argv = [sys.executable, os.path.join(HERE, "tunem.py"), "--sides", "%d,%d" % tuple(self.sides),
                "--addresses", "%s,%s" % (FIRST_IP, SECOND_IP), "--delay-ms", str(self.round_trip_ms / 2),
                "--loss", str(self.loss_percent / 100), "--rate-mbit", str(self.mbit), "--seconds", str(self.seconds),
                "--seed", str(self.number)]
        tunem = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self.children.append(tunem)
        if tunem.stdout.readline() != b"up\n":
            raise OSError("no link: tunem.py did not start")

    def inside(self, side):
        return ["nsenter", "-t", str(self.sides[side]), "-n"]

    def congestion(self, name):
        """Chooses the congestion control of both sides, for programs that cannot choose their own.

        By the route and not by sysctl: outside the first namespace that takes what is allowed to all users only.
        """
        for side, address in enumerate((FIRST_IP, SECOND_IP)):
            route = "ip route replace %s dev %s proto kernel scope link src %s congctl %s" % (NET, DEVICE, address, name)
            subprocess.run(self.inside(side) + route.split(), check=True)

    def received(self):
        """Bytes that have come out of the link at the second side, headers included."""
        with open("/proc/%d/net/dev" % self.sides[1]) as devices:
            for line in devices:
                name, _, counters = line.partition(":")
                if name.strip() == DEVICE:
                    return int(counters.split()[0])
        raise OSError("no %s" % DEVICE)

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
            child.wait()
            child.stdout.close()
