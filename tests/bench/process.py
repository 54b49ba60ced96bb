"""One running program: what it says, what it uses, when it ends. Standard library only."""
import os
import signal
import subprocess
import threading
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A measurement that cannot be used, and why."""


class Process:
    """Started at once. `begin` starts the clock, `done_at` says when its work was complete.

    The kinds of clients say what that means: see `clients.py`.
    """

    stop_signal = signal.SIGTERM
    stop_wait_s = 8
    poll_s = 0.01

    def __init__(self, argv, work, env=None, stdin=None, held=False):
        self.name, self.work, self.held = os.path.basename(argv[0]), work, held
        if held:  # until `begin`: many that start together must not start one after the other
            argv, stdin = ["sh", "-c", 'read _; exec "$@"', "sh", *argv], subprocess.PIPE
        self.log = os.path.join(work, "log")
        # The user's own configuration has no part in this, nor have the settings of a gaggle beside it.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GAGGLE_")}
        homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        clean.update({home: work for home in homes}, TERM="dumb", **(env or {}))
        self.lines, self.said = [], threading.Condition()
        self.code = self.ended_at = self.rusage = None
        self.peak_kib = self.anon_kib = 0
        self.base_cpu = 0.0
        self.started_at = time.monotonic()
        with open(os.path.join(work, "errors"), "wb") as errors:
            self.child = subprocess.Popen(
                argv, env=clean, cwd=work, stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        self.pid = self.child.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with open(self.log, "wb") as log:
            for line in self.child.stdout:
                with self.said:
                    self.lines.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))
                    self.said.notify_all()
                log.write(line)

    # What it says.

    def line(self, pick, timeout):
        """When it first said a line that `pick` likes; fails when it ends or time is up."""
        end, seen = time.monotonic() + timeout, 0
        while True:
            alive = self.alive()
            if not alive:
                self.reader.join(1)  # its last words count
            with self.said:
                for at, text in self.lines[seen:]:
                    if pick(text):
                        return at
                seen = len(self.lines)
                if not alive:
                    raise Failed("%s ended with %s: %s" % (self.name, self.code, self.tail()))
                if time.monotonic() > end:
                    raise Failed("%s: the line never came: %s" % (self.name, self.tail()))
                self.said.wait(0.02)

    def tail(self):
        with open(os.path.join(self.work, "errors"), "rb") as errors:
            words = errors.read()[-300:].decode("utf-8", "replace")
        return " | ".join([text for _, text in self.lines[-2:]] + words.split("\n")[-3:])

    # Whether it runs, and what it uses.

    def alive(self):
        if self.code is None:
            pid, status, rusage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.ended_at, self.rusage = time.monotonic(), rusage
                self.code = self.child.returncode = os.waitstatus_to_exitcode(status)
        return self.code is None

    def sample(self):
        """Looks at its memory. VmHWM, not ru_maxrss: that begins with the harness's own before exec."""
        memory = self.memory()
        self.peak_kib = max(self.peak_kib, memory.get("VmHWM", 0))
        self.anon_kib = max(self.anon_kib, memory.get("RssAnon", 0))

    def memory(self):
        """KiB by name, as in /proc/PID/status; empty once it is gone."""
        try:
            with open("/proc/%d/status" % self.pid) as status:
                pairs = (line.split(":", 1) for line in status)
                return {key: int(value.split()[0]) for key, value in pairs if "kB" in value}
        except (OSError, ValueError):
            return {}

    def cpu_s(self):
        """CPU seconds since `mark`, user and system."""
        return self._cpu_s() - self.base_cpu

    def _cpu_s(self):
        if self.rusage:
            return self.rusage.ru_utime + self.rusage.ru_stime
        try:
            with open("/proc/%d/stat" % self.pid) as stat:
                fields = stat.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        except OSError:
            return self._cpu_s() if not self.alive() else self.base_cpu

    def mark(self):
        self.base_cpu = self._cpu_s()

    # Its work.

    def begin(self):
        """Starts the clock: command-line clients work from their start."""
        if self.held:
            self.mark()
            self.started_at = time.monotonic()
            self.child.stdin.close()
        return self.started_at

    def done_at(self):
        """When its work was complete, or `None`: by itself, when it ended well."""
        return None if self.alive() or self.code != 0 else self.ended_at

    def wait_done(self, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            alive, at = self.alive(), self.done_at()
            if at:
                return at
            if not alive:
                raise Failed("%s ended with %s: %s" % (self.name, self.code, self.tail()))
            time.sleep(self.poll_s)
        raise Failed("%s: not done in %d s: %s" % (self.name, timeout, self.tail()))

    def stop(self):
        if self.alive():
            os.kill(self.pid, self.stop_signal)
            end = time.monotonic() + self.stop_wait_s
            while self.alive() and time.monotonic() < end:
                time.sleep(0.01)
            if self.alive():
                os.killpg(self.pid, signal.SIGKILL)
                while self.alive():
                    time.sleep(0.01)
        self.reader.join(2)
