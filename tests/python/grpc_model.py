"""A model server that speaks KServe's gRPC method ModelInfer, without the protobuf of it: messages are opaque bytes.

It answers with the message that it got. What else a call does depends on its metadata alone:

    x-status: 3             the gRPC status it ends with (default 0)
    x-when: after-message   the status comes in trailers, after a message was sent
            trailers-only   the status comes at once, in headers that also end the response
    x-delay-ms: 300         how long it thinks first

    python grpc_model.py 127.0.0.1:8081 calls.log

It writes one line per call, `METHOD STATUS`, to the file.
"""

import sys
import time
from concurrent import futures

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"
STATUSES = {code.value[0]: code for code in grpc.StatusCode}


class ModelServer(grpc.GenericRpcHandler):
    def __init__(self, log):
        self.log = log

    def service(self, details):
        if details.method != METHOD:
            return None
        # Streaming the response is what lets the handler send a message first and fail afterwards.
        return grpc.unary_stream_rpc_method_handler(self.infer)

    def infer(self, request, context):
        metadata = dict(context.invocation_metadata())
        status = int(metadata.get("x-status", "0"))
        time.sleep(int(metadata.get("x-delay-ms", "0")) / 1000)
        print(METHOD, status, file=self.log, flush=True)
        if metadata.get("x-when", "after-message") == "after-message":
            yield request
        if status != 0:
            context.abort(STATUSES[status], f"asked for status {status}")


def main():
    address, log = sys.argv[1:]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers([ModelServer(open(log, "a", encoding="utf-8"))])
    if server.add_insecure_port(address) == 0:
        sys.exit(f"cannot listen on {address}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
