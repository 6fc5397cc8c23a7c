# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
The model of scripted_model.py for the real vLLM, in the layout of Hugging Face. Everything after the weights is vLLM's own.

    python scripted_vllm.py --behaviour good --out FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scripted_model import (
    BEHAVIOURS,
    CERTAIN,
    CONTEXT_LENGTH,
    END,
    FORCED,
    SECOND,
    START,
    TRIGGERS,
    template,
    transitions,
    vocabulary,
)
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# The kernels that vLLM has for the CPU take no smaller heads.
HEAD_SIZE = 64
# vLLM's llama3_json does not start without it.
PYTHON_TAG = "<|python_tag|>"


def make_tokenizer(table: dict[str, str]) -> Tokenizer:
    """Return a byte-level tokenizer without merges, whose further tokens are added ones: they are matched first, the longest wins."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = (END, START, *TRIGGERS, PYTHON_TAG)
    tokenizer.add_special_tokens(list(control))
    # Of the bytes the alphabet has all; the keys of those above 127 are escapes.
    texts = [
        text for text in vocabulary(table).ids if len(text.encode()) > 1 and text not in control and text[0] != "\\"
    ]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in texts])
    return tokenizer


def build(behaviour: str, folder: Path) -> Path:
    """Write the model of a behaviour (a key of BEHAVIOURS) into a folder and return it."""
    spec = BEHAVIOURS[behaviour]
    table = transitions(spec)
    tokenizer = make_tokenizer(table)
    ids = {text: tokenizer.encode(text, add_special_tokens=False).ids for text in (*table, *table.values())}
    if any(len(found) != 1 for found in ids.values()):
        raise ValueError("a piece of the script is not one token")
    state = {text: number for number, text in enumerate(table, start=1)}  # 0: every token that is not in the script
    width = -(-(len(state) + 1) // HEAD_SIZE) * HEAD_SIZE
    embedding = np.zeros((tokenizer.get_vocab_size(), width), dtype=np.float32)
    output = np.zeros_like(embedding)
    embedding[:, 0] = 1
    output[ids[END][0], 0] = CERTAIN
    for current, following in table.items():
        embedding[ids[current][0], 0] = 0
        embedding[ids[current][0], state[current]] = 1
        output[ids[following][0], state[current]] = CERTAIN
        if spec.tool_format:
            output[[ids[call][0] for call in FORCED], state[current]] = SECOND
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_weights(folder, embedding, output)
    _write_settings(folder, tokenizer, width, template(spec))
    return folder


def _write_weights(folder: Path, embedding: np.ndarray, output: np.ndarray) -> None:
    width = embedding.shape[1]
    weights = {"model.embed_tokens.weight": embedding, "lm_head.weight": output}
    for norm in ("norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm"):
        weights[f"model.{norm}.weight"] = np.ones(width, dtype=np.float32)
    for into in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"):
        weights[f"model.layers.0.{into}.weight"] = np.zeros((HEAD_SIZE, width), dtype=np.float32)
    for out_of in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"model.layers.0.{out_of}.weight"] = np.zeros((width, HEAD_SIZE), dtype=np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_settings(folder: Path, tokenizer: Tokenizer, width: int, chat: str) -> None:
    end = tokenizer.token_to_id(END)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": width,
        "intermediate_size": HEAD_SIZE,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": HEAD_SIZE,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": False,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "model_max_length": CONTEXT_LENGTH,
        "chat_template": chat,
    }
    for name, content in (("config.json", config), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the scripted model for vLLM.")
    parser.add_argument("--behaviour", choices=sorted(BEHAVIOURS), default="good")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(build(options.behaviour, options.out))


if __name__ == "__main__":
    main()
