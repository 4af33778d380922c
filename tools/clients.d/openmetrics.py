"""Parses a text in the OpenMetrics format with the package prometheus-client and prints a JSON line for each family.

The one argument is the file. A text that the package does not accept is an error.
"""

import json
import math
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def sample_of(sample):
    # JSON has no infinity, and nothing here is infinite.
    if not math.isfinite(sample.value):
        raise ValueError(f"{sample.name}: {sample.value}")
    return {"name": sample.name, "labels": sample.labels, "value": sample.value}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    for family in text_string_to_metric_families(text):
        line = {
            "name": family.name,
            "type": family.type,
            "unit": family.unit,
            "samples": [sample_of(sample) for sample in family.samples],
        }
        print(json.dumps(line, sort_keys=True))


main()
