"""Rows of compare.py that are not the load of one workload on filled servers: memory, growth,
shrinking, threads. Each takes a Bench, and returns its part of the report."""

import concurrent.futures
import ctypes
import mmap
import os
import platform
import statistics
import tempfile
import time

import report
from servers import FLOORS, KEY_LENGTH, get_bytes

VALUE_LENGTH = 64
GROWTH_PARTS = 20  # PING and SET in turn


def real_servers(bench):
    return [name for name in bench.names if name not in FLOORS]


# ---- memory ----


def run_memory(bench):
    names = real_servers(bench)
    bench.results["memory"] = found = {}
    for keys in bench.o.memory_keys:
        for name in names:
            found.setdefault(name, {})[keys] = memory_of(bench, name, keys)
    header = ["server", "empty, KB"]
    header += [f"{keys:,} keys, MB" for keys in bench.o.memory_keys]
    header += [f"beyond, {keys:,} keys" for keys in bench.o.memory_keys]
    lines = []
    for name in names:
        runs = [found[name][keys] for keys in bench.o.memory_keys]
        empty = statistics.median(run["empty_rss"] for run in runs)
        lines.append([name, report.number(empty / 1024)] +
                     [report.number(run["rss"] / 1e6) for run in runs] +
                     [report.number(run["beyond"]) for run in runs])
    return ("## Memory (VmRSS), keys of 16 bytes and values of 64\n\n" +
            report.table(header, lines) +
            "\n\"Beyond\": bytes for each key beyond its own and its value's.\n")


def memory_of(bench, name, keys):
    server = bench.launcher.start(name)
    try:
        empty = server.status_bytes("VmRSS")
        bench.fill(server, keys, VALUE_LENGTH, connections=2)
        rss = server.status_bytes("VmRSS")
        beyond = (rss - empty) / keys - KEY_LENGTH - VALUE_LENGTH
        bench.say(f"memory {name:12} {keys:12,} keys: empty {empty / 1e6:.1f} MB, "
                  f"full {rss / 1e6:.1f} MB, {beyond:.1f} bytes a key beyond key and value")
        return {"empty_rss": empty, "rss": rss, "peak_rss": server.status_bytes("VmHWM"),
                "beyond": beyond}
    finally:
        server.stop()


# ---- shrinking ----


def run_shrink(bench):
    """Deletes most keys at random, and compares with a server that never had more than are left."""
    keys = bench.o.shrink_keys
    lines = []
    for name in real_servers(bench):
        server = bench.launcher.start(name)
        try:
            bench.fill(server, keys, VALUE_LENGTH)
            full = server.status_bytes("VmRSS")
            # So many random DELs, repeats among them, leave a tenth.
            bench.run_load(server, ["--command", "raw", "--template", "DEL {key}", "--prefix",
                                    "key:", "--keys", str(keys), "--requests",
                                    str(int(keys * 2.3026)), "--pipeline", "16"])
            left = int(server.ask("DBSIZE"))
            bench.sleep(2)
            after = server.status_bytes("VmRSS")
            server.ask("MEMORY", "PURGE")
            purged = server.status_bytes("VmRSS")
        finally:
            server.stop()
        fresh = memory_of(bench, name, left)["rss"]
        bench.results[f"shrink/{name}"] = {"full": full, "left": left, "after": after,
                                           "purged": purged, "fresh": fresh}
        lines.append([name, report.number(full / 1e6), f"{left:,}", report.number(after / 1e6),
                      report.number(purged / 1e6), report.number(fresh / 1e6),
                      report.ratio(after, fresh), report.ratio(purged, fresh)])
    header = ["server", "full, MB", "keys left", "2 s later, MB", "after MEMORY PURGE, MB",
              "fresh server, MB", "later / fresh", "purged / fresh"]
    return (f"## Shrinking: {keys:,} keys, a tenth of them left\n\n" +
            report.table(header, lines))


# ---- growth ----


def run_growth(bench):
    columns = []
    for name in real_servers(bench):
        bench.say(f"growth {name}: {bench.o.growth_keys:,} new keys, no pipeline, and PINGs")
        server = bench.launcher.start(name)
        try:
            columns += growth_of(bench, server)
        finally:
            server.stop()
    bench.results["growth"] = dict(columns)
    rate = (f"{bench.o.growth_rate:,} a second" if bench.o.growth_rate
            else "as fast as it goes")
    return (f"## Growth: {bench.o.growth_keys:,} new keys, pipeline 1, {rate}, in turn with as "
            f"many PINGs, in {GROWTH_PARTS} parts\n\nRequests by latency; p50 to p99.9, rate and "
            "CPU are medians of the parts.\n\n" + report.histogram_table(columns))


def growth_of(bench, server):
    """PING and SET take turns, so that what the machine does to one it does to both."""
    runs = {"PING": [], "SET": []}
    share = max(1, bench.o.growth_keys // GROWTH_PARTS)
    for part in range(GROWTH_PARTS):
        for command, results in runs.items():
            arguments = ["--command", command.lower(), "--keys", str(share), "--prefix",
                         f"{part:02}:", "--order", "sequential", "--requests", str(share),
                         "--connections", str(bench.o.connections), "--histogram"]
            if bench.o.growth_rate:
                arguments += ["--rate", str(bench.o.growth_rate), "--pipeline", "16"]
            results.append(bench.measured_run(server, arguments))
    columns = []
    for command, results in runs.items():
        whole = report.merged(results)
        bench.say(f"  {command}: p99.9 {whole['p999_us']:,.0f} us, max {whole['max_us']:,.0f} us, "
                  f"others took {max(0, whole['others']):.2f} CPUs")
        columns.append((f"{server.name} {command}", whole))
    return columns


# ---- many connections ----


def run_many(bench):
    """Throughput with 10,000 connections, 1,000 of them active, as a share of that with 50."""
    lines = []
    for name in bench.names:
        if name in FLOORS:
            server = bench.launcher.start_floor(name, get_bytes(), VALUE_LENGTH)
        else:
            server = bench.launcher.start(name, extra=["--maxclients", "11000"])
        few, many = [], []
        try:
            if name not in FLOORS:
                bench.fill(server, bench.o.keys, VALUE_LENGTH)
            load = ["--command", "get", "--keys", str(bench.o.keys), "--warmup",
                    str(bench.o.warmup), "--seconds", str(bench.o.seconds)]
            for _ in range(bench.o.repeat):
                few.append(bench.run_load(server, load + ["--connections", "50"]))
                many.append(bench.run_load(server, load + ["--connections", "1000", "--idle",
                                                           "9000"]))
            rss = server.status_bytes("VmHWM")
        finally:
            server.stop()
        bench.results[f"many/{name}"] = {"few": few, "many": many}
        share = statistics.median(b["ops_per_s"] / a["ops_per_s"] for a, b in zip(few, many))
        lines.append([name] +
                     [report.number(statistics.median(run[figure] for run in runs))
                      for figure in ("ops_per_s", "server_cpu_ns_per_op", "load_cpu_ns_per_op")
                      for runs in (few, many)] +
                     [f"{share:.2f}", str(sum(run["errors"] for run in many)),
                      report.number(rss / 1e6)])
    header = ["server", "50: /s", "1,000 of 10,000: /s", "50: CPU ns", "1,000: CPU ns",
              "50: load's ns", "1,000: load's ns", "share of /s", "errors", "most memory, MB"]
    return "## Many connections: GET, no pipeline\n\n" + report.table(header, lines)


# ---- fairness ----


def run_fairness(bench):
    """A quiet client's latency, by itself and beside ten that keep deep pipelines full."""
    lines = []
    for name in real_servers(bench):
        server = bench.launcher.start(name)
        try:
            bench.fill(server, bench.o.keys, VALUE_LENGTH)
            quiet = ["--command", "ping", "--connections", "1", "--rate", "500", "--pipeline", "8",
                     "--seconds", str(bench.o.seconds)]
            alone = bench.run_load(server, quiet)
            flood = ["--command", "get", "--keys", str(bench.o.keys), "--connections", "10",
                     "--pipeline", "1000", "--seconds", str(bench.o.seconds + 1)]
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                flooding = pool.submit(bench.run_load, server, flood)
                bench.sleep(0.5)
                beside = bench.run_load(server, quiet)
                flooding.result()
        finally:
            server.stop()
        bench.results[f"fairness/{name}"] = {"alone": alone, "beside": beside}
        lines.append([name] + [report.number(run[figure]) for run in (alone, beside)
                               for figure in ("p50_us", "p99_us", "max_us")])
    header = ["server", "alone: p50", "p99", "max", "beside floods: p50", "p99", "max"]
    return ("## Fairness: PING of one client 500 times a second, µs; floods are ten clients with "
            "1,000 GETs in flight each\n\n" + report.table(header, lines))


# ---- loading and rewriting ----


def run_load(bench):
    """How fast the keys are there again after a restart, from the log and from an RDB file."""
    keys = bench.o.load_keys
    lines = []
    for name in real_servers(bench):
        server = bench.launcher.start(name, aof=True, pinned=False)
        try:
            bench.fill(server, keys, VALUE_LENGTH)
            log, rdb = (bench.launcher.command(name, server.port, server.directory, aof, "everysec")
                        for aof in (True, False))
            from_log = statistics.median(server.seconds_to_load(log)
                                         for _ in range(bench.o.repeat))
            server.ask("SAVE")
            from_rdb = statistics.median(server.seconds_to_load(rdb)
                                         for _ in range(bench.o.repeat))
        finally:
            server.stop()
        bench.results[f"load/{name}"] = {"log": from_log, "rdb": from_rdb}
        lines.append([name] + [cell for seconds in (from_log, from_rdb)
                               for cell in (report.number(seconds), f"{keys / seconds:,.0f}")])
    header = ["server", "log, s", "keys a second", "RDB file, s", "keys a second"]
    return f"## Loading {keys:,} keys at start\n\n" + report.table(header, lines)


def run_rewrite(bench):
    """BGREWRITEAOF of many keys under a load of SETs, and GETs' latency meanwhile."""
    keys = bench.o.rewrite_keys
    lines = []
    for name in real_servers(bench):
        server = bench.launcher.start(name, aof=True)
        try:
            bench.fill(server, keys, VALUE_LENGTH)
            full_load = ["--command", "mixed", "--get-ratio", "0.5", "--keys", str(keys),
                         "--connections", "20", "--pipeline", "16"]
            load = full_load + ["--rate", "20000"]
            before = bench.run_load(server, load + ["--seconds", "5"])
            rss = server.status_bytes("VmRSS")
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                running = pool.submit(bench.run_load, server, load + ["--seconds", "12"])
                bench.sleep(1)
                server.ask("BGREWRITEAOF")
                seconds, peak = watch_rewrite(bench, server)
                during = running.result()
                busy = pool.submit(bench.run_load, server, full_load + ["--seconds", "20"])
                bench.sleep(1)
                server.ask("BGREWRITEAOF")
                busy_seconds, _ = watch_rewrite(bench, server)
                busy.result()
        finally:
            server.stop()
        bench.results[f"rewrite/{name}"] = {"seconds": seconds, "busy_seconds": busy_seconds,
                                            "rss": rss, "peak": peak, "before": before,
                                            "during": during}
        lines.append([name, report.number(seconds), report.number(busy_seconds), report.number(rss / 1e6),
                      report.number(peak / 1e6), report.number(before["p999_us"]),
                      report.number(during["p999_us"]), report.number(during["max_us"])])
    header = ["server", "s", "s under full load", "memory before, MB", "most, with children, MB", "p99.9 before, µs",
              "p99.9 with it", "max with it"]
    return (f"## BGREWRITEAOF of {keys:,} keys under 10,000 SETs and 10,000 GETs a second\n\n" +
            report.table(header, lines))


def watch_rewrite(bench, server):
    """Seconds until the rewriting is over, and the most memory that it took meanwhile."""
    started, peak = time.monotonic(), 0
    while "aof_rewrite_in_progress:1" in server.ask_text("INFO", "persistence"):
        peak = max(peak, server.private_bytes())
        bench.sleep(0.02)
    return time.monotonic() - started, peak


# ---- threads ----


# ---- a disk that stalls ----


STALL_SECONDS = 2
# Where test/faulty_disk.h's DiskControl has the word that holds such calls, and the number of those
# held.
STALLS = {"fsync": (32, 44), "write": (24, 36)}
FAULTY_DISK = "build/release/faulty-disk.so"


class Disk:
    """Rules the disk of test/faulty_disk.cc by the file that it maps."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="bench-disk-")
        self.file.truncate(4096)
        self.control = mmap.mmap(self.file.fileno(), 4096)
        self.environment = [f"LD_PRELOAD={os.path.abspath(FAULTY_DISK)}",
                            f"IGNIX_TEST_DISK={self.file.name}"]

    def hold(self, offset, value):
        self.control[offset:offset + 4] = value.to_bytes(4, "little")
        word = ctypes.c_uint32.from_buffer(self.control, offset)
        SYS_FUTEX = 98 if platform.machine() == "aarch64" else 202
        FUTEX_WAKE, EVERYBODY = 1, 2**31 - 1
        ctypes.CDLL(None).syscall(SYS_FUTEX, ctypes.byref(word), FUTEX_WAKE, EVERYBODY, 0, 0, 0)

    def number(self, offset):
        return int.from_bytes(self.control[offset:offset + 4], "little")


def run_stall(bench):
    """GETs of some clients while the disk does not answer, and SETs of others wait for it."""
    lines = []
    for fsync, call in (("everysec", "fsync"), ("everysec", "write"), ("always", "fsync")):
        for name in real_servers(bench):
            if name == "redis" and call == "write":
                continue  # writes by another call, which the faulty disk does not hold
            found = stall_of(bench, name, fsync, call)
            bench.results[f"stall/{fsync}/{call}/{name}"] = found
            lines.append([f"{fsync}, {call}", name] +
                         [report.number(found[when][figure]) for figure in ("p99_us", "max_us")
                          for when in ("before", "during")])
    header = ["appendfsync, what stalls", "server", "p99 before", "p99 with it", "max before",
              "max with it"]
    return (f"## A disk that stalls for {STALL_SECONDS} s: GETs of other clients, µs\n\n" +
            report.table(header, lines))


def stall_of(bench, name, fsync, call):
    disk = Disk()
    hold, held = STALLS[call]
    server = bench.launcher.start(name, aof=True, fsync=fsync, environment=disk.environment)
    get, put = (["--command", command, "--keys", "100k", "--connections", "8", "--rate", "5000",
                 "--seconds", str(seconds)]
                for command, seconds in (("get", STALL_SECONDS), ("set", 2 * STALL_SECONDS)))
    try:
        bench.fill(server, 100_000, VALUE_LENGTH)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            runs = {}
            for when in ("before", "during"):
                sets = pool.submit(bench.run_load, server, put)
                bench.sleep(STALL_SECONDS / 2)
                # The GETs end with the stall: then the SETs make up for it as fast as they can.
                disk.hold(hold, int(when == "during"))
                runs[when] = bench.run_load(server, get)
                if when == "during" and disk.number(held) == 0:
                    raise RuntimeError(f"no {call} of {name} was held")
                disk.hold(hold, 0)
                sets.result()
        return runs
    finally:
        disk.hold(hold, 0)
        server.stop()


# ---- eviction ----


EVICT_LIMITS_MB = (10, 40)
EVICT_POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random")


def run_evict(bench):
    """A cache too small for its keys: GET, and a SET where that finds nothing, by one command.
    Which keys are asked for follows Zipf's law. Measured when the cache has been full for long."""
    lines = []
    for limit_mb in EVICT_LIMITS_MB:
        for policy in EVICT_POLICIES:
            for name in real_servers(bench):
                found = hits_of(bench, name, limit_mb, policy)
                bench.results[f"evict/{limit_mb}/{policy}/{name}"] = found
                lines.append([f"{limit_mb} MB, {policy}", name, f"{found['hit_rate']:.4f}"] +
                             [report.number(found[figure]) for figure in
                              ("keys", "cpu_ns", "used_mb", "rss_mb")])
    header = ["limit", "server", "hit rate", "keys", "CPU ns", "used memory, MB", "RSS, MB"]
    return ("## Hit rate of a cache: Zipf's law, exponent 0.99, keys of 16 bytes and values of 64; "
            "1 M of them\n\n" + report.table(header, lines))


def hits_of(bench, name, limit_mb, policy):
    keys = 1_000_000
    server = bench.launcher.start(name, extra=["--maxmemory", f"{limit_mb}mb",
                                               "--maxmemory-policy", policy])
    load = ["--command", "raw", "--template", "SET {key} {value} NX GET", "--keys", str(keys),
            "--order", "zipf", "--pipeline", "16"]
    try:
        bench.run_load(server, load + ["--requests", str(3 * keys), "--seed", "7"])
        run = bench.run_load(server, load + ["--requests", str(4 * keys)])
        return {"hit_rate": 1 - run["misses"] / run["ops"], "keys": int(server.ask("DBSIZE")),
                "cpu_ns": run["server_cpu_ns_per_op"], "rss_mb": server.status_bytes("VmRSS") / 1e6,
                "used_mb": used_memory(server) / 1e6}
    finally:
        server.stop()


def used_memory(server):
    for line in server.ask_text("INFO", "memory").splitlines():
        if line.startswith("used_memory:"):
            return int(line.split(":")[1])
    return 0


def run_threads(bench):
    """CPU for a request with one and with two event loops. Nothing is pinned, and two load
    generators run at once: on two CPUs they share them with the server in both cases alike."""
    servers = {threads: bench.launcher.start("ignix", extra=["--threads", str(threads)],
                                             pinned=False) for threads in (1, 2)}
    found = {}
    try:
        for server in servers.values():
            bench.fill(server, bench.o.keys, VALUE_LENGTH)
        for _ in range(bench.o.repeat):
            for command in ("get", "set"):
                for threads, server in servers.items():
                    found.setdefault((command, threads), []).append(
                        cpu_under_two_loads(bench, server, command))
    finally:
        for server in servers.values():
            server.stop()
    bench.results["threads"] = {f"{command}/{threads}": runs
                                for (command, threads), runs in found.items()}
    lines = []
    for command in ("get", "set"):
        one, two = (statistics.median(found[command, threads]) for threads in (1, 2))
        lines.append([f"{command.upper()}, pipeline 64", report.number(one), report.number(two),
                      report.ratio(two, one)])
    return ("## Threads: server CPU per request, ns; two load generators, nothing pinned\n\n" +
            report.table(["workload", "1 thread", "2 threads", "2 / 1"], lines))


def cpu_under_two_loads(bench, server, command):
    arguments = ["--command", command, "--pipeline", "64", "--keys", str(bench.o.keys),
                 "--connections", str(bench.o.connections // 2), "--seconds",
                 str(bench.o.seconds)]
    before = server.cpu_seconds()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: bench.run_load(server, arguments), range(2)))
    return (server.cpu_seconds() - before) / sum(run["ops"] for run in runs) * 1e9


ROWS = {
    "memory": ("memory, empty and with keys", run_memory),
    "shrink": ("memory after most keys are deleted", run_shrink),
    "growth": ("latency while the key space grows", run_growth),
    "many": ("10,000 connections, 1,000 of them active", run_many),
    "load": ("loading at start", run_load),
    "rewrite": ("BGREWRITEAOF under load", run_rewrite),
    "fairness": ("latency of a quiet client beside flooding ones", run_fairness),
    "stall": ("latency while the disk does not answer", run_stall),
    "evict": ("hit rate of a cache that is too small", run_evict),
    "threads": ("CPU of one and of two event loops", run_threads),
}
