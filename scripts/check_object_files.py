#!/usr/bin/env python3
"""Reads back, with other people's programs, what scopewatch writes beside its tables of objects.

    check_object_files.py NAME.objects.csv...

A Parquet table NAME.objects.parquet must hold what the CSV holds, cell by cell, with the right types. Needs
pyarrow. Ends with 1 where something differs.
"""
import csv
import sys
from pathlib import Path

import pyarrow.parquet

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


def main(tables):
    if not tables:
        sys.exit(__doc__)
    faults = []
    for table in map(Path, tables):
        if table.with_suffix(".parquet").exists():
            faults += check_parquet(table)
    print("\n".join(faults) if faults else "all as it should be")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
