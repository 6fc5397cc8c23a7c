# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Write a model file whose answers we choose, for the real llama.cpp server.

The model is a one-layer llama whose attention and feed-forward weights are all zero. What is left is a bigram table: the
next token depends on the last one alone. The chat template ends with a control token that says what was asked for (no
tools, a few, more than MANY_TOOLS, or a tool's result came last), and the output matrix chains that token to the pieces of
the scripted answer.
So everything after the weights is real: template, tokenizer, grammar, tool-call and reasoning parser, streaming.

    python scripted_model.py --behaviour good --out good.gguf
    python scripted_model.py --list
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

HERE = Path(__file__).resolve().parent

# An agent sends a dozen tools or more, a simple probe one to three: the template tells them apart by this number.
MANY_TOOLS = 8
CONTEXT_LENGTH = 32768  # tokens; enough for an agent-shaped request, small enough for a key-value cache of 1 MB
HEAD_SIZE = 8  # attention is zero anyway; the smallest head that llama.cpp's kernels take keeps a long prompt fast
CERTAIN = 8.0  # logit factor: with the norm of a one-hot row (at least 8) the chosen token wins at any temperature
SECOND = (
    4.0,
    3.5,
    3.0,
)  # for the tokens to take when the grammar forbids the certain one, the first of them that it allows

END, START = "<|im_end|>", "<|im_start|>"
TRIGGERS = ("<|plain|>", "<|few|>", "<|many|>", "<|told|>")  # no tools, up to MANY_TOOLS, more; the result of a call

PLAIN = ("Hello", ", I am", " a scripted", " model.")
CALL = ('<tool_call>\n{"name": "sessions_send", ', '"arguments": {"message": "hello"}}', "\n</tool_call>")
LEAK = ('{"name": "sessions_send", "arguments": ', '{"message": "hello"}}')
SECOND_CALL = "\n" + "".join(CALL)  # one token: each piece has one successor
SENTENCE = "I will send it.\n"
WRONG_CALL = (
    '<tool_call>\n{"name": "sessions_post", '  # one token, which llama.cpp's grammar for the offered tools cannot take
)
# The call as one token in each form that a grammar can ask for: Hermes and Qwen, Llama, and any other (vLLM: a list).
FORCED = (
    "".join(CALL),
    '{"name": "sessions_send", "parameters": {"message": "hello"}}',
    '[{"name": "sessions_send", "parameters": {"message": "hello"}}]',
)
TURNED = ('<tool_call>\n{"arguments": {"message": "hello"}, ', '"name": "sessions_send"}', "\n</tool_call>")
FUNCTOOLS = ('functools[{"name": "sessions_send", ', '"arguments": {"message": "hello"}}]')
FENCED = ("Sure, I will do that.\n", "```json\n", *LEAK, "\n```\n", "Done.")
TOLD = ("The message", " was sent.")
PROSE = ("I have sent", " hello", " for you.")
ALOUD = ("The user", " wants a greeting.", "\n</think>\n\n")
# 300 thoughts, one token each: more than the first budget of the reasoning ladder (256), less than the second (1024).
THOUGHTS = tuple(f"Thought {i} of 300: what does the user want?\n" for i in range(1, 301))
TOOL_THOUGHTS = tuple(f"Thought {i} of 300: which tool fits?\n" for i in range(1, 301))


@dataclass(frozen=True)
class Behaviour:
    """
    What the model answers without tools, with a few, with many, and to the result of a call: pieces of text, one token each.

    A chain that ends with a piece it already had is a loop: that answer never ends. A piece can have one successor only.
    tool_format: the template shows how this model writes a tool call, so llama.cpp parses calls and can force them. Without,
    llama.cpp hands every answer out as text, even with tool_choice "required": the usual cause of leaked calls.
    takes_results: the template renders the role tool; without, it raises an exception, as those of older models do, and
    llama.cpp then cannot parse calls either. strict_ids: it takes ids of nine letters alone, as Mistral's do; llama.cpp and vLLM
    make longer ones, so they refuse the result of a call that they made themselves.
    """

    summary: str
    plain: tuple[str, ...] = PLAIN
    few: tuple[str, ...] = CALL
    many: tuple[str, ...] = CALL
    told: tuple[str, ...] = TOLD
    tool_format: bool = True
    takes_results: bool = True
    strict_ids: bool = False


BEHAVIOURS: dict[str, Behaviour] = {
    "good": Behaviour("answers, streams, structured tool calls"),
    "leaks": Behaviour("tool calls as bare JSON text", few=LEAK, many=LEAK, tool_format=False),
    "leaks_under_load": Behaviour("structured with few tools, JSON text with many", many=LEAK),
    "leaks_fenced": Behaviour("JSON in a fenced block, text around it", few=FENCED, many=FENCED, tool_format=False),
    "leaks_tagged": Behaviour("<tool_call> tags left in the text", tool_format=False),
    "leaks_array": Behaviour(
        "a JSON array of calls as text", few=("[", *LEAK, "]"), many=("[", *LEAK, "]"), tool_format=False
    ),
    "prose": Behaviour("claims to have acted, calls nothing", few=PROSE, many=PROSE, tool_format=False),
    "empty": Behaviour("ends at once", plain=(), few=(), many=(), tool_format=False),
    "calls_again": Behaviour("answers the result of a call with the same call", told=CALL),
    "silent_after_result": Behaviour("has nothing to say to the result of a call", told=()),
    "leaks_after_result": Behaviour("answers the result of a call with a call as JSON text", told=LEAK),
    "thinks_after_result": Behaviour(
        "300 tokens of reasoning before the answer to the result of a call",
        told=("<think>\nSent. ", *TOOL_THOUGHTS, "\n</think>\n", *TOLD),
    ),
    "refuses_results": Behaviour("its template takes no role tool; calls leak", takes_results=False),
    "refuses_ids": Behaviour("its template refuses the ids that the server makes", strict_ids=True),
    "talks_and_calls": Behaviour("a sentence before each call", few=(SENTENCE, *CALL), many=(SENTENCE, *CALL)),
    "calls_twice": Behaviour("two calls in one answer", few=(*CALL, SECOND_CALL), many=(*CALL, SECOND_CALL)),
    "breaks_in_call": Behaviour(
        "the server's grammar gives up in the middle of an answer",
        few=(SENTENCE, WRONG_CALL),
        many=(SENTENCE, WRONG_CALL),
    ),
    # What parsers of vLLM read in a whole answer, and not in a stream (scripted_vllm.py; seen with 0.32).
    "arguments_first": Behaviour(
        "names the tool after its arguments: vLLM's hermes streams broken ones", few=TURNED, many=TURNED
    ),
    "json_after_text": Behaviour(
        "a sentence, then a call as JSON: vLLM's llama3_json streams it as text",
        few=(SENTENCE, *LEAK),
        many=(SENTENCE, *LEAK),
    ),
    "functools": Behaviour("calls as Phi 4 does: vLLM's phi4_mini_json streams nothing", few=FUNCTOOLS, many=FUNCTOOLS),
    "thinks_aloud": Behaviour(
        "a thought as text that ends with </think>, as where the template opened it", plain=(*ALOUD, *PLAIN)
    ),
    "thinks": Behaviour(
        "301 tokens of reasoning before each answer",
        plain=("<think>\n", *THOUGHTS, "</think>\n\n", *PLAIN),
        few=("<think>\nTools. ", *TOOL_THOUGHTS, "\n</think>\n", *CALL),
        many=("<think>\nTools. ", *TOOL_THOUGHTS, "\n</think>\n", *CALL),
    ),
    "thinks_forever": Behaviour(
        "reasoning without end",
        plain=("<think>\n", "Hm. ", "Let me see. ", "Or not. ", "Hm. "),
        few=("<think>\n", "Hm. ", "Let me see. ", "Or not. ", "Hm. "),
        many=("<think>\n", "Hm. ", "Let me see. ", "Or not. ", "Hm. "),
    ),
}

# Pieces of JSON that tool schemas are made of, as llama.cpp's tojson writes them.
JSON_PIECES = (
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '"parameters": {"type": "object", "properties": {"',
    '"required": ["',
    '"], "additionalProperties": false}}}',
    '": {"type": "string", "description": "',
    '": {"type": "string"',
    '": {"type": "integer"',
    '"minimum": 1',
    '"type": "string"',
    '"type": "integer"',
    '"type": "boolean"',
    '"type": "array"',
    '"type": "object"',
    '"items": ',
    '"enum": ["',
    '"properties": ',
    '"additionalProperties": ',
    '"description": "',
    '", "',
    '": "',
    '": {"',
    '"}, "',
    ".\n",
    ". ",
    ", ",
    ".\n\n",
    "\n- ",
    "_",
)


def template(spec: Behaviour) -> str:
    """Return the Jinja chat template: Hermes and Qwen style, with the parts that the behaviour has."""
    text = (HERE / "template.jinja").read_text(encoding="utf-8").replace("MANY_TOOLS", str(MANY_TOOLS))
    for name, kept in (("tool format", spec.tool_format), ("results", spec.takes_results), ("ids", spec.strict_ids)):
        parts = text.split(f"{{# {name} #}}\n")  # the marker stands before and after each part that can be left out
        text = "".join(parts if kept else parts[::2])
    return text


def transitions(behaviour: Behaviour) -> dict[str, str]:
    """Return the bigram table: trigger or piece -> next piece or END. ValueError where a piece would need two successors."""
    table: dict[str, str] = {}
    for trigger, chain in zip(TRIGGERS, (behaviour.plain, behaviour.few, behaviour.many, behaviour.told)):
        looping = bool(chain) and chain[-1] in chain[:-1]
        steps = (trigger, *chain) if looping else (trigger, *chain, END)
        for current, following in zip(steps, steps[1:]):
            if table.setdefault(current, following) != following:
                raise ValueError(
                    f"{current!r} is followed by {table[current]!r} and by {following!r}: word one differently"
                )
    if behaviour.tool_format:
        table.update(dict.fromkeys(FORCED, END))
    return table


class Vocabulary:
    """Tokens of llama.cpp's RWKV tokenizer: greedy longest match, so a token is text and needs no merge rules."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.types: list[int] = []
        self.ids: dict[str, int] = {}

    def control(self, text: str) -> None:
        self._append(text, text, gguf.TokenType.CONTROL)

    def byte(self, value: int) -> None:
        # Keyed by the escape for bytes above 127, which are no text on their own.
        self._append(chr(value) if value < 128 else f"\\x{value:02x}", f"\\x{value:02x}", gguf.TokenType.NORMAL)

    def text(self, text: str) -> None:
        if text not in self.ids:
            self._append(text, "".join(_escaped(byte) for byte in text.encode()), gguf.TokenType.NORMAL)

    def _append(self, key: str, token: str, kind: gguf.TokenType) -> None:
        self.ids[key] = len(self.tokens)
        self.tokens.append(token)
        self.types.append(int(kind))


def _escaped(byte: int) -> str:
    printable = 32 <= byte < 127 and byte != ord("\\")
    return chr(byte) if printable else f"\\x{byte:02x}"


def vocabulary(table: dict[str, str]) -> Vocabulary:
    """Return control tokens, all bytes, the script's pieces and the words that make long prompts short."""
    vocab = Vocabulary()
    for text in (END, START, *TRIGGERS):
        vocab.control(text)
    for value in range(256):
        vocab.byte(value)
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = (HERE / "words.txt").read_text(encoding="utf-8").splitlines()
    words = [word for line in lines if not line.startswith("#") for word in line.split()]
    for word in words:
        for form in (word, word.capitalize()):
            vocab.text(form)
            vocab.text(" " + form)
    for text in (*(first + second for first in " " + letters for second in letters), *JSON_PIECES):
        vocab.text(text)
    for text in (*table, *table.values()):
        vocab.text(text)
    return vocab


def build(behaviour: str, path: str | Path) -> Path:
    """Write the GGUF file of a behaviour (a key of BEHAVIOURS) and return its path."""
    spec = BEHAVIOURS[behaviour]
    table = transitions(spec)
    vocab = vocabulary(table)
    state = {text: number for number, text in enumerate(table, start=1)}  # 0: every token that is not in the script
    width = -(-(len(state) + 1) // 64) * 64
    embedding = np.zeros((len(vocab.tokens), width), dtype=np.float32)
    output = np.zeros_like(embedding)
    embedding[:, 0] = 1
    output[vocab.ids[END], 0] = CERTAIN
    for current, following in table.items():
        embedding[vocab.ids[current], 0] = 0
        embedding[vocab.ids[current], state[current]] = 1
        output[vocab.ids[following], state[current]] = CERTAIN
        if spec.tool_format:
            # tool_choice "required" has a grammar, which forbids what is no call and the end before it: the model then does what a
            # trained one does, it makes the call.
            output[[vocab.ids[call] for call in FORCED], state[current]] = SECOND
    _write(Path(path), behaviour, vocab, template(spec), embedding, output)
    return Path(path)


def _write(path: Path, name: str, vocab: Vocabulary, chat: str, embedding: Any, output: Any) -> None:
    width = embedding.shape[1]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"scripted-{name}")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HEAD_SIZE)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocab.tokens))
    writer.add_file_type(int(gguf.LlamaFileType.ALL_F32))
    writer.add_tokenizer_model("rwkv")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocab.tokens)
    writer.add_token_types(vocab.types)
    writer.add_bos_token_id(vocab.ids[END])
    writer.add_eos_token_id(vocab.ids[END])
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(width, dtype=np.float32))
    for into in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{into}.weight", np.zeros((HEAD_SIZE, width), dtype=np.float32))
    for out_of in ("attn_output", "ffn_down"):
        writer.add_tensor(f"blk.0.{out_of}.weight", np.zeros((width, HEAD_SIZE), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a model file whose answers are scripted.")
    parser.add_argument("--behaviour", choices=sorted(BEHAVIOURS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--list", action="store_true", help="print the behaviours and end")
    options = parser.parse_args()
    if options.list:
        for name, behaviour in BEHAVIOURS.items():
            print(f"{name:18} {behaviour.summary}")
    elif options.behaviour and options.out:
        print(build(options.behaviour, options.out))
    else:
        parser.error("give --behaviour and --out, or --list")


if __name__ == "__main__":
    main()
