#!/usr/bin/env python3
# hostile: takes each request, announces a whole answer, sends half of it and closes the connection.
import json

from base import Handler, Node, arguments


class Half(Handler):
    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])


Node(arguments()).serve(Half)
