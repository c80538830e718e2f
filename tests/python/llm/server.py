"""llama.cpp's server on loopback: server.py MODEL PORT"""

import signal
import sys

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.model_alias = {"tiny"}
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(sys.argv[2])
parameters.n_parallel = 4
parameters.n_ctx = 4 * 4096
parameters.warmup = False
parameters.embedding = True
parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
parameters.endpoint_metrics = True

server = xllamacpp.Server(parameters)
signal.sigwait([signal.SIGINT, signal.SIGTERM])
