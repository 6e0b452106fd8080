"""Reads a scrape with the parser of Prometheus's own client, which is strict; prints name and type of each metric."""

import sys

from prometheus_client.openmetrics.parser import text_fd_to_metric_families

with open(sys.argv[1]) as scrape:
    for family in text_fd_to_metric_families(scrape):
        print(family.name, family.type)
