"""gRPC calls of every kind against the URL's authority given, trusting the authority given; says "all good" at the end."""

import queue
import sys

import grpc

target, authority = sys.argv[1:]
trust = grpc.ssl_channel_credentials(open(authority, "rb").read())
channel = grpc.secure_channel(target, trust)


def says(expected, found):
    assert expected == found, f"expected {expected!r}, found {found!r}"


# Unary, with metadata before and behind the answer, and a body of many frames.
unary = channel.unary_unary("/test.Echo/Unary")
answer, call = unary.with_call(b"x" * 3_000_000, metadata=(("x-asked", "politely"),), timeout=20)
says(3_000_000, len(answer))
says("politely", dict(call.initial_metadata())["x-early"])
says(b"\x00\xff", dict(call.trailing_metadata())["x-late-bin"])

# Both ways at once: each message is sent only when the one before has been answered.
questions = queue.Queue()
answers = channel.stream_stream("/test.Echo/Chat")(iter(questions.get, None), timeout=20)
for number in range(100):
    questions.put(f"message {number}".encode())
    says(f"MESSAGE {number}".encode(), next(answers))
questions.put(None)
says([], list(answers))
says(grpc.StatusCode.OK, answers.code())

# An error is trailers and nothing else.
try:
    channel.unary_unary("/test.Echo/Fail")(b"thing", timeout=20)
    raise AssertionError("the call did not fail")
except grpc.RpcError as error:
    says(grpc.StatusCode.NOT_FOUND, error.code())
    says("nothing called thing", error.details())
    says("because", dict(error.trailing_metadata())["x-why"])

# A call that its client cancels is cancelled at the server.
stream = channel.unary_stream("/test.Echo/Endless")(b"", timeout=20)
says([b"0", b"1", b"2"], [next(stream) for _ in range(3)])
stream.cancel()
says(b"yes", channel.unary_unary("/test.Echo/WasCancelled")(b"", timeout=20))

# A deadline ends a call.
try:
    channel.unary_unary("/test.Echo/Stall")(b"", timeout=0.3)
    raise AssertionError("the deadline was not kept")
except grpc.RpcError as error:
    says(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())

print("all good")
