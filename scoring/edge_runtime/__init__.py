"""The edge module runtime: what runs as the first process of a scoring container, started as `python /var/azureml-app/edge_runtime`.

It starts azureml-inference-server-http for the application root, waits until it is healthy and serves HTTP on port 5001. Where IoT Edge's
environment is present it also carries messages: module input -> POST 127.0.0.1:5001/score -> module output. Needs Python 3.9 or newer, the
inference server and, for IoT Edge, paho-mqtt 2. The user's script is untouched and knows nothing of all this.

Promises
    - At least once: a message is acknowledged to the edge hub only after the edge hub has acknowledged the score made from it.
    - Order: scores leave in the order in which their messages came, whatever the number of workers.
    - `$.mid` of an output is derived from the message id of the input: the same for each repetition, for receivers that remove doubles.
      An input without a message id gets a random one, since two readings must never look like one. `$.cid` is the input's message id;
      `$.ct` and `$.ce` are the answer's content type and charset; application properties are carried over.
    - An answer other than 2xx, or one that IoT Hub would not take (over 256 KiB), becomes one message on the error output:
      {"messageId", "input", "status", "reason"}. It is not scored again. Messages on another input are acknowledged and left.
    - The direct method `score` answers with the score of its payload and the server's status: for probes from the service's side.
    - SIGTERM: no new message is begun, those begun are finished, DISCONNECT, then the server is stopped; exit code 0. What was not
      finished was not acknowledged, and comes again.

Exit codes, so that edgeAgent's restart policy acts: 0 after SIGTERM; 1 the server died; 2 the configuration is wrong; 3 the edge hub
or the workload API could not be used for AML_GIVE_UP_SECONDS; 4 the server did not become healthy.

Environment
    AML_APP_ROOT          /var/azureml-app   holds score.py (or AZUREML_ENTRY_SCRIPT; or main.py, the driver that azureml-core writes)
    AZUREML_MODEL_DIR                        the model's folder; a relative one is below AML_APP_ROOT
    AML_INPUT             amlInput           input that is scored
    AML_OUTPUT            amlOutput          output for scores
    AML_ERROR_OUTPUT      amlError           output for what could not be scored
    WORKER_COUNT          1                  server processes; as many messages are scored at once. 2 or more if HTTP clients matter, too
    AML_START_SECONDS     120                for the server to become healthy, `init()` included
    AML_RUN_SECONDS       10                 for one `run()` as a module, after which the server answers 500 and is free for the next;
                                             SCORING_TIMEOUT_MS, the server's own name for it, overrides this
    AML_SCORE_SECONDS     25                 for one message with its repetitions; edge hub waits 30 seconds for acknowledgements
    AML_DRAIN_SECONDS     6                  for messages begun when SIGTERM comes; stay well below the container's stop timeout (10 s)
    AML_GIVE_UP_SECONDS   120                without a working edge hub before the container ends
    AML_TOKEN_SECONDS     3600               life of a token; it is renewed after three quarters of it
    IOTEDGE_*                                set by edgeAgent; without IOTEDGE_WORKLOADURI only HTTP is served

Recommended createOptions of the module
    {"User": "10001:10001",
     "Env": ["HOME=/tmp"],
     "Entrypoint": ["python", "/var/azureml-app/edge_runtime"], "Cmd": [],
     "HostConfig": {"ReadonlyRootfs": true, "Tmpfs": {"/tmp": "rw,noexec,nosuid,size=64m"},
                    "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}}
"""
