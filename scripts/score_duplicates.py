#!/usr/bin/env python3
"""Scores `scan` on a synthetic acquisition against its truth: what was planted and found, and what was invented.

    score_duplicates.py PROGRAM ACQUISITION [--out DIR] [--json FILE]

ACQUISITION is a folder that `scopewatch synth` made (not with --plain, or there is nothing to find). The scan finds duplicates only
(`--only hash`), into a folder of its own unless --out names one. Of each relation the pairs of planes that were planted are
counted, and how many of them are reported; false are reported pairs of planes that the truth does not relate, directly or over
others, and stuck_frame alerts for planes that are none. Beside each count of false ones stands the rate per 10,000 planes with
its one-sided 95 % bound (Clopper and Pearson, 1934; for none among n that is 1 - 0.05^(1/n)). Exit status 0 when all that was
planted is found and nothing invented, 1 when not, 2 when the scan failed.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile


def bound(n_false, n):
    """Upper bound of the rate, 95 % sure, by bisection of the binomial distribution."""
    def tail(p):
        # P(X <= n_false)
        term, total = (1 - p) ** n, 0.0
        for k in range(n_false + 1):
            total += term
            term *= (n - k) / (k + 1) * p / (1 - p)
        return total
    low, high = n_false / n, 1 - 1e-12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > 0.05 else (low, middle)
    return high


def components(pairs):
    """Maps each plane to its component."""
    parents = {}

    def root(item):
        parents.setdefault(item, item)
        while parents[item] != item:
            item = parents[item]
        return item

    for a, b in pairs:
        parents[root(a)] = root(b)
    return {item: root(item) for item in list(parents)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("acquisition", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    truth = json.loads((arguments.acquisition / "truth.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or pathlib.Path(scratch) / "out"
        command = [arguments.program, "scan", arguments.acquisition, "--out", out, "--only", "hash", "--json"]
        scan = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        # 3: planted damaged files are rejected
        if scan.returncode not in (0, 3):
            print(f"error: the scan ended with {scan.returncode}: {scan.stdout.strip()}", file=sys.stderr)
            sys.exit(2)
        summary = json.loads(scan.stdout.splitlines()[-1])
        with open(out / "reports/current/duplicate_pairs.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        alerts = [json.loads(line) for line in (out / "reports/alerts.jsonl").read_text().splitlines()]
    planted = {}
    for relation in truth["relations"]:
        pair = frozenset([(relation["file_a"], relation["plane_a"]), (relation["file_b"], relation["plane_b"])])
        planted.setdefault(relation["relation"], set()).add(pair)
    known = components([tuple(pair) for pairs in planted.values() for pair in pairs])
    # a field and its overview show the same place
    for link in truth["registrations"]:
        pair = [(link["moving_file"], link["moving_plane"]), (link["reference_file"], link["reference_plane"])]
        planted.setdefault("other_magnification", set()).add(frozenset(pair))
    reported = {}
    for row in rows:
        pair = frozenset([(row["file_a"], row["plane_a"]), (row["file_b"], row["plane_b"])])
        reported.setdefault(row["relation"], set()).add(pair)
    everything = set().union(*reported.values())
    grouped = components([tuple(pair) for pair in everything if len(pair) == 2])
    n_planes = summary["planes"]
    result = {"planes": n_planes, "wall_s": summary["wall_s"], "relations": {}}
    is_good = True
    for name, pairs in sorted(planted.items()):
        if name == "other_magnification":
            continue
        found = sum(pair in everything or len({grouped.get(plane, plane) for plane in pair}) == 1 for pair in pairs)
        result["relations"][name] = {"planted": len(pairs), "found": found}
        is_good &= found == len(pairs)
        print(f"{name:<24} {found} of {len(pairs)} planted pairs found")
    links = planted.get("other_magnification", set())
    is_false = [pair for pair in everything
                if len({known.get(plane, plane) for plane in pair}) > 1 and pair not in links]
    stuck = {plane for pair in planted.get("stuck_frame", set()) for plane in pair}
    false_alerts = [alert for alert in alerts if alert["kind"] == "stuck_frame"
                    and (alert["file"], alert["plane"]) not in stuck]
    for name, items in [("false pairs", is_false), ("false alerts", false_alerts)]:
        rate, most = 1e4 * len(items) / n_planes, 1e4 * bound(len(items), n_planes)
        result[name.replace(" ", "_")] = {"n": len(items), "per_10000_planes": rate, "bound_95": most}
        print(f"{name:<24} {len(items)} in {n_planes} planes: {rate:.2f} per 10,000, at most {most:.2f} (95 %)")
        for item in items[:5]:
            print(f"    {sorted(item) if isinstance(item, frozenset) else item['text']}")
    is_good &= not is_false and not false_alerts
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
