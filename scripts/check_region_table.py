#!/usr/bin/env python3
"""Compares scopewatch's region tables with scikit-image's regionprops_table on the same labels and intensities.

    check_region_table.py TABLE.csv LABELS.tif IMAGE [TABLE.csv LABELS.tif IMAGE]...
    check_region_table.py --random PROGRAM [--regions 1000] [--seed 1]
    check_region_table.py --make DIR [--regions 1000] [--seed 1]
    check_region_table.py --compare DIR

Needs numpy, pandas, tifffile, Pillow and scikit-image (0.26 was used). `--make` writes images of random regions (blobs,
ellipses, thin lines, walks, rings, specks, rectangles, single pixels; holes, borders of the image, neighbours that touch
or hide a part; 8 and 16 bits, signed, float) as NAME.image.tif and NAME.labels.tif; `--compare` expects NAME.table.csv
beside them, as the example `measure_regions` writes it; `--random` does all in turn, PROGRAM being that example:

    cargo build --release --example measure_regions
    scripts/check_region_table.py --random target/release/examples/measure_regions

Prints the maximal relative difference of each column, |ours - theirs| / |theirs|, over all regions, and ends with 1 where
one exceeds 1e-9 or a cell is empty on one side only. Where a figure is 0 by definition, what rounding leaves of it has no
relative difference, so: a value of theirs below 1e-6 (1e-3 for the eccentricity, a square root of such a difference) is
compared as it is, in pixels; angles are compared modulo pi in radians, and not where the axes are equal within 1e-6. Float
images are widened to 64 bits first: scikit-image sums in the type of the image.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import tifffile
from PIL import Image
from skimage.measure import regionprops_table

COLUMNS = """label area centroid centroid_weighted bbox axis_major_length axis_minor_length eccentricity orientation
solidity extent perimeter equivalent_diameter_area intensity_mean intensity_min intensity_max intensity_std
intensity_median""".split()
LIMIT = 1e-9
# what rounding leaves of a zero
NEAR_ZERO = 1e-6
# the eccentricity of a circle: the root of a rounding error, compared squared
ECCENTRICITY_NEAR_ZERO = 1e-3
PER_IMAGE = 25


def read_image(path):
    path = str(path)
    if path.endswith((".tif", ".tiff")):
        return np.squeeze(tifffile.imread(path))
    image = Image.open(path)
    return np.asarray(image if image.mode in ("L", "I;16", "I") else image.convert("L"))


# ---- random regions


def grid(shape, row, column):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y - row, x - column


def blob(rng, shape, row, column, radius):
    """A star-shaped outline of a few waves."""
    y, x = grid(shape, row, column)
    angle, limit = np.arctan2(y, x), np.full(shape, radius)
    for wave in range(1, 6):
        limit += radius * rng.normal(0, 0.25 / wave) * np.cos(wave * angle + rng.uniform(0, 6.3))
    return np.hypot(y, x) <= limit


def ellipse(rng, shape, row, column, radius):
    y, x = grid(shape, row, column)
    angle, flattening = rng.uniform(0, np.pi), rng.uniform(1, 4)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.hypot(along, across * flattening) <= radius


def rectangle(rng, shape, row, column, radius):
    y, x = grid(shape, row, column)
    return (np.abs(y) <= rng.uniform(0, radius)) & (np.abs(x) <= rng.uniform(0, radius))


def line(rng, shape, row, column, radius):
    """One or two pixels wide; parts may touch by their corners only."""
    mask, angle = np.zeros(shape, bool), rng.choice([0, np.pi / 4, np.pi / 2, rng.uniform(0, np.pi)])
    step = np.arange(-radius, radius)
    dots(mask, row + np.rint(step * np.sin(angle)), column + np.rint(step * np.cos(angle)))
    if rng.random() < 0.4:
        mask[:, 1:] |= mask[:, :-1].copy()
    return mask


def walk(rng, shape, row, column, radius):
    mask, steps = np.zeros(shape, bool), rng.integers(-1, 2, (int(radius * radius), 2)).cumsum(0)
    dots(mask, row + steps[:, 0], column + steps[:, 1])
    return mask


def specks(rng, shape, row, column, radius):
    """Pixels at random, mostly not connected."""
    return (np.hypot(*grid(shape, row, column)) <= radius) & (rng.random(shape) < rng.uniform(0.1, 0.9))


def ring(rng, shape, row, column, radius):
    """A blob with holes."""
    mask = blob(rng, shape, row, column, radius)
    for _ in range(rng.integers(1, 4)):
        at = row + rng.normal(0, radius / 3), column + rng.normal(0, radius / 3)
        mask &= ~blob(rng, shape, *at, radius * rng.uniform(0.1, 0.5))
    return mask


def few(rng, shape, row, column, radius):
    """One to three pixels."""
    mask, n = np.zeros(shape, bool), rng.integers(1, 4)
    dots(mask, row + rng.integers(0, 2, n), column + rng.integers(0, 2, n))
    return mask


def dots(mask, rows, columns):
    rows, columns = np.asarray(rows).astype(int), np.asarray(columns).astype(int)
    inside = (rows >= 0) & (columns >= 0) & (rows < mask.shape[0]) & (columns < mask.shape[1])
    mask[rows[inside], columns[inside]] = True


KINDS = [blob, ellipse, rectangle, line, walk, specks, ring, few]


def intensities(rng, number, shape):
    """An image of the number's type: a slope, spots and noise; one image of zeros."""
    y, x = grid(shape, 0, 0)
    field = 0.3 + 0.3 * np.sin(0.2 * x + rng.uniform(0, 6)) * np.cos(0.17 * y) + 0.002 * x + rng.normal(0, 0.1, shape)
    field = np.clip(field, 0, 1)
    types = [
        lambda: np.rint(field * 255).astype(np.uint8),
        lambda: np.rint(100 + field * 3900).astype(np.uint16),
        lambda: np.rint(field * 65535).astype(np.uint16),
        lambda: field.astype(np.float32),
        lambda: (field * 1e6 + 1e5).astype(np.float32),
        lambda: field * 1e-12,
        lambda: np.rint(field * 9000 - 12000).astype(np.int16),
        lambda: (rng.random(shape) * (rng.random(shape) < 0.02) * 255).astype(np.uint8),
        lambda: np.rint(field * 4e9).astype(np.uint32),
    ]
    return np.zeros(shape, np.uint16) if number == 3 else types[number % len(types)]()


def random_labels(rng):
    """About `PER_IMAGE` regions; later ones hide parts of earlier ones."""
    side = int(np.sqrt(PER_IMAGE))
    cell = rng.integers(20, 60)
    shape = tuple(side * cell + rng.integers(0, 9, 2))
    labels = np.zeros(shape, np.int64)
    reach = rng.uniform(0.35, 0.9)
    for index in range(PER_IMAGE):
        at = (np.array(divmod(index, side)) + rng.uniform(0, 1, 2)) * cell
        if rng.random() < 0.15:
            # on the border of the image
            axis = rng.integers(2)
            at[axis] = rng.choice([0, shape[axis] - 1])
        mask = KINDS[rng.integers(len(KINDS))](rng, shape, *np.rint(at), rng.uniform(1, reach * cell))
        labels[mask] = index + 1
    return np.unique(labels, return_inverse=True)[1].reshape(shape)


def make(folder, n_regions, seed):
    """Writes images until exactly `n_regions` have been drawn."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    n, number = 0, 0
    while n < n_regions:
        labels = random_labels(rng)
        labels[labels > n_regions - n] = 0
        n += len(np.unique(labels[labels > 0]))
        tifffile.imwrite(folder / f"{number:03}.labels.tif", labels.astype(np.uint16))
        tifffile.imwrite(folder / f"{number:03}.image.tif", intensities(rng, number, labels.shape))
        number += 1
    print(f"{n} random regions on {number} images, seed {seed}")


# ---- comparison


def differences(name, a, b):
    """Of one column: ours, theirs."""
    difference = np.abs(a - b)
    difference[np.isnan(a) & np.isnan(b)] = 0
    difference[np.isnan(a) != np.isnan(b)] = np.inf
    if name == "eccentricity":
        small = (a < ECCENTRICITY_NEAR_ZERO) & (b < ECCENTRICITY_NEAR_ZERO)
        difference[small] = np.abs(a**2 - b**2)[small]
        return difference / np.where(small, 1, np.abs(b))
    return difference / np.where(np.abs(b) < NEAR_ZERO * relative_scale(name, b), 1, np.where(b == 0, 1, np.abs(b)))


def relative_scale(name, b):
    """Intensities have any scale: for them only an exact 0 is one."""
    return 0.0 if name.startswith("intensity") else 1.0


def compare(table, labels, image):
    ours = pd.read_csv(table)
    if image.dtype.kind == "f":
        image = image.astype(float)
    with np.errstate(all="ignore"):
        theirs = pd.DataFrame(regionprops_table(labels.astype(np.int64), image, properties=COLUMNS))
    if len(ours) != len(theirs):
        sys.exit(f"{table}: {len(ours)} objects, scikit-image has {len(theirs)}")
    result = {}
    for name in theirs.columns:
        a, b = ours[name].to_numpy(float), theirs[name].to_numpy(float)
        if name == "orientation":
            turn = np.abs(a - b)
            turn = np.minimum(turn, np.pi - turn)
            major, minor = theirs.axis_major_length, theirs.axis_minor_length
            difference = turn[(major - minor > 1e-6 * major).to_numpy()]
        else:
            difference = differences(name, a, b)
        result[name] = difference.max(initial=0)
    edge = np.zeros(labels.max() + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        edge[side] = True
    marked = ours.touches_border.astype(str).str.lower().eq("true").to_numpy()
    result["touches_border"] = float((marked != edge[ours.label.to_numpy()]).sum())
    return result, len(ours)


def compare_all(triples):
    worst, n_objects = {}, 0
    for table, labels, image in triples:
        result, n = compare(table, read_image(labels).astype(np.int64), read_image(image))
        n_objects += n
        for name, value in result.items():
            worst[name] = max(worst.get(name, 0), value)
    for name, value in worst.items():
        print(f"{name:26s} {value:.3g}")
    print(f"{n_objects} objects, largest difference {max(worst.values()):.3g}")
    return int(max(worst.values()) > LIMIT)


def compare_folder(folder):
    labels = sorted(folder.glob("*.labels.tif"))
    if not labels:
        sys.exit(f"{folder}: no *.labels.tif")
    beside = lambda path, what: path.with_name(path.name.replace(".labels.tif", what))
    return compare_all([(beside(path, ".table.csv"), path, beside(path, ".image.tif")) for path in labels])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="TABLE.csv LABELS.tif IMAGE")
    parser.add_argument("--random", metavar="PROGRAM")
    parser.add_argument("--make", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--compare", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--regions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.regions, arguments.seed)
        return 0
    if arguments.compare:
        return compare_folder(arguments.compare)
    if arguments.random:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            make(folder, arguments.regions, arguments.seed)
            subprocess.run([arguments.random, folder], check=True)
            return compare_folder(folder)
    if not arguments.files or len(arguments.files) % 3:
        parser.error("expected TABLE.csv LABELS.tif IMAGE, one or several times")
    return compare_all(zip(*[iter(arguments.files)] * 3))


if __name__ == "__main__":
    sys.exit(main())
