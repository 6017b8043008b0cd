"""Starts and stops the servers that are compared. Each one gets a port of its own on 127.0.0.1 and
a directory of its own, and runs pinned to one CPU."""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

START_SECONDS = 30


def thread_seconds(thread):
    """Time on a CPU of one thread; 0 for None and for a thread that has ended."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{thread}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9
    return 0


KEY_LENGTH = 16  # of the load's keys


def get_bytes():
    """Of a GET on the wire."""
    return len(f"*2\r\n$3\r\nGET\r\n${KEY_LENGTH}\r\n\r\n") + KEY_LENGTH


FLOORS = ("floor-epoll", "floor-uring")  # servers that only count bytes, see floor.cc


class Server:
    def __init__(self, name, command, port, directory, cpu):
        self.name = name
        self.port = port
        self.directory = directory
        self.cpu = cpu  # None: not pinned
        self.answers = name not in FLOORS  # to PING
        self.log_path = os.path.join(directory, "server.log")
        self.launch(command)
        try:
            self.wait_ready()
        except BaseException:  # an interrupt too: nobody else knows of this process yet
            self.stop()
            raise

    def launch(self, command):
        pinned = ["taskset", "-c", str(self.cpu)] if self.cpu is not None else []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(pinned + command, cwd=self.directory, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def seconds_to_load(self, command):
        """Ends the server, starts it again by `command` in the same directory, and waits until it
        answers from its data."""
        self.process.terminate()
        self.process.wait(60)
        started = time.monotonic()
        self.launch(command)
        while True:
            with contextlib.suppress(OSError):
                if self.ask("DBSIZE").isdigit():
                    return time.monotonic() - started
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at start: {self.log_tail()}")
            time.sleep(0.005)

    def wait_ready(self):
        """Returns when the server accepts connections and has loaded its data. taskset replaces itself by the server, so
        the process id is the server's."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at start: {self.log_tail()}")
            with contextlib.suppress(OSError):
                if not self.answers or self.ask("PING") == "PONG":
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} is not ready after {START_SECONDS} s")

    def log_tail(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()[-500:].strip()

    def status_bytes(self, field):
        """A field of /proc/PID/status that is given in kB, as VmRSS."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def ask(self, *words):
        """One command, whose reply is one line: that line without its first character."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        with socket.create_connection(("127.0.0.1", self.port)) as s, s.makefile("rb") as replies:
            s.sendall(request.encode())
            return replies.readline().decode().strip()[1:]

    def ask_text(self, *words):
        """As ask(), for a reply that is a bulk string."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        with socket.create_connection(("127.0.0.1", self.port)) as s, s.makefile("rb") as replies:
            s.sendall(request.encode())
            return replies.read(int(replies.readline()[1:])).decode()

    def private_bytes(self):
        """Memory of the server and its children, what they share counted once."""
        total = 0
        for directory in os.listdir("/proc"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                if directory.isdigit() and (
                        int(directory) == self.pid or
                        open(f"/proc/{directory}/stat").read().split()[3] == str(self.pid)):
                    with open(f"/proc/{directory}/smaps_rollup") as rollup:
                        total += sum(int(line.split()[1]) * 1024 for line in rollup
                                     if line.startswith("Pss:"))
        return total

    def cpu_seconds(self):
        """Time on a CPU of all its threads."""
        return sum(thread_seconds(thread) for thread in os.listdir(f"/proc/{self.pid}/task"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Launcher:
    """Knows how each server is started. `custom` holds further servers: name to command line with
    {port} and {dir} in it, and {aof}, which becomes yes or no."""

    def __init__(self, ignix, redis, floor, cpu, ignix_args="", custom=None, work_dir=None):
        self.ignix, self.redis, self.floor = ignix, redis, floor
        self.cpu = cpu
        self.ignix_args = shlex.split(ignix_args)
        self.custom = custom or {}
        self.work_dir = work_dir

    def command(self, name, port, directory, aof, fsync):
        aof_word = "yes" if aof else "no"
        common = ["--bind", "127.0.0.1", "--port", str(port), "--dir", directory,
                  "--appendonly", aof_word, "--appendfsync", fsync, "--save", "",
                  "--auto-aof-rewrite-percentage", "0"]
        if name == "redis":
            return [self.redis] + common
        if name in ("ignix", "ignix-epoll"):
            io = ["--io", "epoll"] if name == "ignix-epoll" else []
            return [self.ignix, "--threads", "1"] + common + io + self.ignix_args
        text = self.custom[name]
        return shlex.split(text.replace("{port}", str(port)).replace("{dir}", directory)
                           .replace("{aof}", aof_word))

    def start(self, name, aof=False, fsync="everysec", extra=(), pinned=True, environment=()):
        """`environment`: further variables, as NAME=VALUE."""
        port = free_port()
        directory = tempfile.mkdtemp(prefix=f"bench-{name}-", dir=self.work_dir)
        command = self.command(name, port, directory, aof, fsync) + list(extra)
        if environment:
            command = ["env", *environment] + command
        return Server(name, command, port, directory, self.cpu if pinned else None)

    def start_floor(self, name, request_bytes, reply):
        """name is floor-epoll or floor-uring."""
        port = free_port()
        directory = tempfile.mkdtemp(prefix=f"bench-{name}-", dir=self.work_dir)
        command = [self.floor, "--io", name.split("-")[1], "--port", str(port), "--request",
                   str(request_bytes), "--reply", str(reply)]
        return Server(name, command, port, directory, self.cpu)
