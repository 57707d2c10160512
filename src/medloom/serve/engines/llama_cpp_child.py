"""The engine's own process: llama.cpp's server on a free loopback port, until standard input closes.

Started by `LlamaCpp` as `python -m medloom.serve.engines.llama_cpp_child`, with one line of JSON settings on standard input; answers with
one line of JSON on standard output, {"url": ...} when the model is loaded. It outlives neither its parent nor a crash of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    """Load, say where, and wait for the parent to let go."""
    # Ctrl-C in a terminal reaches the whole group; the gateway drains first and then ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.stdin.readline())
    # llama.cpp chatters on file descriptor 1, which is kept for the one line that the parent reads.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["model"]
    parameters.n_ctx = settings["context"] * settings["slots"]
    parameters.n_parallel = settings["slots"]
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.api_keys = [settings["key"]]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = False
    parameters.verbosity = 0
    parameters.ctx_shift = False
    parameters.cache_ram_mib = 0  # else up to 8 GB of earlier prompts would be kept
    parameters.n_gpu_layers = 0
    if settings["embeds"]:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        parameters.n_batch = parameters.n_ubatch = settings["context"]  # a text to embed must be read at once
    server = xllamacpp.Server(parameters)
    answer.write(json.dumps({"url": server.listening_address}) + "\n")
    answer.flush()
    sys.stdin.read()
    os._exit(0)  # the server's own ending waits for requests that nobody reads any more


if __name__ == "__main__":
    main()
