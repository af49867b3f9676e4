#!/usr/bin/env python3
"""Ask `dmoerm serve` with tritonclient, as NVIDIA's Triton is asked for NeMo's reward models.

    python3 docs/guides/triton_client.py --server 127.0.0.1:8000 --model reward_model
"""
import argparse
import json

import numpy as np
import tritonclient.http as triton

PROMPT, RESPONSES = "Where is my order?", ["It arrives tomorrow before noon.", "Orders arrive when they arrive."]


def texts(name, values):
    array = np.array([[value.encode()] for value in values], dtype=np.object_)
    tensor = triton.InferInput(name, array.shape, "BYTES")
    tensor.set_data_from_numpy(array)
    return tensor


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:8000", help="host and port, without http://")
    parser.add_argument("--model", default="reward_model")
    options = parser.parse_args()
    client = triton.InferenceServerClient(options.server)
    if not (client.is_server_live() and client.is_server_ready() and client.is_model_ready(options.model)):
        raise SystemExit(f"{options.server} has no model {options.model} that is ready")

    pairs = client.infer(options.model, [texts("prompts", [PROMPT] * 2), texts("responses", RESPONSES)])
    # NeMo's clients send whole conversations, as the bundle's chat template writes them.
    sentences = client.infer(options.model, [texts("sentences", [PROMPT + "\n" + response for response in RESPONSES])],
                             outputs=[triton.InferRequestedOutput("rewards", binary_data=False)])
    print(json.dumps({"pairs": pairs.as_numpy("rewards").flatten().tolist(),
                      "sentences": sentences.as_numpy("rewards").flatten().tolist(),
                      "model": client.get_model_metadata(options.model)["name"],
                      "batch": client.get_model_config(options.model)["max_batch_size"]}))


if __name__ == "__main__":
    main()
