"""A gRPC server on a port of its own choice: clear text, or TLS with the certificate and key given. Messages are bytes."""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Event()


def unary(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-early", sent.get("x-asked", "nothing")),))
    context.set_trailing_metadata((("x-late-bin", b"\x00\xff"),))
    return request


def chat(requests, context):
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing called " + request.decode())


def endless(request, context):
    context.add_callback(cancelled.set)
    count = 0
    while context.is_active():
        yield str(count).encode()
        count += 1
        if count > 2:
            cancelled.wait(10)


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(10) else b"no"


def stall(request, context):
    threading.Event().wait(5)
    return b""


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Endless": grpc.unary_stream_rpc_method_handler(endless),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    "Stall": grpc.unary_unary_rpc_method_handler(stall),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
if len(sys.argv) == 3:
    certificate, key = (open(path, "rb").read() for path in sys.argv[1:])
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on port {port}", flush=True)
server.wait_for_termination()
