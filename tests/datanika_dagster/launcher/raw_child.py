"""A job process that says exactly what its payload tells it to, proper or not."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(channel.makefile("rb").readline())
    payload = order["payload"]
    if payload.get("evidence"):
        evidence = {
            "environment": dict(os.environ),
            "arguments": sys.argv,
            "secrets": order["secrets"],
            "work_dir": sys.argv[2],
            "pid": os.getpid(),
        }
        Path(payload["evidence"]).write_text(json.dumps(evidence))
    for line in payload.get("lines", []):
        channel.sendall(line.encode() + b"\n")
    if payload.get("flood_bytes"):
        channel.sendall(b"x" * payload["flood_bytes"])
    if payload.get("leave_behind"):
        os.set_inheritable(channel.fileno(), True)
        subprocess.Popen(["sleep", "60"], close_fds=False)
    time.sleep(payload.get("sleep_seconds", 0))
    if payload.get("signal"):
        os.kill(os.getpid(), payload["signal"])
    os._exit(payload.get("exit_code", 0))


if __name__ == "__main__":
    main()
