#!/usr/bin/env python3
"""The same load on this crate, its peers and raw sockets: one markdown table, and the same in JSON. See README.md.

    python3 benches/peers/bench.py --awake                 # every peer and load, three rounds
    python3 benches/peers/bench.py --gates                 # what this crate has to hold, five rounds; exit 1 when it does not
    python3 benches/peers/bench.py --peers raw2-pipelined,rpc,tarpc --work W2,W3 --rounds 5
"""
import argparse
import datetime
import fcntl
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))


class Peer(NamedTuple):
    program: str
    variant: str = ""
    runtime: str = "mt"
    # Loads that it is meaningful for; None means all that it can do.
    loads: tuple | None = None


PINGPONG, PIPELINED = ("W1", "W1p", "W7"), ("W2", "W3", "W4", "W5", "W6", "W7")
PEERS = {
    "raw1-pingpong": Peer("raw", "pp", loads=PINGPONG),
    "raw1-pingpong@ct": Peer("raw", "pp", "ct", PINGPONG),
    "raw1-with-timer": Peer("raw", "timer", loads=("W1", "W1p")),
    "raw1-std-threads": Peer("raw", "std", loads=("W1", "W1p")),
    "raw1-std-spin": Peer("raw", "spin", loads=("W1",)),
    "raw2-pipelined": Peer("raw", "pipe", loads=PIPELINED),
    "raw2-pipelined@ct": Peer("raw", "pipe", "ct", PIPELINED),
    "rpc": Peer("rpc"),
    "rpc@ct": Peer("rpc", runtime="ct"),
    "rpc-4-connections": Peer("rpc", "4", loads=("W2", "W4")),
    "tarpc": Peer("tarpc"),
    "tarpc-postcard": Peer("tarpc", "postcard"),
    "tarpc@ct": Peer("tarpc", runtime="ct"),
    "tonic": Peer("tonic"),
    "jsonrpsee": Peer("jsonrpsee"),
    "remoc": Peer("remoc"),
}
USUAL = "raw1-pingpong,raw2-pipelined,rpc,tarpc,tonic,jsonrpsee,remoc"


class Load(NamedTuple):
    title: str
    unit: str
    # What is compared, and with whom.
    key: str = "per_s"
    limit: str = "raw2-pipelined"
    # What a peer must be able to do.
    needs: str = "small"
    extra: tuple = ("srv_sw", "cli_sw")
    # How often a round asks every peer in turn. Which core wakes for a lone call is decided once a run, and makes it 7 us or 39; so is by
    # how many threads a client's callers are run, which makes 64 of them half as fast or not.
    turns: int = 1


LOADS = {
    "W1": Load("a lone call, median", "us", "p50", "raw1-pingpong", extra=("p90", "p99"), turns=5),
    "W1p": Load("a lone call, both processes on one core, median", "us", "p50", "raw1-pingpong", extra=("p90", "p99")),
    "W2": Load("one connection, 64 calls in flight", "calls/s", turns=3),
    "W3": Load("16 connections, 32 calls in flight each", "calls/s"),
    "W4": Load("an order in, a receipt out, 64 in flight", "calls/s", needs="order"),
    "W5": Load("1 MiB there and back, 4 in flight", "MiB/s", needs="blob"),
    "W6": Load("streams of 200,000 items, one after the other", "items/s", needs="stream", extra=()),
    "W7": Load("1,000 connections, one call in flight each", "calls/s", limit="raw1-pingpong", extra=("srv_kib_conn", "cli_kib_conn", "connect_us")),
}
HEADS = {"srv_sw": "server switches a call", "cli_sw": "client switches a call", "srv_kib_conn": "server KiB a connection",
         "cli_kib_conn": "client KiB a connection", "connect_us": "us to connect and call"}
# Counted once: they do not differ from round to round.
ONCE = {"W8": "allocations a call", "W9": "bytes a call on the wire", "INSTR": "instructions a call, both ends", "SYS": "system calls a call"}


class Gate(NamedTuple):
    what: str
    load: str
    at_most: bool
    bound: float
    stretch: float | None
    # Of all results, one value a round.
    values: object


def ratio(load, key, to, of="rpc"):
    return lambda results: ratios(results, load, of, to, key)


def each(load, key):
    return lambda results: [round_[key] for round_ in rounds(results, load, "rpc") if round_.get(key) is not None]


def allocations(results):
    """Beyond those of the values themselves and of the harness's tasks, which raw sockets have too."""
    counted = [rounds(results, "W8", peer) for peer in ("rpc", "raw1-pingpong")]
    both = [[one["small64"]["srv"] + one["small64"]["cli"] for one in peer if "small64" in one] for peer in counted]
    return [max(0.0, ours - raw) for ours, raw in zip(*both)]


def framing(results):
    """Bytes beyond the payload; raw sockets put five before it. The dearer of the two ways."""
    counted = [[one["small"] for one in rounds(results, "W9", peer) if "small" in one] for peer in ("rpc", "raw2-pipelined")]
    return [round(max(a - (b - 5) for a, b in zip(ours, raw)), 2) for ours, raw in zip(*counted)]


GATES = [
    Gate("W1 a lone call, against raw1", "W1", True, 1.15, 1.05, ratio("W1", "p50", "raw1-pingpong")),
    Gate("W2 one connection, against raw2", "W2", False, 0.22, 0.50, ratio("W2", "per_s", "raw2-pipelined")),
    Gate("W2 against tarpc", "W2", False, 5, None, ratio("W2", "per_s", "tarpc")),
    Gate("W3 16 connections, against raw2", "W3", False, 0.35, 0.60, ratio("W3", "per_s", "raw2-pipelined")),
    Gate("W3 against tarpc", "W3", False, 8, None, ratio("W3", "per_s", "tarpc")),
    Gate("W3 CPU time a call, both ends, against raw2", "W3", True, 2.6, 1.7, ratio("W3", "cpu_us", "raw2-pipelined")),
    Gate("W4 order and receipt, against raw2", "W4", False, 0.50, 0.80, ratio("W4", "per_s", "raw2-pipelined")),
    Gate("W4 against tarpc", "W4", False, 2.8, None, ratio("W4", "per_s", "tarpc")),
    Gate("W5 1 MiB, against raw2", "W5", False, 0.80, 0.95, ratio("W5", "per_s", "raw2-pipelined")),
    Gate("W6 stream, against raw2", "W6", False, 0.50, 0.80, ratio("W6", "per_s", "raw2-pipelined")),
    Gate("W7 1,000 connections, against raw1", "W7", False, 0.85, 0.95, ratio("W7", "per_s", "raw1-pingpong")),
    Gate("W7 KiB an idle connection, at the server", "W7", True, 4, 2, each("W7", "srv_kib_conn")),
    # None a call: what is left is a buffer that grew once in 64,000 calls. `tests/tests/allocations.rs` counts to zero.
    Gate("W8 allocations of ours a call, both ends", "W8", True, 0.01, None, allocations),
    Gate("W9 bytes of framing a small message", "W9", True, 8, 6, framing),
    Gate("instructions of a small call, both ends", "INSTR", True, 4500, 3200, each("INSTR", "instr")),
]
GATE_PEERS = "raw1-pingpong,raw2-pipelined,rpc,tarpc"
# Without valgrind nothing is said of instructions.
GATE_LOADS = "W1,W2,W3,W4,W5,W6,W7,W8,W9" + (",INSTR" if shutil.which("valgrind") else "")


# ---------------------------------------------------------------- running


def command(peer, *arguments):
    return [os.path.join(TARGET, "release", PEERS[peer].program), *arguments, "--variant", PEERS[peer].variant, "--rt", PEERS[peer].runtime]


def capabilities(peer):
    try:
        return json.loads(subprocess.run(command(peer, "caps"), capture_output=True, text=True).stdout)["caps"]
    except (OSError, ValueError):
        print(f"{peer} is not built: cargo build --release -p peers", file=sys.stderr)
        return []


def keep_awake():
    """One spinner a core at SCHED_IDLE: it yields to any work at once, but the core never sleeps, so no wake-up of an idle core is measured."""
    for cpu in sorted(os.sched_getaffinity(0)):
        parent = os.getpid()
        if os.fork() == 0:
            os.sched_setaffinity(0, {cpu})
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while os.getppid() == parent:
                for _ in range(1_000_000):
                    pass
            os._exit(0)


def last_line(run):
    out = run.stdout.strip().splitlines()
    return json.loads(out[-1]) if out else {"error": run.stderr[-300:]}


def serving(peer, pin=()):
    """A server in a process of its own, and where it listens."""
    server = subprocess.Popen([*pin, *command(peer, "serve")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return server, server.stdout.readline().partition(" ")[2].strip()


def split(peer, load, seconds):
    """Server and client in separate processes. W1p: both pinned to one core, so that no idle core has to wake."""
    pin, work = ((), load) if load != "W1p" else (("taskset", "-c", str(max(os.sched_getaffinity(0)))), "W1")
    server, address = serving(peer, pin)
    try:
        arguments = command(peer, "client", "--addr", address, "--server-pid", str(server.pid), "--work", work, "--secs", str(seconds))
        result = last_line(subprocess.run([*pin, *arguments], capture_output=True, text=True, timeout=90))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"error": repr(error)[:300]}
    finally:
        server.kill()
        server.wait()
    if result.get("srv_cpu_us") is not None and result.get("cli_cpu_us") is not None:
        result["cpu_us"] = result["srv_cpu_us"] + result["cli_cpu_us"]
    return result


def alone(peer, what):
    """Server and client in one process, which counts for itself."""
    try:
        return last_line(subprocess.run(command(peer, what), capture_output=True, text=True, timeout=180))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"error": repr(error)[:300]}


def instructions(peer):
    """One thread: the difference of two run lengths under cachegrind without a cache model. `benches/instructions.py` is steadier."""
    short, long, counted = 1920, 5760, {}
    for calls in (short, long):
        run = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command(peer, "instr", "--n", str(calls))],
                             capture_output=True, text=True, timeout=300)
        found = re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)
        if not found:
            return {"error": run.stderr[-300:]}
        counted[calls] = int(found.group(1).replace(",", ""))
    return {"instr": (counted[long] - counted[short]) / (long - short)}


def system_calls(peer):
    """While W2 runs, by perf on both processes."""
    names = ["write", "writev", "sendto", "sendmsg", "read", "readv", "recvfrom", "recvmsg", "epoll_wait", "futex", "sched_yield"]
    events = ",".join(f"syscalls:sys_enter_{name}" for name in names)
    server, address = serving(peer)
    try:
        arguments = command(peer, "client", "--addr", address, "--server-pid", str(server.pid), "--work", "W2", "--secs", "3")
        client = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(1.0)
        counted = {}
        for side, process in (("srv", server), ("cli", client)):
            run = subprocess.run(["perf", "stat", "-x,", "-e", events, "-p", str(process.pid), "sleep", "1"], capture_output=True, text=True)
            for line in run.stderr.splitlines():
                fields = line.split(",")
                if len(fields) > 2 and fields[0].isdigit() and int(fields[0]):
                    counted[side + "_" + fields[2].replace("syscalls:sys_enter_", "")] = int(fields[0])
        per_second = json.loads(client.communicate(timeout=30)[0].strip().splitlines()[-1])["per_s"]
        return {name: count / per_second for name, count in counted.items()} | {"per_s": per_second}
    except (OSError, ValueError, LookupError, subprocess.TimeoutExpired) as error:
        return {"error": repr(error)[:300]}
    finally:
        server.kill()
        server.wait()


def measure(peer, load, seconds):
    match load:
        case "W8":
            return alone(peer, "alloc")
        case "W9":
            return alone(peer, "wire")
        case "INSTR":
            return instructions(peer)
        case "SYS":
            return system_calls(peer)
        case _:
            return split(peer, load, seconds)


def takes_part(peer, load, able):
    loads = PEERS[peer].loads
    if load in ONCE:
        return PEERS[peer].variant not in ("std", "spin", "timer")
    return LOADS[load].needs in able and (loads is None or load in loads)


# ---------------------------------------------------------------- figures


def rounds(results, load, peer):
    return results.get(load, {}).get(peer, [])


def ratios(results, load, of, to, key):
    """One a turn: both have met the same machine."""
    pairs = zip(rounds(results, load, of), rounds(results, load, to))
    return [ours[key] / theirs[key] for ours, theirs in pairs if ours.get(key) is not None and theirs.get(key)]


def short(x):
    if x >= 1e6:
        return f"{x / 1e6:.2f}M"
    if x >= 1e4:
        return f"{x / 1e3:.1f}k"
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}"


def spread(values, form):
    """Median, least and most."""
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})" if values else "-"


def median(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return f"{statistics.median(values):.2f}" if values else "-"


def table(results, load):
    about = LOADS[load]
    heads = ["peer", f"{about.unit} (least to most)", f"ratio to {about.limit}", "CPU us a call, both ends", "ratio", "server", "client",
             *(HEADS.get(key, key) for key in about.extra)]
    lines = [f"\n### {load}: {about.title}\n", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    rows = []
    for peer, own in results[load].items():
        values = [row[about.key] for row in own if row.get(about.key) is not None]
        if not values:
            if own:
                rows.append((float("inf"), f"| {peer} | failed: {own[0].get('error', 'no figure')[-80:]!r}" + " |" * (len(heads) - 1)))
            continue
        cells = [peer, spread(values, short)]
        for key in (about.key, "cpu_us"):
            if key == "cpu_us":
                cells.append(median(own, key))
            cells.append(spread(ratios(results, load, peer, about.limit, key), "{:.2f}".format))
        cells += [median(own, key) for key in ("srv_cpu_us", "cli_cpu_us", *about.extra)]
        middle = statistics.median(values)
        rows.append((middle if about.key == "p50" else -middle, "| " + " | ".join(cells) + " |"))
    return "\n".join(lines + [row for _, row in sorted(rows)])


def counts(results, load):
    lines = [f"\n### {load}: {ONCE[load]}\n", "```"]
    lines += [f"{peer:<18} {json.dumps(own[0])}" for peer, own in results[load].items() if own]
    return "\n".join([*lines, "```"])


def judge(results):
    """Every gate whose load ran, as a table; and whether all of them hold."""
    lines = ["\n### Gates\n", "| | gate | stretch | median (least to most) | |", "|---|---|---|---|---|"]
    judged = []
    for gate in GATES:
        if gate.load not in results:
            continue
        values = gate.values(results)
        holds = lambda bound: bool(values) and (statistics.median(values) <= bound if gate.at_most else statistics.median(values) >= bound)
        verdict = "not" if not holds(gate.bound) else "pass, and the stretch" if gate.stretch is not None and holds(gate.stretch) else "pass"
        sign = "≤" if gate.at_most else "≥"
        stretch = "" if gate.stretch is None else f"{sign} {gate.stretch:g}"
        lines.append(f"| {gate.what} | {sign} {gate.bound:g} | {stretch} | {spread(values, '{:.2f}'.format)} | {verdict} |")
        judged.append({"gate": gate.what, "bound": gate.bound, "at_most": gate.at_most, "stretch": gate.stretch, "values": values, "verdict": verdict})
    return "\n".join(lines), judged


def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return f"{model.group(1) if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}"


def versions():
    with open(os.path.join(ROOT, "Cargo.lock")) as file:
        found = dict(re.findall(r'name = "(tarpc|tonic|jsonrpsee|remoc|tokio)"\nversion = "(.*)"', file.read()))
    return found


def about(options):
    began = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return {"command": shlex.join(["python3", os.path.relpath(os.path.abspath(sys.argv[0]), ROOT), *sys.argv[1:]]), "began": began, "machine": machine(),
            "versions": versions(), "load_average": os.getloadavg()[0], "awake": options.awake, "rounds": options.rounds, "seconds": options.secs}


def headline(facts):
    awake = "cores kept awake" if facts["awake"] else "cores may sleep"
    peers = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (f"`{facts['command']}`, {facts['began']}, on {facts['machine']}; {awake}; {facts['rounds']} rounds, {facts['seconds']:g} s a load; "
            f"load average before it {facts['load_average']:.1f}.\n"
            f"{peers}. Figures are medians, with the least and the most of all rounds (of W1 and W2 each takes several turns); ratios are taken within "
            "a turn.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=f"{','.join(PEERS)}; {USUAL} unless told otherwise")
    parser.add_argument("--work", help=f"{','.join([*LOADS, *ONCE])}; W1 to W7 unless told otherwise")
    parser.add_argument("--rounds", type=int, help="3, or 5 with --gates")
    parser.add_argument("--secs", type=float, default=2.0, help="how long each load runs")
    parser.add_argument("--awake", action="store_true", help="keep every core from sleeping with an idle-priority spinner")
    parser.add_argument("--gates", action="store_true", help="judge what this crate has to hold: with --awake, over at least 5 rounds")
    parser.add_argument("--json", help="where to write; in the target folder unless told otherwise")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.gates else 3)
    if options.gates:
        options.awake = True
        if options.rounds < 5:
            parser.error("gates take at least 5 rounds")
    facts = about(options)
    peers = (options.peers or (GATE_PEERS if options.gates else USUAL)).split(",")
    loads = (options.work or (GATE_LOADS if options.gates else ",".join(LOADS))).split(",")
    for name, known in [(peer, PEERS) for peer in peers] + [(load, LOADS | ONCE) for load in loads]:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    able = {peer: capabilities(peer) for peer in peers}
    if not all(able.values()):
        sys.exit(2)
    path = options.json or os.path.join(TARGET, "peers", time.strftime("%Y-%m-%d-%H%M%S.json"))
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if options.awake:
        keep_awake()

    results = {load: {peer: [] for peer in peers if takes_part(peer, load, able[peer])} for load in loads}
    judged = []
    with open(os.path.join(tempfile.gettempdir(), "peers-bench.lock"), "w") as lock:
        for number in range(options.rounds):
            for load in loads:
                if load in ONCE and number:
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX)
                turns = 1 if load in ONCE else LOADS[load].turns
                for turn in range(number * turns, (number + 1) * turns):
                    # Another begins each time: who comes first meets another machine than who comes last.
                    order = list(results[load])
                    for peer in order[turn % len(order):] + order[:turn % len(order)] if order else []:
                        result = measure(peer, load, options.secs)
                        results[load][peer].append(result)
                        print(number + 1, load, peer, json.dumps(result)[:200], file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_UN)
            with open(path, "w") as file:
                json.dump(facts | {"results": results}, file, indent=1)

    print(headline(facts))
    for load in loads:
        if results[load]:
            print(counts(results, load) if load in ONCE else table(results, load))
    if options.gates:
        text, judged = judge(results)
        print(text)
        with open(path, "w") as file:
            json.dump(facts | {"results": results, "gates": judged}, file, indent=1)
    print(f"\nJSON: {path}", file=sys.stderr)
    if any(gate["verdict"] == "not" for gate in judged):
        sys.exit(1)


if __name__ == "__main__":
    main()
