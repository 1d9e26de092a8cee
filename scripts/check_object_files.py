#!/usr/bin/env python3
"""Reads back, with other people's programs, what scopewatch writes beside its tables of objects.

    check_object_files.py NAME.objects.csv...

A Parquet table NAME.objects.parquet must hold what the CSV holds, cell by cell, with the right types. Outlines
NAME.objects.geojson (of files of one plane) must be valid polygons, and filled by the pixels' centres they must give the
label image NAME.labels.tif. Needs pyarrow, numpy, tifffile and shapely. Ends with 1 where something differs.
"""
import csv
import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pyarrow.parquet
import shapely
import tifffile

TEXTS = set("file plate run cycle well site channel".split())
WHOLE = set("t z label area bbox-0 bbox-1 bbox-2 bbox-3".split())


def expected_type(name):
    if name in TEXTS:
        return "string"
    return "int64" if name in WHOLE else "bool" if name == "touches_border" else "double"


def value(name, cell):
    """A CSV cell as Parquet has to hold it."""
    kind = expected_type(name)
    cell = cell[1:] if cell.startswith("'") else cell
    if cell == "":
        return None
    return {"string": str, "int64": int, "double": float, "bool": lambda text: text == "true"}[kind](cell)


def check_parquet(table):
    path = table.with_suffix(".parquet")
    parquet = pyarrow.parquet.read_table(path)
    with open(table, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if parquet.column_names != header or parquet.num_rows != len(rows):
        return [f"{path}: other columns or another number of rows"]
    faults = [
        f"{path}: {field.name} is {field.type}" for field in parquet.schema if field.type != expected_type(field.name)
    ]
    for name, column in zip(header, zip(*rows)):
        if parquet.column(name).to_pylist() != [value(name, cell) for cell in column]:
            faults.append(f"{path}: {name} differs")
    print(f"{path}: {len(rows)} rows, {len(header)} columns")
    return faults


def check_outlines(table):
    path = table.with_suffix(".geojson")
    labels = tifffile.imread(str(table).removesuffix(".objects.csv") + ".labels.tif").squeeze()
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    drawn = np.zeros_like(labels)
    faults = []
    for feature in features:
        label = feature["properties"]["measurements"]["label"]
        shape = shapely.geometry.shape(feature["geometry"])
        if not shape.is_valid:
            faults.append(f"{path}: object {label}: {shapely.is_valid_reason(shape)}")
        if feature["properties"]["objectType"] != "detection" or set(feature["geometry"]["plane"]) != set("czt"):
            faults.append(f"{path}: object {label} is no detection on a plane")
        left, top, right, bottom = map(int, shape.bounds)
        y, x = np.mgrid[top:bottom, left:right]
        inside = shapely.contains_xy(shape, x + 0.5, y + 0.5)
        drawn[top:bottom, left:right][inside] = label
        if shape.area != inside.sum():
            faults.append(f"{path}: object {label} has another area than its pixels")
    if len({uuid.UUID(feature["id"]) for feature in features}) != len(features):
        faults.append(f"{path}: an identifier comes twice")
    if not np.array_equal(drawn, labels):
        faults.append(f"{path}: the outlines do not draw the label image")
    print(f"{path}: {len(features)} objects")
    return faults


def main(tables):
    if not tables:
        sys.exit(__doc__)
    faults = []
    for table in map(Path, tables):
        if table.with_suffix(".parquet").exists():
            faults += check_parquet(table)
        if table.with_suffix(".geojson").exists():
            faults += check_outlines(table)
    print("\n".join(faults) if faults else "all as it should be")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
