"""A model behind the API that local servers have (llama.cpp, Ollama, vLLM), and a folder of reports, one file for each key."""

from __future__ import annotations

import json
import os
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from onex import EffectFailed, ModelIntent, effect

from .payloads import Prompt, Published, Report, Said

ROLES = {"plan": "Give the headings of a report, one for each line.", "write": "Write one paragraph about this."}


@effect("model")
def ask(intent: ModelIntent[Prompt]) -> Said:
    told = [{"role": "system", "content": ROLES[intent.payload.role]}, {"role": "user", "content": intent.payload.text}]
    body = json.dumps({"model": os.environ.get("ONEX_MODEL", "local"), "messages": told})
    headers = {"Content-Type": "application/json", "Idempotency-Key": intent.idempotency_key}
    with closing(HTTPConnection(os.environ.get("ONEX_MODEL_AT", "127.0.0.1:8000"), timeout=60)) as server:
        server.request("POST", "/v1/chat/completions", body, headers)
        answer = server.getresponse()
        if answer.status != 200:
            raise EffectFailed(f"the model answers {answer.status}", retryable=answer.status in (429, 503))
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    return Said(lines=tuple(line for line in text.splitlines() if line.strip()))


@effect("publish")
def publish(intent: ModelIntent[Report]) -> Published:
    text = "\n\n".join(line for one in intent.payload.sections if one for line in one.lines)
    path = Path(os.environ.get("ONEX_RESEARCH_DIR", "out/research"), f"{intent.idempotency_key}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {intent.payload.question}\n\n{text}\n")
    return Published(path=str(path))
