"""Prints the spans of an OTLP request (a file) as JSON, one a line, as OpenTelemetry's own definitions read it."""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


with open(sys.argv[1], "rb") as file:
    request = ExportTraceServiceRequest.FromString(file.read())
for of_resource in request.resource_spans:
    for of_scope in of_resource.scope_spans:
        for span in of_scope.spans:
            told = {
                "resource": attributes(of_resource.resource.attributes),
                "scope": of_scope.scope.name,
                "trace": span.trace_id.hex(),
                "span": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "name": span.name,
                "kind": span.kind,
                "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano,
                "attributes": attributes(span.attributes),
                "events": [event.name for event in span.events],
                "details": [attributes(event.attributes) for event in span.events],
                "status": span.status.code,
                "flags": span.flags,
            }
            print(json.dumps(told))
