"""Users who ask, wait for the answer, think, and ask again. README.md says how to run it."""

import json
import os
import random
import re
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path

from locust import HttpUser, events, task

THINK_S = float(os.environ.get("THINK_S", "5"))
EXPONENT = float(os.environ.get("EXPONENT", "1.1"))
KEY = os.environ.get("RAGENTS_API_KEY", "")
DATA = Path(__file__).parent.parent / "data"
FORMS = ["What is said about %?", "How does % work?", "When is % used?", "Which limits does % have?", "What must be configured for %?"]


def read_lines(name):
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def read_questions():
    """The judged questions of bench/data, then some about every heading of its documents: the order is the rank."""
    headings = [heading for document in read_lines("documents.jsonl") for heading in re.findall(r"^#+ (.+)$", document["text"], re.M)]
    asked = [line["question"] for line in read_lines("questions.jsonl")]
    return list(dict.fromkeys(asked + [form.replace("%", heading, 1) for form in FORMS for heading in headings]))


QUESTIONS = read_questions()
# Zipf's law: the question at rank r is asked with a weight of 1 / r^EXPONENT.
CUMULATIVE = list(accumulate(1 / rank**EXPONENT for rank in range(1, len(QUESTIONS) + 1)))
answers = {"all": 0, "cached": 0}


class Person(HttpUser):
    host = os.environ.get("RAGENTS_API_URL", "http://127.0.0.1:8080")

    def wait_time(self):
        return random.expovariate(1 / THINK_S) if THINK_S > 0 else 0

    @task
    def ask(self):
        question = QUESTIONS[bisect_left(CUMULATIVE, random.random() * CUMULATIVE[-1])]
        headers = {"authorization": f"Bearer {KEY}"} if KEY else {}
        with self.client.post("/query", json={"query": question}, headers=headers, timeout=300, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {response.text[:200]}")
                return
            answers["all"] += 1
            answers["cached"] += response.json()["metadata"]["cached"]


@events.quitting.add_listener
def tell_hits(environment, **_):
    share = 100 * answers["cached"] / max(1, answers["all"])
    print(f"{answers['all']} answers, {share:.1f} % of them from the cache")
