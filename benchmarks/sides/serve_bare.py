"""llama.cpp's server without a gateway, as xllamacpp starts it: the same file, context, slots and threads as ours has.

One JSON object of settings as the argument; says its address on standard output once the model is loaded; ends when standard input does.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Load, say where, wait."""
    settings = json.loads(sys.argv[1])
    answer = os.fdopen(os.dup(1), "w")  # llama.cpp chatters on file descriptor 1
    os.dup2(2, 1)

    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["model"]
    parameters.n_ctx = settings["context"] * settings["slots"]
    parameters.n_parallel = settings["slots"]
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = settings["ui"]
    parameters.verbosity = 0
    parameters.ctx_shift = False
    parameters.cache_ram_mib = 0
    server = xllamacpp.Server(parameters)
    answer.write(f"{server.listening_address}\n")
    answer.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
