"""Stands where a task's process stands and does what its payload says: answer, crash, or hang."""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    request = json.load(sys.stdin)
    payload = request["payload"]
    if "child_pid_file" in payload:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with open(payload["child_pid_file"], "w") as file:  # noqa: PTH123
            file.write(str(child.pid))
    if payload.get("hang"):
        time.sleep(60)
    if "print" in payload:
        sys.stdout.write(payload["print"])
        sys.exit(payload.get("exit_code", 0))
    value = {
        "environment": dict(os.environ),
        "arguments": sys.argv[1:],
        "is_group_leader": os.getpgid(0) == os.getpid(),
        "request": request,
    }
    sys.stdout.write(json.dumps({"ok": True, "value": value}))


if __name__ == "__main__":
    main()
