#!/usr/bin/env python3
"""Run chosen peers x chosen workloads, interleaved rounds, one table. See README.md."""
import argparse, fcntl, json, os, re, statistics, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "..", "target")) + "/release/"
# label -> (binary, variant, runtime, workloads it is meaningful for or None = by caps)
PEERS = {
    "raw1-pingpong": ("raw", "pp", "mt", ["W1", "W1p", "W7"]),
    "raw1-pingpong@ct": ("raw", "pp", "ct", ["W1", "W1p", "W7"]),
    "raw1-std-threads": ("raw", "std", "mt", ["W1", "W1p"]),
    "raw1-std-spin": ("raw", "spin", "mt", ["W1"]),
    "raw2-pipelined": ("raw", "pipe", "mt", ["W2", "W3", "W4", "W5", "W6", "W7"]),
    "raw2-pipelined@ct": ("raw", "pipe", "ct", ["W2", "W3", "W4", "W5", "W6", "W7"]),
    "rpc": ("rpc", "", "mt", None),
    "rpc@ct": ("rpc", "", "ct", None),
    "tarpc": ("tarpc", "", "mt", None),
    "tarpc-postcard": ("tarpc", "postcard", "mt", None),
    "tarpc@ct": ("tarpc", "", "ct", None),
    "tonic": ("tonic", "", "mt", None),
    "jsonrpsee": ("jsonrpsee", "", "mt", None),
    "remoc": ("remoc", "", "mt", None),
}
NEED = {"W4": "order", "W5": "blob", "W6": "stream"}
BASE = {"W1": "raw1-pingpong", "W1p": "raw1-pingpong", "W7": "raw1-pingpong"}
METRIC = {"W1": ("p50", "us"), "W1p": ("p50", "us, both processes on one core"), "W2": ("per_s", "calls/s"), "W3": ("per_s", "calls/s"), "W4": ("per_s", "calls/s"),
          "W5": ("per_s", "MiB/s"), "W6": ("per_s", "items/s"), "W7": ("per_s", "calls/s")}

def argv(binary):
    return [sys.executable, os.path.join(HERE, binary)] if binary.endswith(".py") else [TARGET + binary]

def caps(binary):
    if binary.endswith(".py"): return ["small", "order"]
    try: return json.loads(subprocess.run(argv(binary) + ["caps"], capture_output=True, text=True).stdout)["caps"]
    except Exception: return []

def keep_awake():
    """One spinner a core at SCHED_IDLE: it yields to any work at once, but the core never sleeps, so no wake-up of an idle core is measured."""
    for cpu in sorted(os.sched_getaffinity(0)):
        parent = os.getpid(); pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, {cpu}); os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while os.getppid() == parent:
                for _ in range(1_000_000): pass
            os._exit(0)

def split(label, work, secs):
    """Server and client in separate processes. W1p: both pinned to one core, so that no idle core has to wake."""
    b, v, rt, _ = PEERS[label]; pin = []
    if work == "W1p": work, pin = "W1", ["taskset", "-c", "1"]
    common = ["--variant", v, "--rt", rt]
    s = subprocess.Popen(pin + argv(b) + ["serve"] + common, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        addr = s.stdout.readline().split(None, 1)[1].strip()
        c = subprocess.run(pin + argv(b) + ["client", "--addr", addr, "--server-pid", str(s.pid), "--work", work, "--secs", str(secs)] + common,
                           capture_output=True, text=True, timeout=90)
        out = c.stdout.strip().splitlines()
        return json.loads(out[-1]) if out else {"error": c.stderr[-300:]}
    except Exception as e:
        return {"error": repr(e)[:300]}
    finally:
        s.kill(); s.wait()

def one(label, cmd, extra=()):
    b, v, rt, _ = PEERS[label]; pin = []
    if "W1p" in extra: extra, pin = ["W1" if x == "W1p" else x for x in extra], ["taskset", "-c", "1"]
    try:
        c = subprocess.run(pin + argv(b) + [cmd, "--variant", v, "--rt", rt, *extra], capture_output=True, text=True, timeout=180)
        out = c.stdout.strip().splitlines()
        return json.loads(out[-1]) if out else {"error": c.stderr[-300:]}
    except Exception as e:
        return {"error": repr(e)[:300]}

def instr(label):
    """Instructions per call, one thread: the difference of two run lengths under cachegrind without a cache model."""
    b, v, _, _ = PEERS[label]; n = {}
    lo, hi = 1920, 5760
    for k in (lo, hi):
        c = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"] + argv(b) +
                           ["instr", "--n", str(k), "--variant", v], capture_output=True, text=True, timeout=300)
        m = re.search(r"I\s+refs:\s+([\d,]+)", c.stderr)
        if not m: return {"error": c.stderr[-300:]}
        n[k] = int(m.group(1).replace(",", ""))
    return {"instr": (n[hi] - n[lo]) / (hi - lo)}

def syscalls(label, inflight=64):
    """Syscalls per call while W2 runs, by perf trace on both processes (counts only)."""
    b, v, rt, _ = PEERS[label]; common = ["--variant", v, "--rt", rt]
    s = subprocess.Popen(argv(b) + ["serve"] + common, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        addr = s.stdout.readline().split(None, 1)[1].strip()
        c = subprocess.Popen(argv(b) + ["client", "--addr", addr, "--server-pid", str(s.pid), "--work", "W2", "--secs", "3"] + common,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(1.0); res = {}
        for side, pid in (("srv", s.pid), ("cli", c.pid)):
            names = ["write", "writev", "sendto", "sendmsg", "read", "readv", "recvfrom", "recvmsg", "epoll_wait", "futex", "sched_yield"]
            ev = ",".join(f"syscalls:sys_enter_{n}" for n in names)
            p = subprocess.run(["perf", "stat", "-x,", "-e", ev, "-p", str(pid), "sleep", "1"], capture_output=True, text=True)
            for l in p.stderr.splitlines():
                f = l.split(",")
                if len(f) > 2 and f[0].isdigit() and int(f[0]): res[side + "_" + f[2].replace("syscalls:sys_enter_", "")] = int(f[0])
        out = json.loads(c.communicate(timeout=30)[0].strip().splitlines()[-1])
        return {k: v / out["per_s"] for k, v in res.items()} | {"per_s": out["per_s"]}
    except Exception as e:
        return {"error": repr(e)[:300]}
    finally:
        s.kill(); s.wait()

def main():
    a = argparse.ArgumentParser()
    a.add_argument("--peers", default=",".join(PEERS)); a.add_argument("--skip", default="")
    a.add_argument("--work", default="W1,W1p,W2,W3,W4,W5,W6,W7"); a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--secs", type=float, default=2.0); a.add_argument("--mode", default="split", choices=["split", "both"])
    a.add_argument("--out", default=os.path.join(HERE, "results"))
    a.add_argument("--awake", action="store_true", help="keep every core from sleeping with an idle-priority spinner")
    a = a.parse_args(); os.makedirs(a.out, exist_ok=True)
    if a.awake: keep_awake()
    peers = [p for p in a.peers.split(",") if p not in a.skip.split(",")]
    cap = {p: caps(PEERS[p][0]) for p in peers}
    peers = [p for p in peers if cap[p]]
    works = a.work.split(","); res = {w: {p: [] for p in peers} for w in works}
    lock = open(os.path.join(__import__("tempfile").gettempdir(), "peers-bench.lock"), "w")
    for rnd in range(a.rounds):
        for w in works:
            once = w in ("W8", "W9", "INSTR", "SYS")
            if once and rnd: continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            for p in peers:
                only = PEERS[p][3]
                if not once and only is not None and w not in only: continue
                if once and PEERS[p][0].endswith(".py"): continue
                if once and w in ("W8", "W9") and PEERS[p][1] == "std": continue
                if NEED.get(w) and NEED[w] not in cap[p]: continue
                r = (one(p, "alloc") if w == "W8" else one(p, "wire") if w == "W9" else instr(p) if w == "INSTR" else syscalls(p) if w == "SYS"
                     else split(p, w, 3 if w == "W2" else a.secs) if a.mode == "split" else one(p, "both", ["--work", w, "--secs", str(a.secs)]))
                res[w][p].append(r); print(rnd, w, p, json.dumps(r)[:200], file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_UN)
        json.dump(res, open(os.path.join(a.out, "last.json"), "w"), indent=1)
    stamp = time.strftime("%H%M%S"); json.dump(res, open(os.path.join(a.out, f"run-{stamp}.json"), "w"), indent=1)
    print(table(res)); print("JSON:", os.path.join(a.out, f"run-{stamp}.json"))

def si(x):
    return f"{x/1e6:.2f}M" if x >= 1e6 else f"{x/1e3:.1f}k" if x >= 1e4 else f"{x:.0f}" if x >= 100 else f"{x:.1f}"

def table(res):
    out = []
    for w, rows in res.items():
        rows = {p: r for p, r in rows.items() if r}
        if not rows: continue
        if w in METRIC:
            key, unit = METRIC[w]; base = BASE.get(w, "raw2-pipelined")
            extra = {"W1": ["p90", "p99"], "W1p": ["p90", "p99"], "W7": ["srv_kib_conn", "cli_kib_conn", "connect_us", "srv_cpu_us", "cli_cpu_us"], "W6": ["cpu_us"]}.get(w, ["srv_cpu_us", "cli_cpu_us", "srv_sw", "cli_sw"])
            out.append(f"\n### {w} ({unit})\n\n| peer | median | min | max | ratio to {base} | " + " | ".join(extra) + " |\n|---|---|---|---|---|" + "---|" * len(extra))
            def med(p, k): 
                v = [x[k] for x in rows[p] if k in x]; return statistics.median(v) if v else float("nan")
            for p in sorted(rows, key=lambda p: (med(p, key) if key == "p50" else -med(p, key)) if med(p, key) == med(p, key) else 1e18):
                v = [x[key] for x in rows[p] if key in x]
                if not v: out.append(f"| {p} | failed: {rows[p][0].get('error','')[:80]!r} |"); continue
                rat = [x[key] / y[key] for x, y in zip(rows[p], rows.get(base, [])) if key in x and key in y]
                out.append(f"| {p} | {si(med(p,key))} | {si(min(v))} | {si(max(v))} | {statistics.median(rat):.2f} | " .replace("nan","-") if rat else f"| {p} | {si(med(p,key))} | {si(min(v))} | {si(max(v))} | - | ")
                out[-1] += " | ".join(f"{med(p,k):.2f}" for k in extra) + " |"
        else:
            out.append(f"\n### {w}\n\n```")
            for p, r in rows.items(): out.append(f"{p:20} {json.dumps(r[0])}")
            out.append("```")
    return "\n".join(out)
if __name__ == "__main__": main()
