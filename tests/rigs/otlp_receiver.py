#!/usr/bin/env python3
"""An OTLP receiver for end-to-end tests, made from OpenTelemetry's own Python packages and nothing of Wellhead's.

    pip install opentelemetry-proto grpcio
    otlp_receiver.py FILE [--host ADDRESS] [--grpc PORT] [--http PORT] [--tls CERT KEY]

Listens on 127.0.0.1 unless told otherwise; port 0 lets the kernel choose. The first line on standard output names both ports:

    grpc=PORT http=PORT

Every request that arrives is appended to FILE as one line of JSON before it is answered:

    {"kind": "metrics", "transport": "grpc", "headers": {...}, "bytes": N,
     "schema_urls": [...], "scopes": [...], "resources": N, "empty_envelopes": 0,
     "volumes": [{"service": ..., "bytes": N, "items": N}],
     "points": [{"resource": {...}, "name": ..., "type": "sum", ...}]}
    {"kind": "traces", ..., "spans": [{"resource": {...}, "name": ..., "kind": "INTERNAL", ...}]}
    {"kind": "logs", ..., "records": [{"resource": {...}, "event_name": ..., "severity": "INFO", ...}]}

A line of JSON on standard input says how a later request of a kind is answered instead of with success, one request each, in
order; it is confirmed by an empty line on standard output:

    {"kind": "traces", "status": 503, "headers": {"retry-after": "1"}, "body": "HEX"}       over HTTP
    {"kind": "traces", "code": "UNAVAILABLE", "details": "HEX"}                             over gRPC
    {"kind": "traces", "rejected": 3, "message": "..."}                                     over either: a partial success

The request's line in FILE then has it as "answer".

Stops on SIGTERM or SIGINT.
"""

import argparse
import collections
import gzip
import http.server
import json
import signal
import ssl
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

TEMPORALITIES = {
    metrics_pb2.AGGREGATION_TEMPORALITY_UNSPECIFIED: "unspecified",
    metrics_pb2.AGGREGATION_TEMPORALITY_DELTA: "delta",
    metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
}
PROTOBUF = "application/x-protobuf"


class Journal:
    """The file of received requests, and how the next ones are answered."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()
        self.answers = collections.defaultdict(collections.deque)

    def append(self, record):
        """Returns how to answer it."""
        with self.lock:
            answers = self.answers[record["kind"]]
            answer = answers.popleft() if answers else {}
            if answer:
                record["answer"] = answer
            self.file.write(json.dumps(record, separators=(",", ":")) + "\n")
            self.file.flush()
        return answer

    def take_answers(self):
        for line in sys.stdin:
            answer = json.loads(line)
            with self.lock:
                self.answers[answer["kind"]].append(answer)
            print(flush=True)


def success(response_type, answer):
    """What went well, but for what a partial success says."""
    response = response_type()
    if "rejected" in answer:
        name = next(field.name for field in response.partial_success.DESCRIPTOR.fields if field.name.startswith("rejected"))
        setattr(response.partial_success, name, answer["rejected"])
        response.partial_success.error_message = answer["message"]
    return response


def any_value(value):
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [any_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if which == "bytes_value":
        return {"bytes": value.bytes_value.hex()}
    return getattr(value, which)


def attributes(pairs):
    result = {}
    for pair in pairs:
        if pair.key in result:
            raise ValueError(f"attribute {pair.key!r} occurs twice")
        result[pair.key] = any_value(pair.value)
    return result


def exemplar(found):
    return {
        "trace_id": found.trace_id.hex(),
        "span_id": found.span_id.hex(),
        "time_unix_nano": found.time_unix_nano,
        "value": getattr(found, found.WhichOneof("value")),
    }


def point(found, data):
    result = {
        "attributes": attributes(found.attributes),
        "start_time_unix_nano": found.start_time_unix_nano,
        "time_unix_nano": found.time_unix_nano,
        "flags": found.flags,
    }
    if isinstance(found, metrics_pb2.NumberDataPoint):
        which = found.WhichOneof("value")
        result["value_type"] = {"as_int": "int", "as_double": "double", None: None}[which]
        result["value"] = getattr(found, which) if which else None
    elif isinstance(found, metrics_pb2.HistogramDataPoint):
        result["count"] = found.count
        result["sum"] = found.sum if found.HasField("sum") else None
        result["bounds"] = list(found.explicit_bounds)
        result["buckets"] = list(found.bucket_counts)
    elif isinstance(found, metrics_pb2.ExponentialHistogramDataPoint):
        result["count"] = found.count
        result["sum"] = found.sum if found.HasField("sum") else None
        result["scale"] = found.scale
        result["zero_count"] = found.zero_count
        result["offset"] = found.positive.offset
        result["buckets"] = list(found.positive.bucket_counts)
        result["negative"] = list(found.negative.bucket_counts)
    result["exemplars"] = [exemplar(each) for each in found.exemplars]
    if hasattr(data, "aggregation_temporality"):
        result["temporality"] = TEMPORALITIES[data.aggregation_temporality]
    if hasattr(data, "is_monotonic"):
        result["monotonic"] = data.is_monotonic
    return result


def points(request):
    for resource_metrics in request.resource_metrics:
        resource = attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                which = metric.WhichOneof("data")
                head = {
                    "resource": resource,
                    "scope": scope_metrics.scope.name,
                    "name": metric.name,
                    "unit": metric.unit,
                    "description": metric.description,
                    "type": which,
                }
                data = getattr(metric, which)
                for found in data.data_points:
                    yield {**head, **point(found, data)}


def spans(request):
    for resource_spans in request.resource_spans:
        resource = attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "resource": resource,
                    "scope": scope_spans.scope.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "start_time_unix_nano": span.start_time_unix_nano,
                    "end_time_unix_nano": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "status": {
                        "code": trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                        "message": span.status.message,
                    },
                    "trace_state": span.trace_state,
                    "events": [
                        {
                            "name": event.name,
                            "time_unix_nano": event.time_unix_nano,
                            "attributes": attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                }


def records(request):
    for resource_logs in request.resource_logs:
        resource = attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                number = logs_pb2.SeverityNumber.Name(record.severity_number)
                yield {
                    "resource": resource,
                    "scope": scope_logs.scope.name,
                    "event_name": record.event_name,
                    "severity": number.removeprefix("SEVERITY_NUMBER_"),
                    "severity_text": record.severity_text,
                    "time_unix_nano": record.time_unix_nano,
                    "observed_time_unix_nano": record.observed_time_unix_nano,
                    "body": any_value(record.body),
                    "attributes": attributes(record.attributes),
                }


def envelopes(resources, scopes_of):
    """Schema URLs and scopes in use, how many envelopes of Resources there are, and how many hold nothing."""
    schema_urls, scopes, empty, volumes = set(), set(), 0, []
    for resource in resources:
        schema_urls.add(resource.schema_url)
        inner = scopes_of(resource)
        empty += not inner
        name = attributes(resource.resource.attributes).get("service.name")
        volume = {"service": name, "bytes": resource.ByteSize(), "items": 0}
        volumes.append(volume)
        for scope in inner:
            schema_urls.add(scope.schema_url)
            scopes.add(f"{scope.scope.name}@{scope.scope.version}")
            kinds = ("metrics", "spans", "log_records")
            items = sum(len(getattr(scope, kind, ())) for kind in kinds)
            volume["items"] += items
            empty += not items
    return {
        "schema_urls": sorted(schema_urls),
        "scopes": sorted(scopes),
        "resources": len(resources),
        "empty_envelopes": empty,
        "volumes": volumes,
    }


def metrics_record(request):
    outer = envelopes(request.resource_metrics, lambda resource: resource.scope_metrics)
    return {"kind": "metrics", "bytes": request.ByteSize(), **outer, "points": list(points(request))}


def traces_record(request):
    outer = envelopes(request.resource_spans, lambda resource: resource.scope_spans)
    return {"kind": "traces", "bytes": request.ByteSize(), **outer, "spans": list(spans(request))}


def logs_record(request):
    outer = envelopes(request.resource_logs, lambda resource: resource.scope_logs)
    return {"kind": "logs", "bytes": request.ByteSize(), **outer, "records": list(records(request))}


def grpc_origin(context):
    headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    return {"transport": "grpc", "headers": headers}


def grpc_answer(context, response_type, answer):
    if "code" in answer:
        details = bytes.fromhex(answer.get("details", ""))
        if details:
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(grpc.StatusCode[answer["code"]], "as the test says")
    return success(response_type, answer)


class MetricsService(metrics_grpc.MetricsServiceServicer):
    def __init__(self, journal):
        self.journal = journal

    def Export(self, request, context):
        answer = self.journal.append({**grpc_origin(context), **metrics_record(request)})
        return grpc_answer(context, metrics_service.ExportMetricsServiceResponse, answer)


class TraceService(trace_grpc.TraceServiceServicer):
    def __init__(self, journal):
        self.journal = journal

    def Export(self, request, context):
        answer = self.journal.append({**grpc_origin(context), **traces_record(request)})
        return grpc_answer(context, trace_service.ExportTraceServiceResponse, answer)


class LogsService(logs_grpc.LogsServiceServicer):
    def __init__(self, journal):
        self.journal = journal

    def Export(self, request, context):
        answer = self.journal.append({**grpc_origin(context), **logs_record(request)})
        return grpc_answer(context, logs_service.ExportLogsServiceResponse, answer)


def serve_grpc(host, port, journal, tls_files):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    metrics_grpc.add_MetricsServiceServicer_to_server(MetricsService(journal), server)
    trace_grpc.add_TraceServiceServicer_to_server(TraceService(journal), server)
    logs_grpc.add_LogsServiceServicer_to_server(LogsService(journal), server)
    address = f"{host}:{port}"
    if tls_files:
        cert, key = (open(path, "rb").read() for path in tls_files)
        bound = server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
    else:
        bound = server.add_insecure_port(address)
    if bound == 0:
        sys.exit(f"cannot listen on {address}")
    server.start()
    return server, bound


HTTP_PATHS = {
    "/v1/metrics": (
        metrics_service.ExportMetricsServiceRequest,
        metrics_record,
        metrics_service.ExportMetricsServiceResponse,
    ),
    "/v1/traces": (
        trace_service.ExportTraceServiceRequest,
        traces_record,
        trace_service.ExportTraceServiceResponse,
    ),
    "/v1/logs": (
        logs_service.ExportLogsServiceRequest,
        logs_record,
        logs_service.ExportLogsServiceResponse,
    ),
}


def http_handler(journal):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path not in HTTP_PATHS:
                return self.answer(404)
            if self.headers.get("content-type") != PROTOBUF:
                return self.answer(415)
            request_type, record, response_type = HTTP_PATHS[self.path]
            try:
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = request_type.FromString(body)
                content = record(request)
            except (OSError, EOFError, DecodeError, ValueError) as error:
                print(f"bad request: {error}", file=sys.stderr)
                return self.answer(400)
            headers = {key.lower(): value for key, value in self.headers.items()}
            answer = journal.append({"transport": "http", "headers": headers, **content})
            if "status" in answer:
                return self.answer(answer["status"], bytes.fromhex(answer.get("body", "")), answer.get("headers", {}))
            return self.answer(200, success(response_type, answer).SerializeToString())

        def answer(self, status, body=b"", headers={}):
            self.send_response(status)
            self.send_header("content-type", PROTOBUF)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def serve_http(host, port, journal, tls_files):
    server = http.server.ThreadingHTTPServer((host, port), http_handler(journal))
    if tls_files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls_files)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


def main():
    parser = argparse.ArgumentParser(description="An OTLP receiver that writes what it receives as JSON lines.")
    parser.add_argument("file", help="received requests are appended here")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1")
    parser.add_argument("--grpc", type=int, default=0, metavar="PORT", help="default: any free port")
    parser.add_argument("--http", type=int, default=0, metavar="PORT", help="default: any free port")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="PEM files; both ports then speak TLS")
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    journal = Journal(options.file)
    grpc_server, grpc_port = serve_grpc(options.host, options.grpc, journal, options.tls)
    http_server, http_port = serve_http(options.host, options.http, journal, options.tls)
    print(f"grpc={grpc_port} http={http_port}", flush=True)
    threading.Thread(target=journal.take_answers, daemon=True).start()
    stop.wait()
    http_server.shutdown()
    grpc_server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
