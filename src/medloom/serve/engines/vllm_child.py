"""vLLM and all that it starts, ended together when standard input closes.

Started by `Vllm` as `python -I vllm_child.py COMMAND ...`. vLLM itself does not look whether its parent lives, and one that is killed
leaves its engine core and workers behind, with the memory they hold. So it runs in a process group of its own, which this process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

ORDERLY = 15.0  # seconds in which vLLM gives back shared memory and sockets, once it is told to end
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Start, and wait for vLLM's end or the parent's."""
    # Ctrl-C in a terminal reaches the whole group; the gateway drains first and then ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    vllm = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_die_with_parent)
    threading.Thread(target=_watch, args=(vllm,), daemon=True).start()
    status = vllm.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(vllm.pid, signal.SIGKILL)
    os._exit(status if status >= 0 else 128 - status)


def _watch(vllm: subprocess.Popen[bytes]) -> None:
    sys.stdin.read()
    vllm.terminate()
    try:
        vllm.wait(ORDERLY)
    except subprocess.TimeoutExpired:
        vllm.kill()


def _die_with_parent() -> None:
    """Should this process be killed, vLLM is told to end by the kernel, where that is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
