"""``python -m examples.research.stand_in`` stands in for a model on 127.0.0.1:8000, so that the example needs none."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Heard = Callable[[str, str, str], None]
"""Called with role, text and key of each request, before it is answered."""


def said(role: str, text: str) -> str:
    if role.startswith("Give the headings"):
        return "\n".join(
            f"{text}: {part}" for part in ("what it is", "where it grows", "how it is made", "who drinks it")
        )
    return f"All that is known about {text}."


def server(port: int, heard: Heard = lambda role, text, key: None) -> ThreadingHTTPServer:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            role, text = (
                one["content"] for one in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            )
            heard(role, text, self.headers["Idempotency-Key"])
            body = json.dumps({"choices": [{"message": {"role": "assistant", "content": said(role, text)}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nothing: the terminal is the reader's."""

    return ThreadingHTTPServer(("127.0.0.1", port), Answers)


if __name__ == "__main__":
    with server(8000) as running:
        running.serve_forever()
