#!/usr/bin/env python3
"""Compares Ignix with other servers on this machine, one workload a row. See bench/README.md.

    bench/compare.py --rows get-p64,set-p64 --keys 1m --repeat 3
    bench/compare.py --rows growth,memory --servers redis,ignix
    bench/compare.py --list
"""

import argparse
import contextlib
import datetime
import fnmatch
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

sys.dont_write_bytecode = True  # bench/ holds sources only

import report
import special
from servers import FLOORS, KEY_LENGTH, Launcher, get_bytes, thread_seconds

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
RATIOS = (("redis", "ignix"), ("ignix", "floor-uring"), ("ignix-epoll", "floor-epoll"))
DISTURBED = 0.05  # CPUs that others use during a run from which the run is repeated


@dataclass
class Row:
    name: str
    what: str
    command: str
    pipeline: int = 1
    keys: int = 0  # 0: as --keys says
    value: int = 64
    aof: str = ""  # appendfsync's value, or "" for no AOF
    extra: list = field(default_factory=list)


def count(text):
    units = {"k": 1000, "m": 1000000, "g": 1000000000}
    unit = units.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def make_rows():
    rows = []
    for command in ("ping", "get", "set"):
        for p in (1, 16, 64):
            rows.append(Row(f"{command}-p{p}", f"{command.upper()}, pipeline {p}", command, p))
    for command in ("get", "set"):
        for p in (1, 16, 64):
            rows.append(Row(f"{command}-10m-p{p}", f"10 M keys: {command.upper()}, pipeline {p}",
                            command, p, keys=10000000))
    for text, value, keys, connections in (("1k", 1000, 200000, 50), ("32k", 32 << 10, 10000, 20),
                                           ("256k", 256 << 10, 2000, 20), ("2m", 2 << 20, 200, 20)):
        for command in ("get", "set"):
            what = f"{command.upper()}, values of {value:,} bytes, {connections} connections"
            rows.append(Row(f"{command}-v{text}-p1", what, command, 1, keys=keys, value=value,
                            extra=["--connections", str(connections)]))
    for fsync in ("everysec", "always"):
        for p in (1, 16, 64):
            rows.append(Row(f"set-aof-{fsync}-p{p}", f"SET, AOF {fsync}, pipeline {p}", "set", p,
                            aof=fsync))
    for p in (1, 16, 64):
        rows.append(Row(f"mixed-p{p}", f"90 % GET, 10 % SET, pipeline {p}", "mixed", p))
    rows += [
        Row("zipf-p64", "GET, Zipf 0.99, pipeline 64", "get", 64, extra=["--order", "zipf"]),
        Row("incr-p16", "INCR, pipeline 16", "incr", 16),
        Row("mget-p1", "MGET of 10 keys", "mget"),
        Row("mset-p1", "MSET of 10 keys", "mset"),
        Row("hset-p16", "HSET of one field, pipeline 16", "raw", 16,
            extra=["--template", "HSET h{key} field {value}"]),
        Row("idle-p1", "GET with 5,000 idle connections", "get", extra=["--idle", "5000"]),
        Row("rate-p1", "GET at 30,000 a second", "get", 16, extra=["--rate", "30000"]),
    ]
    return rows


DEFAULT_ROWS = "get-p1,set-p1,get-p16,set-p16,get-p64,set-p64"


def say(text):
    print(text, file=sys.stderr, flush=True)


def floor_shape(row):
    """Bytes of a request and the reply, for the floor; None where they are not always the same."""
    if row.extra and row.command == "raw":
        return None
    set_ = len(f"*3\r\n$3\r\nSET\r\n${KEY_LENGTH}\r\n\r\n${row.value}\r\n\r\n")
    set_ += KEY_LENGTH + row.value
    return {"get": (get_bytes(), str(row.value)), "set": (set_, "+OK\\r\\n"),
            "ping": (len("*1\r\n$4\r\nPING\r\n"), "+PONG\\r\\n")}.get(row.command)


def busy_seconds(cpu):
    """Time that the CPU was not idle since the machine started, with what the hypervisor took."""
    with open("/proc/stat") as stat:
        for line in stat:
            words = line.split()
            if words[0] == f"cpu{cpu}":
                user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
                ticks = user + nice + system + irq + softirq + steal
                return ticks / os.sysconf("SC_CLK_TCK")
    return 0


def softirq_thread(cpu):
    """Process id of the kernel thread that does the CPU's network work when there is too much of
    it; what it does is charged to no server. None where it cannot be seen."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and open(f"/proc/{name}/comm").read() == f"ksoftirqd/{cpu}\n":
                return int(name)
    return None


def child_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Bench:
    def __init__(self, options, launcher, load, names):
        self.o, self.launcher, self.load, self.names = options, launcher, load, names
        self.results = {}  # (row, server) to the list of its runs
        self.softirq = softirq_thread(options.server_cpu)

    def run_load(self, server, arguments):
        pinned = self.o.load_cpu >= 0 and server.cpu is not None
        command = ["taskset", "-c", str(self.o.load_cpu)] if pinned else []
        command += [self.load, "--port", str(server.port), "--pid", str(server.pid), "--json",
                    "--key-length", str(KEY_LENGTH)] + arguments
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.stdout.strip():
            raise RuntimeError(f"{server.name}: {done.stderr.strip()}; {server.log_tail()}")
        result = json.loads(done.stdout)
        if result["errors"] or result["unanswered"]:
            say(f"  {server.name}: {result['errors']} errors ({result['first_error']}), "
                f"{result['unanswered']} unanswered")
        return result

    say = staticmethod(say)
    sleep = staticmethod(time.sleep)

    def keys_of(self, row):
        return row.keys or self.o.keys

    def row_arguments(self, row):
        return ["--command", row.command, "--pipeline", str(row.pipeline), "--keys",
                str(self.keys_of(row)), "--value-length", str(row.value), "--connections",
                str(self.o.connections), "--warmup", str(self.o.warmup), "--seconds",
                str(self.o.seconds)] + row.extra

    def fill(self, server, keys, value, connections=8):
        return self.run_load(server, ["--fill", "--keys", str(keys), "--value-length", str(value),
                                      "--connections", str(connections)])

    # ---- rows of the main tables ----

    def run_rows(self, rows):
        """Rows that need the same data run on the same servers, filled once."""
        groups = {}
        for row in rows:
            groups.setdefault((self.keys_of(row), row.value, row.aof), []).append(row)
        for group, members in groups.items():
            if self.o.alone:
                for repeat in range(self.o.repeat):
                    for name in self.names:
                        self.run_group(group, members, [name], repeat, 1)
            else:
                self.run_group(group, members, self.names, 0, self.o.repeat)

    def run_group(self, group, rows, names, first_repeat, repeats):
        keys, value, aof = group
        with contextlib.ExitStack() as stack:
            def started(server):
                stack.callback(server.stop)
                return server
            servers = {}
            for name in names:
                if name in FLOORS:
                    continue
                say(f"start {name}, AOF {aof or 'off'}, fill {keys:,} keys with {value:,} bytes")
                servers[name] = started(self.launcher.start(name, bool(aof), aof or "everysec"))
                if any(row.command != "ping" for row in rows):
                    self.fill(servers[name], keys, value)
            floors = {}
            for row in rows:
                shape = floor_shape(row)
                for name in names:
                    if name in FLOORS and shape and not aof:
                        floors[row.name, name] = started(self.launcher.start_floor(name, *shape))
            for repeat in range(first_repeat, first_repeat + repeats):
                for row in rows:
                    # Another one is first each time, so that none always follows the same one.
                    turn = repeat % len(names)
                    for name in names[turn:] + names[:turn]:
                        server = servers.get(name) or floors.get((row.name, name))
                        if server:
                            self.measure(row, server, repeat)

    def measured_run(self, server, arguments):
        """One run, and how much of the two CPUs went to others meanwhile (in CPUs)."""
        cpus = ({self.o.server_cpu, self.o.load_cpu} if self.o.load_cpu >= 0
                else range(os.cpu_count()))
        def others():
            return sum(map(busy_seconds, cpus)) - server.cpu_seconds() - child_seconds()
        os.sync()  # else the disk may still be writing what the server before has left
        others_before, softirq_before = others(), thread_seconds(self.softirq)
        time_before = time.monotonic()
        result = self.run_load(server, arguments)
        seconds = time.monotonic() - time_before
        result["others"] = (others() - others_before) / seconds
        result["ksoftirqd"] = (thread_seconds(self.softirq) - softirq_before) / seconds
        return result

    def measure(self, row, server, repeat):
        arguments = self.row_arguments(row)
        result = self.measured_run(server, arguments)
        for _ in range(self.o.retries):
            if result["others"] <= DISTURBED:
                break
            say(f"{row.name:20} others took {result['others']:.2f} CPUs, ksoftirqd "
                f"{result['ksoftirqd']:.2f} of them: again")
            result = min(result, self.measured_run(server, arguments),
                         key=lambda run: run["others"])
        self.results.setdefault((row.name, server.name), []).append(result)
        say(f"{row.name:20} {repeat + 1}/{self.o.repeat} {server.name:12} "
            f"{result['server_cpu_ns_per_op']:10,.0f} ns CPU {result['ops_per_s']:12,.0f} /s "
            f"p99 {result['p99_us']:9,.0f} us, cores: server {result['server_cores']:.2f} "
            f"load {result['load_cores']:.2f}")

    def median(self, row, name, what):
        runs = self.results.get((row.name, name))
        return statistics.median(run[what] for run in runs) if runs else None

    def paired_ratio(self, row, one, other):
        """Median over the rounds, in each of which both ran within seconds of each other."""
        runs = [[run["server_cpu_ns_per_op"] for run in self.results.get((row.name, name), [])]
                for name in (one, other)]
        ratios = [a / b for a, b in zip(*runs) if b]
        return statistics.median(ratios) if ratios else None

    def metric_table(self, rows, what, ratios):
        header = ["workload"] + self.names
        pairs = [pair for pair in RATIOS if set(pair) <= set(self.names)] if ratios else []
        header += [f"{one} / {other}" for one, other in pairs]
        lines = []
        for row in rows:
            values = {name: self.median(row, name, what) for name in self.names}
            cells = []
            for name in self.names:
                busy = self.median(row, name, "server_cores")
                mark = "*" if busy is not None and busy < 0.9 and what == "ops_per_s" else ""
                cells.append(report.number(values[name]) + mark)
            cells += [report.number(self.paired_ratio(row, one, other)) for one, other in pairs]
            lines.append([f"{row.what} (`{row.name}`)"] + cells)
        return report.table(header, lines)

    def spread(self, rows):
        """The widest distance between a row's runs and their median, in per cent."""
        worst = 0
        for row in rows:
            for name in self.names:
                runs = [r["server_cpu_ns_per_op"] for r in self.results.get((row.name, name), [])]
                if runs and statistics.median(runs):
                    middle = statistics.median(runs)
                    worst = max(worst, max(abs(run - middle) / middle for run in runs))
        return 100 * worst

    def aof_table(self, rows):
        """Requests per second with AOF as a share of those without, for rows measured both ways."""
        names = [name for name in self.names if name not in FLOORS]
        lines = []
        for row in rows:
            plain = f"{row.command}-p{row.pipeline}"
            shares = [report.ratio(self.median(row, name, "ops_per_s"),
                                   self.median(Row(plain, "", ""), name, "ops_per_s"))
                      for name in names]
            if row.aof and any(shares):
                lines.append([row.what] + shares)
        if not lines:
            return ""
        return "## Requests per second with AOF, as a share of those without\n\n" + report.table(
            ["workload"] + names, lines)

    def disturbed(self, rows):
        runs = [run for row in rows for name in self.names
                for run in self.results.get((row.name, name), [])]
        return f"{sum(run['others'] > DISTURBED for run in runs)} of {len(runs)}"

    def rows_report(self, rows):
        parts = ["## Server CPU per request, ns\n",
                 self.metric_table(rows, "server_cpu_ns_per_op", True),
                 f"Medians of {self.o.repeat}. The run furthest from its median is "
                 f"{self.spread(rows):.0f} % from it. In {self.disturbed(rows)} runs others used "
                 f"more than {100 * DISTURBED:.0f} % of a CPU.\n",
                 "## Requests per second\n", self.metric_table(rows, "ops_per_s", False),
                 "`*`: the server's CPU was busy for less than 90 % of the time, so this is not "
                 "the most that it can do.\n",
                 "## p99 latency, µs\n", self.metric_table(rows, "p99_us", False),
                 self.aof_table(rows)]
        return "\n".join(part for part in parts if part)


def version_of(path, flag):
    try:
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=5)
        return (done.stdout or done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return path


def cpu_model():
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def headline(o, names):
    lines = [f"# Comparison of {datetime.date.today().isoformat()}\n",
             f"- {cpu_model()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
             f"- servers on CPU {o.server_cpu}, load on CPU {o.load_cpu}, {o.connections} "
             f"connections over TCP on 127.0.0.1, keys of {KEY_LENGTH} bytes, {o.keys:,} keys "
             f"where a row says nothing else, {o.seconds} s a run, "
             f"{'servers alone' if o.alone else 'servers side by side, one loaded at a time'}"]
    if "redis" in names:
        lines.append(f"- redis: {version_of(o.redis, '--version')}")
    if "ignix" in names:
        lines.append(f"- ignix: {version_of(o.ignix, '--version')}")
    return "\n".join(lines) + "\n"


def find_tool(name, given, directory):
    """A bench program as the Makefile builds it, or else built here."""
    path = given or os.path.join(ROOT, "build", "release", "bench-" + name)
    if given or os.access(path, os.X_OK):
        return path
    path = os.path.join(directory, name)
    say(f"build {name}")
    subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-o", path,
                    os.path.join(HERE, name + ".cc")], check=True)
    return path


def parse_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--rows", default=DEFAULT_ROWS,
                   help="names or patterns, separated by commas, or all")
    p.add_argument("--list", action="store_true", help="list the rows and end")
    p.add_argument("--servers", default="floor-epoll,floor-uring,redis,ignix")
    p.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND",
                   help="a further server; {port}, {dir} and {aof} are replaced in its command")
    p.add_argument("--keys", type=count, default=1000000)
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--warmup", type=float, default=0.3)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--retries", type=int, default=3,
                   help="of a run during which others used the CPUs")
    p.add_argument("--alone", action="store_true",
                   help="one server at a time, started and filled anew for every repeat")
    p.add_argument("--memory-keys", default="100k,1m,10m")
    p.add_argument("--shrink-keys", type=count, default=2000000)
    p.add_argument("--load-keys", type=count, default=3000000)
    p.add_argument("--rewrite-keys", type=count, default=5000000)
    p.add_argument("--growth-keys", type=count, default=10000000)
    p.add_argument("--growth-rate", type=int, default=0, help="requests a second; 0: no limit")
    p.add_argument("--server-cpu", type=int, default=0)
    p.add_argument("--load-cpu", type=int, default=1, help="-1: not pinned")
    p.add_argument("--ignix", default=os.path.join(ROOT, "ignix"))
    p.add_argument("--ignix-args", default="", help="further options for ignix")
    p.add_argument("--redis", default=shutil.which("redis-server") or "redis-server")
    p.add_argument("--load", default="", help="the load generator, if not as built by make bench")
    p.add_argument("--floor", default="")
    p.add_argument("--work-dir", default=None, help="for AOF files; a disk, if fsync is to count")
    p.add_argument("--results", default="/tmp/ignix-bench", help="directory to write to")
    o = p.parse_args()
    o.memory_keys = [count(text) for text in o.memory_keys.split(",")]
    return o


def choose_rows(pattern_list):
    rows, others = [], []
    for pattern in pattern_list.split(","):
        pattern = "*" if pattern == "all" else pattern
        found = [row for row in make_rows() if fnmatch.fnmatch(row.name, pattern)]
        extra = [name for name in special.ROWS if fnmatch.fnmatch(name, pattern)]
        if not found and not extra:
            sys.exit(f"no such row: {pattern} (see --list)")
        rows += [row for row in found if row not in rows]
        others += [name for name in extra if name not in others]
    return rows, others


def choose_servers(o):
    custom = dict(text.split("=", 1) for text in o.server)
    names = []
    for name in o.servers.split(",") + list(custom):
        if name == "ignix" and not os.access(o.ignix, os.X_OK):
            say(f"left out: ignix, there is no {o.ignix}")
        elif name not in FLOORS + ("redis", "ignix", "ignix-epoll") and name not in custom:
            sys.exit(f"no such server: {name}")
        else:
            names.append(name)
    return names, custom


def write_results(o, text, bench, rows):
    os.makedirs(o.results, exist_ok=True)
    def write(name, content):
        with open(os.path.join(o.results, name), "w") as f:
            f.write(content)
    write("compare.md", text)
    plain = {key if isinstance(key, str) else "/".join(key): value
             for key, value in bench.results.items()}
    write("compare.json", json.dumps(plain, indent=1) + "\n")
    if rows:
        groups = [(row.what, [(name, bench.median(row, name, "server_cpu_ns_per_op"))
                              for name in bench.names if (row.name, name) in bench.results])
                  for row in rows]
        write("compare.svg", report.bar_chart("Server CPU per request, ns", groups,
                                              "Each group of bars has its own scale."))


def main():
    o = parse_options()
    if o.list:
        for row in make_rows():
            print(f"{row.name:24} {row.what}")
        for name, (what, _) in special.ROWS.items():
            print(f"{name:24} {what}")
        return
    # Ends like an interrupt, so that the servers are stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows, others = choose_rows(o.rows)
    names, custom = choose_servers(o)
    with tempfile.TemporaryDirectory() as directory:
        load = find_tool("load", o.load, directory)
        floor = find_tool("floor", o.floor, directory)
        launcher = Launcher(o.ignix, o.redis, floor, o.server_cpu, o.ignix_args, custom,
                            o.work_dir)
        bench = Bench(o, launcher, load, names)
        parts = [headline(o, names)]
        if rows:
            bench.run_rows(rows)
            parts.append(bench.rows_report(rows))
        parts += [special.ROWS[name][1](bench) for name in others]
    text = "\n".join(parts)
    print(text)
    write_results(o, text, bench, rows)
    say(f"written to {o.results}")


if __name__ == "__main__":
    main()
