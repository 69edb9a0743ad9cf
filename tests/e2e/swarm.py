"""Clients with random lengths that sometimes leave in the middle, and what each should have got."""

import random
import threading
import time

from hadal_server import join_chat

CHAT = "/v1/chat/completions"
WORDS = ("river stone apple seven light Berlin 北京 winter count 42 open 你好 garden letter moon "
         "what is the capital of France").split()


class Swarm:
    def __init__(self, server, clients, distinct, seed, prompt_words=60, tokens=48):
        self.server, self.clients = server, clients
        rng = random.Random(seed)
        self.bodies = []
        for i in range(distinct):
            text = " ".join(rng.choices(WORDS, k=rng.randint(1, prompt_words)))
            # Half greedy, half seeded.
            body = {"messages": [{"role": "user", "content": text}],
                    "max_tokens": rng.randint(1, tokens), "temperature": 0 if i % 2 else 1.0,
                    "seed": i, "ignore_eos": rng.random() < 0.5}
            self.bodies.append(body)
        self.alone = []
        self.lock = threading.Lock()
        self.failures, self.complete, self.left, self.refused = [], 0, 0, 0
        self.seed = seed

    def learn(self):
        """Asks every request alone."""
        self.alone = [self.whole(body) for body in self.bodies]

    def whole(self, body):
        answer = self.server.post(CHAT, body)
        if answer.status == 429:
            return None
        if answer.status != 200:
            raise AssertionError(answer.text)
        choice = answer.json["choices"][0]
        message = choice["message"]
        return (message["content"], message.get("reasoning_content") or "", choice["finish_reason"])

    def streamed(self, body, leave_after):
        stream = self.server.stream(CHAT, body)
        if stream.status == 429:
            stream.close()
            return None
        if stream.status != 200:
            raise AssertionError(f"status {stream.status}")
        events = []
        for event in stream.events():
            events.append(event)
            if leave_after is not None and len(events) > leave_after:
                stream.close()
                return "left"
        if not stream.done:
            raise AssertionError("the stream ended without [DONE]")
        choices, _ = join_chat(events)
        return (choices[0]["content"], choices[0]["reasoning_content"], choices[0]["finish_reason"])

    def one(self, rng):
        which = rng.randrange(len(self.bodies))
        leave_after = rng.randint(0, 20) if rng.random() < 0.35 else None
        stream = leave_after is not None or rng.random() < 0.6
        try:
            found = (self.streamed(self.bodies[which], leave_after) if stream
                     else self.whole(self.bodies[which]))
        except Exception as error:  # every fault belongs in the report
            with self.lock:
                self.failures.append(f"request {which}: {type(error).__name__}: {error}")
            return
        with self.lock:
            if found is None:
                self.refused += 1
            elif found == "left":
                self.left += 1
            else:
                self.complete += 1
                if found != self.alone[which]:
                    self.failures.append(
                        f"request {which} differs: {found!r}, alone {self.alone[which]!r}")

    def run(self, rounds=None, seconds=None):
        until = time.monotonic() + seconds if seconds else None

        def client(number):
            rng = random.Random(self.seed * 1000 + number)
            done = 0
            while (rounds is None or done < rounds) and (until is None or time.monotonic() < until):
                self.one(rng)
                done += 1
                if self.server.process.poll() is not None:
                    return

        threads = [threading.Thread(target=client, args=(i,)) for i in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
