#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_validate
version_added: "0.1.0"
short_description: Prove that a model server works for an agent
description:
  - Asks an OpenAI- or Anthropic-compatible server, from the target, what an agent asks it. That is the models list, a warm-up, a completion
    with real content, streaming, a structured tool call on a small request and on one that is shaped like an agent's (14 tools and a long
    system prompt), each unstreamed and streamed, the second turn with the tool's result, and the context size if the server reports it.
  - A call is judged as a client would judge it. It needs an offered name, an id, and arguments of the API's JSON type that satisfy the
    tool's schema. Faults that only the stream has come with their own failure codes and remedies.
  - An answer that was cut by its token budget is requested again with larger ones (256, 1024, 4096). HTTP 429, 5xx, lost connections and
    timeouts are retried within O(timeout). Parameters that the server refuses by name are dropped. Authentication, address and
    configuration failures stop the module at once.
  - Tool calls that come back as text (a leak) are recognized by the names of the offered tools and their properties, in any format, in text
    and in reasoning.
  - C(docs/validation.md) describes what each probe asks and costs.
  - Web proxies from the environment are used, except for addresses of the host itself and in private networks.
options:
  base_url:
    description:
      - Base URL of the server as the target reaches it, for example V(http://localhost:8000/v1). For
        V(anthropic-messages) without C(/v1).
      - A pasted C(/chat/completions), C(/responses), C(/models) or C(/v1/messages) at the end is removed.
      - Private and loopback addresses are fine. User names, queries, fragments, and addresses of cloud metadata services,
        link-local or multicast networks are refused.
    type: str
    required: true
  model:
    description:
      - Model ID as the server lists it.
      - May be omitted if the server serves exactly one model.
    type: str
  api:
    description:
      - The API to prove.
      - V(openai-responses) is an opt-in that takes effect only if everything works over it, streaming events included. Otherwise chat
        completions are proved instead, and RV(fallback_reason) says why.
    type: str
    choices: [openai-completions, openai-responses, anthropic-messages]
    default: openai-completions
  timeout:
    description: Time limit in seconds for all probes together, including loading the model.
    type: int
    default: 180
  require_tools:
    description:
      - Whether the model must return structured tool calls.
      - With V(false) the first probe with tools that fails is a warning, and the later ones are not sent.
    type: bool
    default: true
  min_context_window:
    description:
      - Minimum context window of the model, in tokens, if the server reports it. V(0) means no minimum.
      - Less than 16384 is a warning in any case.
    type: int
    default: 0
  agent_prompt_tokens:
    description:
      - Approximate length of the system prompt in the agent-shaped request, in tokens.
      - Lower it only for slow machines whose agent has a short prompt too.
    type: int
    default: 6000
  expect:
    description:
      - Additional conditions on the result, as JMESPath queries. Needs C(jmespath) for the Python that runs the module.
    type: list
    elements: dict
    default: []
    suboptions:
      query:
        description: JMESPath expression over the result, for example V(context_window >= `32768`).
        type: str
        required: true
      equals:
        description: The value that the query must return.
        type: raw
        default: true
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
  - nemoclaw.local_inference.endpoint
attributes:
  action_group:
    support: full
    description: >-
      Use C(group/nemoclaw.local_inference.endpoint) or C(group/nemoclaw.local_inference.all) in C(module_defaults) to set
      defaults for this module.
    membership: [nemoclaw.local_inference.endpoint, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Prove a llama.cpp server with a key
  nemoclaw.local_inference.endpoint_validate:
    base_url: http://127.0.0.1:8080/v1
    model: qwen3.6-27b
    api_key: "{{ lookup('ansible.builtin.env', 'COMPATIBLE_API_KEY') }}"

- name: Prove an Anthropic-compatible server, and that it has room for long conversations
  nemoclaw.local_inference.endpoint_validate:
    base_url: http://127.0.0.1:8080
    model: my-model
    api: anthropic-messages
    min_context_window: 65536

- name: Take the Responses API where it is complete, and insist on it
  nemoclaw.local_inference.endpoint_validate:
    base_url: http://spark-01:8000/v1
    model: Qwen/Qwen3.6-27B-FP8
    api: openai-responses
    expect:
      - query: api
        equals: openai-responses
      - query: "probes[?name=='streaming' && outcome=='passed'] | length(@) > `0`"
"""

RETURN = r"""
api:
  description: The API that was proved, or was being proved when it failed.
  returned: always
  type: str
  sample: openai-completions
api_requested:
  description: The API that was requested.
  returned: always
  type: str
  sample: openai-responses
fallback_reason:
  description: Why RV(api) is not RV(api_requested).
  returned: always
  type: str
  sample: null
base_url:
  description: The base URL in its normal form.
  returned: always
  type: str
  sample: http://127.0.0.1:8080/v1
model:
  description: The model that was proved.
  returned: always
  type: str
  sample: qwen3.6-27b
models:
  description: The models that the server lists.
  returned: always
  type: list
  elements: str
  sample: [qwen3.6-27b]
context_window:
  description: Context window in tokens, if the server reports it.
  returned: always
  type: int
  sample: 32768
tool_calling:
  description:
    - V(structured), V(malformed) (a call that no client can use), V(absent) (prose or nothing), V(leaked) (a call as text) or
      V(unsupported) (the server refuses tools, or fails to stream them). The worst of all probes with tools.
  returned: always
  type: str
  sample: structured
probes:
  description: The probes, in order, including those not reached.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: >-
        V(models), V(warm_up), V(completion), V(streaming), V(tool_call), V(tool_call_streamed), V(second_turn), V(context),
        V(agent_tool_call) or V(agent_tool_call_streamed).
      type: str
      returned: always
    api:
      description: The API it went over.
      type: str
      returned: always
    outcome:
      description: V(passed), V(failed), V(warned) or V(skipped).
      type: str
      returned: always
    latency:
      description: Seconds that the last try took; null when nothing was sent.
      type: float
      returned: always
    tries:
      description: How many requests were sent.
      type: int
      returned: always
    status:
      description: HTTP status of the last answer, null without one.
      type: int
      returned: always
    reason:
      description: What was seen, in words. If nothing was, the code of the failure, whose sentence is RV(ignore:msg).
      type: str
      returned: always
    tool_calling:
      description: As RV(tool_calling), for this request.
      type: str
      returned: for the four probes that ask for a call, when asked
    deltas:
      description: Pieces of text in the stream.
      type: int
      returned: for V(streaming), when passed
    first_delta:
      description: Seconds until the first piece of text.
      type: float
      returned: for V(streaming), when passed
    last_delta:
      description: Seconds until the last piece of text.
      type: float
      returned: for V(streaming), when passed
elapsed:
  description: Seconds that the module took in all.
  returned: always
  type: float
  sample: 1.25
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: tool_calls_leaked
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    probe:
      description: The probe it happened on.
      type: str
      returned: when a probe failed
    status:
      description: The HTTP status.
      type: int
      returned: when the server refused
    server_message:
      description: The server's response, shortened, without the key.
      type: str
      returned: when the server refused
    parameter:
      description: The parameter that the server's error names, null without one.
      type: str
      returned: when the server refused
    served_models:
      description: The models there are.
      type: list
      elements: str
      returned: for RV(failure.code=model_not_served) and RV(failure.code=model_ambiguous)
    unmet:
      description: The expectations that do not hold, each with its query, the value expected and the value found.
      type: list
      elements: dict
      returned: for RV(failure.code=expect_failed)
"""

from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ..module_utils.base import ENDPOINT_OPTIONS, LINK_OPTION, create_module, fail
from ..module_utils.endpoint import expect
from ..module_utils.endpoint.questions import AGENT_PROMPT_TOKENS
from ..module_utils.endpoint.report import Report
from ..module_utils.endpoint.validate import DEFAULT_TIMEOUT, DIALECTS, Demands, Endpoint, validate
from ..module_utils.failure import Failure

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "base_url": {**LINK_OPTION, "required": True},
    "model": {"type": "str"},
    "api": {"type": "str", "choices": list(DIALECTS), "default": "openai-completions"},
    "timeout": {"type": "int", "default": DEFAULT_TIMEOUT},
    "require_tools": {"type": "bool", "default": True},
    "min_context_window": {"type": "int", "default": 0},
    "agent_prompt_tokens": {"type": "int", "default": AGENT_PROMPT_TOKENS, "no_log": False},
    "expect": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"query": {"type": "str", "required": True}, "equals": {"type": "raw", "default": True}},
    },
    **ENDPOINT_OPTIONS,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    report = Report(api=params["api"], model=params["model"])
    try:
        queries = expect.compile_queries(params["expect"])
        validate(
            Endpoint(
                params["base_url"],
                params["api"],
                params["api_key"],
                params["timeout"],
                params["ca_path"],
                params["validate_certs"],
                tuple(params["trusted_users"]),
            ),
            Demands(params["require_tools"], params["min_context_window"], params["agent_prompt_tokens"]),
            report,
        )
        expect.check(queries, report.as_result())
    except expect.LibraryMissing as error:
        sentence = missing_required_lib("jmespath", reason="for the option expect")
        module.fail_json(msg=sentence, failure={"code": "library_missing", "message": sentence}, exception=str(error))
    except Failure as failure:
        fail(module, failure, **report.as_result())
    for warning in report.warnings:
        module.warn(warning)
    module.exit_json(changed=False, **report.as_result())


if __name__ == "__main__":
    main()
