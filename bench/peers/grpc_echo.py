"""An echo by grpcio, a unary call of plain bytes: `grpc_echo.py SOCKET`."""

import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details):  # noqa: ARG002
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Echo()])
server.add_insecure_port(f"unix:{sys.argv[1]}")
server.start()
server.wait_for_termination()
