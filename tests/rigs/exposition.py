#!/usr/bin/env python3
"""Reads a page of /metrics with Prometheus' own Python library and writes its samples as JSON.

    pip install prometheus_client
    exposition.py text|openmetrics < PAGE

The output is one list of [name, labels, value]; values and the bounds of buckets are written as Python writes a float.
A page that the library does not accept ends in an error.
"""

import json
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text

PARSERS = {
    "text": text.text_string_to_metric_families,
    "openmetrics": openmetrics.text_string_to_metric_families,
}


def labels(sample):
    """The formats differ in how a whole number is written: `le="1"` and `le="1.0"`."""
    is_bucket = sample.name.endswith("_bucket") and "le" in sample.labels
    bound = {"le": repr(float(sample.labels["le"]))} if is_bucket else {}
    return {**sample.labels, **bound}


def main():
    page = sys.stdin.buffer.read().decode("utf-8")
    families = PARSERS[sys.argv[1]](page)
    samples = [
        [sample.name, labels(sample), repr(float(sample.value))] for family in families for sample in family.samples
    ]
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main()
