"""uvicorn's fast HTTP/1.1 protocol, with a limit for a request's line and headers.

uvicorn loads it by name (`--http datanika_stack.http_protocol:BoundedHttpProtocol`). httptools itself
collects headers without end; uvicorn's other parser, h11, has a limit, and costs as much as the rest of
a short request.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAXIMUM_HEAD_BYTES: Final = 32_768


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 to a request whose headers do not end in time, and closes the connection.

    What one read of the socket brings whole (256 KiB at most) still passes.
    """

    _head_bytes = 0
    _is_in_head = True

    def data_received(self, data: bytes) -> None:
        """Reads on, unless too much of a head has come already."""
        super().data_received(data)
        if not self._is_in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAXIMUM_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        """Begins to count."""
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Stops to count: bodies have a limit of their own, in the application."""
        self._is_in_head = False
        super().on_headers_complete()
