#!/usr/bin/env python3
"""Compares scopewatch's region tables with scikit-image's regionprops_table on the same labels and intensities.

    check_region_table.py TABLE.csv LABELS.tif IMAGE [TABLE.csv LABELS.tif IMAGE]...

Needs numpy, pandas, tifffile, Pillow and scikit-image (0.26 was used). Prints the largest deviation of each column,
|ours - theirs| / max(1, |theirs|), over all tables; ends with 1 where one exceeds 1e-9. The orientation of an object
whose axes are equal within 1e-6 has no meaning and is left out; angles are compared modulo pi.
"""
import sys

import numpy as np
import pandas as pd
import tifffile
from PIL import Image
from skimage.measure import regionprops_table

COLUMNS = """label area centroid centroid_weighted bbox axis_major_length axis_minor_length eccentricity orientation
solidity extent perimeter equivalent_diameter_area intensity_mean intensity_min intensity_max intensity_std
intensity_median""".split()
LIMIT = 1e-9


def read_image(path):
    if path.endswith((".tif", ".tiff")):
        return np.squeeze(tifffile.imread(path))
    image = Image.open(path)
    return np.asarray(image if image.mode in ("L", "I;16", "I") else image.convert("L"))


def deviations(table, labels, image):
    ours = pd.read_csv(table)
    theirs = pd.DataFrame(regionprops_table(labels.astype(np.int64), image, properties=COLUMNS))
    if len(ours) != len(theirs):
        sys.exit(f"{table}: {len(ours)} objects, scikit-image has {len(theirs)}")
    result = {}
    for name in theirs.columns:
        a, b = ours[name].to_numpy(float), theirs[name].to_numpy(float)
        difference = np.abs(a - b)
        if name == "orientation":
            difference = np.minimum(difference, np.pi - difference)
            major, minor = theirs.axis_major_length, theirs.axis_minor_length
            difference = difference[(major - minor > 1e-6 * major).to_numpy()]
            b = np.ones(len(difference))
        deviation = np.where(np.isnan(difference), 0, difference) / np.maximum(1, np.abs(b))
        result[name] = deviation.max(initial=0)
    edge = np.zeros(labels.max() + 1, bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        edge[line] = True
    marked = ours.touches_border.astype(str).str.lower().eq("true").to_numpy()
    result["touches_border"] = float((marked != edge[ours.label.to_numpy()]).sum())
    return result, len(ours)


def main(arguments):
    if not arguments or len(arguments) % 3:
        sys.exit(__doc__)
    worst, n_objects = {}, 0
    for table, labels, image in zip(*[iter(arguments)] * 3):
        result, n = deviations(table, read_image(labels).astype(np.int64), read_image(image))
        n_objects += n
        for name, value in result.items():
            worst[name] = max(worst.get(name, 0), value)
    for name, value in worst.items():
        print(f"{name:26s} {value:.3g}")
    print(f"{n_objects} objects, largest deviation {max(worst.values()):.3g}")
    return int(max(worst.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
