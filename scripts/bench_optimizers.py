#!/usr/bin/env python3
"""Times both optimizers beside scipy's on the same pairs, starts, boxes and derivatives.

    cargo bench --bench optimizers --no-run        # names the program
    OMP_NUM_THREADS=1 scripts/bench_optimizers.py PROGRAM

Both sides run in turn, several rounds; the least time of each counts. All get the same normalised coordinates and
tolerances; scipy's residuals and Jacobians are whole-array expressions. Ends with 1 where an optimum differs.
"""

import json
import subprocess
import sys
import time

import numpy as np
import scipy
from scipy.optimize import least_squares, minimize

N_ROUNDS = 3
# how far two costs at the same minimum may differ, as a part of them
COST_TOLERANCE = 1e-9
# the defaults of both optimizers of scopewatch
COST, STEP, GRADIENT_LM, GRADIENT_LBFGSB = 1e-14, 1e-12, 1e-12, 1e-10


def normalised(points):
    points = np.asarray(points)
    centred = points - points.mean(axis=0)
    radius = np.sqrt((centred**2).sum() / len(points))
    return np.ascontiguousarray((centred / radius).T), radius


class Problem:
    """Residuals and Jacobian of the pairs, x first, then y, all times one over the root of their number."""

    def __init__(self, line):
        (self.x, self.y), radius_moving = normalised(line["moving"])
        (self.u, self.v), radius_reference = normalised(line["reference"])
        self.n = len(self.x)
        self.weight = 1 / np.sqrt(self.n)
        unit = radius_moving / radius_reference
        scale = line["scale_start"] * unit
        self.is_similarity = line["model"] == "similarity"
        self.start = np.array([scale, 0, 0, 0] if self.is_similarity else [scale, 0, 0, scale, 0, 0], float)
        self.bounds = np.full((2, len(self.start)), [[-np.inf], [np.inf]])
        if line["scale_bounds"]:
            self.bounds[:, 0] = np.array(line["scale_bounds"]) * unit
        self.matrix = np.zeros((2 * self.n, len(self.start)))
        self.matrix[: self.n, -2] = self.weight
        self.matrix[self.n :, -1] = self.weight
        if not self.is_similarity:
            self.matrix[: self.n, 0] = self.matrix[self.n :, 2] = self.weight * self.x
            self.matrix[: self.n, 1] = self.matrix[self.n :, 3] = self.weight * self.y

    def residuals(self, p):
        if self.is_similarity:
            c, s = p[0] * np.cos(p[1]), p[0] * np.sin(p[1])
            a, b, d, e = c, -s, s, c
        else:
            a, b, d, e = p[:4]
        out = np.empty(2 * self.n)
        out[: self.n] = (a * self.x + b * self.y + p[-2] - self.u) * self.weight
        out[self.n :] = (d * self.x + e * self.y + p[-1] - self.v) * self.weight
        return out

    def jacobian(self, p):
        if self.is_similarity:
            c, s = self.weight * np.cos(p[1]), self.weight * np.sin(p[1])
            along, across = c * self.x - s * self.y, s * self.x + c * self.y
            self.matrix[: self.n, 0], self.matrix[self.n :, 0] = along, across
            self.matrix[: self.n, 1], self.matrix[self.n :, 1] = -p[0] * across, p[0] * along
        return self.matrix

    def cost_and_gradient(self, p):
        residuals = self.residuals(p)
        return residuals @ residuals / 2, residuals @ self.jacobian(p)

    def is_free(self):
        return not np.isfinite(self.bounds).any()

    def lm(self):
        return least_squares(
            self.residuals, self.start, self.jacobian, method="lm", ftol=COST, xtol=STEP, gtol=GRADIENT_LM
        ).cost

    def trf(self):
        start = np.clip(self.start, *self.bounds)
        # it wants a start inside
        inside = np.clip(start, *(self.bounds + np.array([[1e-9], [-1e-9]])))
        return least_squares(
            self.residuals,
            inside,
            self.jacobian,
            bounds=self.bounds,
            method="trf",
            x_scale="jac",
            ftol=COST,
            xtol=STEP,
            gtol=GRADIENT_LM,
        ).cost

    def lbfgsb(self):
        return minimize(
            self.cost_and_gradient,
            self.start,
            jac=True,
            method="L-BFGS-B",
            bounds=None if self.is_free() else self.bounds.T,
            options={"ftol": COST, "gtol": GRADIENT_LBFGSB, "maxcor": 10},
        ).fun


def time_us(run):
    """Least microseconds of a run, over batches of 50 ms at least."""
    run()
    begin = time.perf_counter()
    run()
    n_runs = max(1, int(0.05 / (time.perf_counter() - begin)))
    least = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(n_runs):
            run()
        least = min(least, (time.perf_counter() - begin) / n_runs)
    return 1e6 * least


def main():
    program = sys.argv[1]
    best = {}
    for _ in range(N_ROUNDS):
        ended = subprocess.run([program], check=True, capture_output=True, text=True)
        for line in map(json.loads, ended.stdout.splitlines()):
            problem = Problem(line)
            key = (line["n_pairs"], line["model"], line["box"])
            peers = {"lm": [problem.trf], "lbfgsb": [problem.lbfgsb]}
            if problem.is_free():
                peers["lm"].insert(0, problem.lm)
            for solver, runs in peers.items():
                own = line[solver]
                for run in runs:
                    entry = best.setdefault((*key, solver, run.__name__), [np.inf, np.inf, 0.0])
                    gap = abs(run() / own["cost"] - 1)
                    found = [own["time_us"], time_us(run)]
                    entry[:2] = np.minimum(entry[:2], found)
                    entry[2] = max(entry[2], gap)
    print(f"scipy {scipy.__version__}, numpy {np.__version__}; least of {N_ROUNDS} rounds in turn, wall time")
    print("| pairs | model | box | optimizer | us | scipy | us | times | cost differs by |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for (n_pairs, model, box, solver, peer), (own, other, gap) in best.items():
        worst = max(worst, gap)
        print(f"| {n_pairs} | {model} | {box} | {solver} | {own:.1f} | {peer} | {other:.0f} | {other / own:.1f} | {gap:.0e} |")
    return 0 if worst <= COST_TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
