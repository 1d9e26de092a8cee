#!/usr/bin/env python3
"""Draws what `scripts/torture.sh --table FILE soak` wrote, and says how it changes with time.

    scripts/plot_soak.py TABLE.csv PICTURE.svg [--skip SECONDS]

Needs numpy and matplotlib. Slopes are by least squares over the samples after SECONDS (default 300), with 95 % intervals that
take neighbouring samples for dependent (Newey and West, Econometrica 55(3) 703-708, 1987).
"""
import argparse

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

COLUMNS = [("rss_mb", "resident memory, MB", 1.0), ("descriptors", "open file descriptors", 1.0), ("wal_bytes", "write-ahead log, MB", 1 / 2**20)]


def slope(time_s, values):
    """Slope per hour and half of its 95 % interval."""
    design = np.stack([np.ones_like(time_s), time_s / 3600], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    fit = inverse @ design.T @ values
    scores = design * (values - design @ fit)[:, None]
    n_lags = int(4 * (len(values) / 100) ** (2 / 9)) + 1
    middle = scores.T @ scores
    for lag in range(1, n_lags + 1):
        cross = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (n_lags + 1)) * (cross + cross.T)
    return fit[1], 1.96 * np.sqrt((inverse @ middle @ inverse)[1, 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("picture")
    parser.add_argument("--skip", type=float, default=300, metavar="SECONDS")
    given = parser.parse_args()
    table = np.genfromtxt(given.table, delimiter=",", names=True)
    is_late = table["seconds"] >= given.skip
    figure, axes = plt.subplots(4, 1, sharex=True, figsize=(8, 9), constrained_layout=True)
    axes[0].plot(table["seconds"] / 60, table["files"], color="black")
    axes[0].set_ylabel("files done")
    print(f"{table['files'][-1]:.0f} files in {table['seconds'][-1]:.0f} s, {len(table)} samples")
    for axis, (name, label, unit) in zip(axes[1:], COLUMNS):
        values = table[name] * unit
        axis.plot(table["seconds"] / 60, values, color="black", linewidth=0.8)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        per_hour, half = slope(table["seconds"][is_late], values[is_late])
        print(f"{label}: {values[is_late].mean():.1f} on average, at most {values.max():.1f}; slope {per_hour:+.2f} +- {half:.2f} an hour")
    axes[-1].set_xlabel("minutes")
    figure.savefig(given.picture)


if __name__ == "__main__":
    main()
