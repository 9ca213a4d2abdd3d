#!/usr/bin/env python3
"""Instructions a call, and an item of a stream: both ends in one process, over memory, on one thread, counted by valgrind.

    python3 benches/instructions.py              # build, count, compare with instructions.toml; exit 1 above a budget
    python3 benches/instructions.py --top 40     # and the functions where they go
    python3 benches/instructions.py --write      # take what was counted, and 5 % more, as the new budget

What is counted is the difference between a run and one twice as long, so that connecting and ending are no part of it. The clock of both
ends is paused: two runs differ by less than one instruction a call. Without valgrind nothing is checked, and that is no failure.
"""
import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUDGET = os.path.join(HERE, "instructions.toml")
CASES = {
    "small": "a small call, 64 callers on a connection",
    "lone": "a small call, one caller",
    "order": "an order in, a receipt out, 64 callers",
    "download": "a small item from the server",
    "upload": "a small item to the server",
}
# A multiple of the callers, and long enough that what happens once in a while (a buffer grows) is spread thin.
RUN = 6400
# glibc's allocator keeps few freed pieces of a size at hand. What it does with more of them depends on where its memory happens to lie:
# in one run of twenty that was a fifth of all instructions.
ROOM = "glibc.malloc.tcache_count=2000"


def build():
    command = ["cargo", "build", "--release", "-p", "rpc-benches", "--bin", "instructions", "--features", "instructions"]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("the program to count did not build")
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "instructions")


def count(program, case, length, out):
    """All instructions of one run; where they went is in the file `out`."""
    command = ["valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}", program, case, str(length)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GLIBC_TUNABLES": ROOM})
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected:
        sys.exit(f"{case}: {run.stderr[-500:]}")
    return int(collected.group(1))


def where(out):
    """Instructions by function, by function with all that it calls, and by the source file that they come from, inlined code by its own."""
    alone, whole, files = collections.Counter(), collections.Counter(), collections.Counter()
    function = file = called = ""
    with open(out) as lines:
        for line in lines:
            key, _, value = line.rstrip().partition("=")
            if key == "fn":
                function = re.sub(r"'\d+$", "", value)
            elif key in ("fl", "fi", "fe"):
                file = shorter(value)
            elif key == "cfn":
                called = re.sub(r"'\d+$", "", value)
            elif key == "calls":
                # The next line is what that call took, by then part of what its caller takes, unless the two are one.
                took = int(next(lines).split()[1])
                whole[function] += took if called != function else 0
            elif line[0].isdigit() or line[0] in "+-*":
                took = int(line.split()[1])
                alone[function] += took
                whole[function] += took
                files[file] += took
    return alone, whole, files


def shorter(path):
    path = path.removeprefix(ROOT + "/")
    path = re.sub("^.*/registry/src/[^/]*/", "", path)
    return re.sub("^/rustc/[0-9a-f]*/library/", "std: ", path)


def table(title, once, twice, top):
    each = [(round((twice[name] - once[name]) / RUN), name) for name in twice]
    print(f"\n{title}")
    for instructions, name in sorted(each, reverse=True)[:top]:
        if instructions > 0:
            print(f"  {instructions:>6}  {name[:150]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--case", choices=CASES, action="append", help="only this one (may be given again)")
    arguments.add_argument("--top", type=int, default=0, metavar="N", help="the N functions that take most, by themselves and with what they call")
    arguments.add_argument("--write", action="store_true", help=f"write {os.path.basename(BUDGET)}")
    arguments = arguments.parse_args()
    if not shutil.which("valgrind"):
        print("valgrind is not here, nothing checked")
        return
    with open(BUDGET, "rb") as file:
        budget = tomllib.load(file)
    program, counted, above = build(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.case or CASES:
            once, twice = os.path.join(folder, "once"), os.path.join(folder, "twice")
            a, b = count(program, case, RUN, once), count(program, case, 2 * RUN, twice)
            counted[case] = round((b - a) / RUN)
            allowed = budget[case]
            over = counted[case] > allowed and not arguments.write
            print(f"{case:<9} {counted[case]:>6} of at most {allowed:>6}  {'TOO MANY' if over else 'ok':<8}  {CASES[case]}", flush=True)
            if over:
                above.append(case)
            if arguments.top:
                titles = ("by function", "by function, with what it calls", "by source file, inlined code where it was written")
                for title, first, second in zip(titles, where(once), where(twice)):
                    table(f"{case}: {title}", first, second, arguments.top)
                print()
    if arguments.write:
        write(budget | {case: round(instructions * 1.05) for case, instructions in counted.items()})
    if above:
        sys.exit(f"more instructions than their budget: {', '.join(above)}")


def write(budget):
    with open(BUDGET) as file:
        head = [line for line in file if line.startswith("#")]
    with open(BUDGET, "w") as file:
        file.writelines([*head, *(f"{case} = {budget[case]}\n" for case in CASES)])


if __name__ == "__main__":
    main()
