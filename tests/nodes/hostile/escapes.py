#!/usr/bin/env python3
# hostile: kills and traces whom it can, writes where it must not, looks for a way outside; tells in outcome.json what worked.
# Then it becomes the command that follows its own arguments.
#
# escapes.py FILE… -- COMMAND…: FILEs are not its own, and exist.
import ctypes
import json
import os
import signal
import socket
import sys

split = sys.argv.index("--")
files, command = sys.argv[1:split], sys.argv[split + 1 :]
libc = ctypes.CDLL(None, use_errno=True)

# Killing everything is for those who are alone. A machine has more processes than this.
others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
if os.getppid() != 1 or others:
    json.dump({"alone": False, "others": others}, open("outcome.json", "w"))
    sys.exit(9)


def works(attempt):
    try:
        return attempt() is not False
    except (OSError, PermissionError):
        return False


def append(path):
    with open(path, "a") as file:
        file.write('{"forged":1}\n')


def reach(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as outside:
        outside.connect((address, 9))


outcome = {"alone": True, "user": os.getuid(), "written": [], "read": []}
# All that may be signalled, but init and itself: nobody, that is.
outcome["kills"] = works(lambda: os.kill(-1, signal.SIGKILL))
outcome["traces"] = libc.ptrace(0x4206, os.getppid(), None, None) == 0
for path in files:
    for name, attempt in {
        "append": lambda: append(path),
        "truncate": lambda: os.truncate(path, 0),
        "chmod": lambda: os.chmod(path, 0o600),
        "unlink": lambda: os.unlink(path),
        "utime": lambda: os.utime(path),
        "beside": lambda: append(os.path.join(os.path.dirname(path), "planted")),
    }.items():
        if works(attempt):
            outcome["written"].append(f"{name} {path}")
    if works(lambda: open(path).close()):
        outcome["read"].append(path)
outcome["mounts"] = libc.mount(None, b"/", None, 32 | 4096, None) == 0  # MS_REMOUNT | MS_BIND: writable again
outcome["nests"] = libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
outcome["becomes root"] = works(lambda: os.setuid(0)) and os.getuid() == 0 and outcome["user"] != 0
outcome["outside"] = works(lambda: reach(socket.AF_INET, "192.0.2.1"))
outcome["own"] = works(lambda: append("mine")) and works(lambda: append(os.environ["TMPDIR"] + "/mine"))
json.dump(outcome, open("outcome.json", "w"))
os.execvp(command[0], command)
