"""Asks flags through OpenFeature's Python SDK and its OFREP provider.

usage: ofrep.py BASE; reads {"flag", "context"} a line, writes {"value", "variant", "reason", "error", "metadata"} a line.
"""

import json
import logging
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

# Version 0.3.0 of the provider logs a traceback where a flag gives no variant, and then gives the default as it should.
logging.getLogger("openfeature").setLevel(logging.CRITICAL)
api.set_provider(OFREPProvider(sys.argv[1], timeout=20.0))
client = api.get_client()
for line in sys.stdin:
    question = json.loads(line)
    attributes = dict(question["context"])
    context = EvaluationContext(attributes.pop("targetingKey", None), attributes)
    ask = {
        "string": lambda: client.get_string_details(question["flag"], "code-default", context),
        "boolean": lambda: client.get_boolean_details(question["flag"], False, context),
        "integer": lambda: client.get_integer_details(question["flag"], -1, context),
        "object": lambda: client.get_object_details(question["flag"], {}, context),
    }
    details = ask[question.get("type", "string")]()
    answer = {
        "value": details.value,
        "variant": details.variant,
        "reason": details.reason,
        "error": details.error_code,
        "metadata": details.flag_metadata,
    }
    print(json.dumps(answer), flush=True)
